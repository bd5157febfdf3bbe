//! Node's `http` with a keep-alive agent, and undici, pipelining.

use std::process::Command;

use crate::server::{EXAMPLES, Server};
use crate::tools::{is_installed, run, run_in, scratch, script};
use crate::upstream::Upstream;

#[test]
fn nodes_http_gets_right_answers_from_the_examples() {
    for example in EXAMPLES {
        let server = Server::start(example, &[]);
        if run("node", &[&script("node_http.mjs"), &server.url, "hello"]).is_some() {
            assert_eq!(server.connections(), 2, "{example}");
        }
    }
}

#[test]
fn nodes_http_gets_and_sends_every_byte_through_the_gateway() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    if run("node", &[&script("node_http.mjs"), &gateway.url, "bytes"]).is_some() {
        assert_eq!(gateway.connections(), 2);
        assert_eq!(upstream.reads(), 60);
        assert_eq!(upstream.writes(), 40);
        assert_eq!(upstream.received(), 40 * 50_000);
    }
}

/// Has npm fetch undici into the target directory; whether it is there.
fn undici() -> bool {
    let directory = scratch("undici");
    if directory.join("node_modules/undici/package.json").is_file() {
        return true;
    }
    if !is_installed("npm") {
        eprintln!("skipped: npm is not installed");
        return false;
    }
    let output = Command::new("npm")
        .args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "undici@6",
        ])
        .current_dir(&directory)
        .output()
        .expect("npm runs");
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        eprintln!("skipped: npm could not fetch undici: {errors}");
    }
    output.status.success()
}

#[test]
fn undici_pipelines() {
    if !undici() {
        return;
    }
    let directory = scratch("undici");
    let here = directory.join("undici.mjs");
    std::fs::copy(script("undici.mjs"), &here).expect("a copy, where node looks for undici");
    let file = here.to_string_lossy();
    for (example, flags) in EXAMPLES.map(|example| (example, ["--parallel", "8"])) {
        let server = Server::start(example, &flags);
        if run_in(&directory, "node", &[&file, &server.url, "hello"]).is_some() {
            assert_eq!(server.connections(), 2, "{example}");
        }
    }
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    if run_in(&directory, "node", &[&file, &gateway.url, "bytes"]).is_some() {
        assert_eq!(gateway.connections(), 2);
        assert_eq!(upstream.reads(), 200);
        assert_eq!(upstream.writes(), 20);
        assert_eq!(upstream.received(), 20 * 50_000);
    }
}

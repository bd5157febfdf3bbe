//! `curl`: HTTP/1.0, HTTP/1.1, and HTTP/2 with prior knowledge.

use crate::server::{EXAMPLES, Server};
use crate::tools::{run, scratch};
use crate::upstream::{Upstream, pattern};

const VERSIONS: [(&str, &str); 3] = [
    ("--http1.0", "1"),
    ("--http1.1", "1.1"),
    ("--http2-prior-knowledge", "2"),
];

/// How many connections `curl` made for each of three requests.
fn three(server: &Server, args: &[&str]) -> Option<Vec<usize>> {
    let mut all = vec!["-sS", "-w", "%{http_code} %{num_connects}\n"];
    all.extend_from_slice(args);
    let url = server.url.as_str();
    for _ in 0..3 {
        all.extend_from_slice(&["-o", "/dev/null", url]);
    }
    let output = run("curl", &all)?;
    let connects = |line: &str| line.strip_prefix("200 ")?.parse().ok();
    let made = output.lines().map(connects).collect::<Option<Vec<_>>>();
    Some(made.unwrap_or_else(|| panic!("{output}")))
}

#[test]
fn curl_reuses_an_http10_connection_if_it_asks_for_that() {
    let upstream = Upstream::start();
    for example in [&EXAMPLES[..], &["gateway"]].concat() {
        for (args, made) in [
            (
                &["--http1.0", "-H", "Connection: keep-alive"][..],
                [1, 0, 0],
            ),
            (&["--http1.0"], [1, 1, 1]),
            (
                &["--http1.0", "-H", "Proxy-Connection: keep-alive"],
                [1, 1, 1],
            ),
            (&["--http1.1"], [1, 0, 0]),
            (&["--http1.1", "-H", "Connection: close"], [1, 1, 1]),
        ] {
            let server = match example {
                "gateway" => Server::gateway(&upstream, &[]),
                _ => Server::start(example, &[]),
            };
            if let Some(connects) = three(&server, args) {
                assert_eq!(connects, made, "{example} {args:?}");
                assert_eq!(
                    server.connections(),
                    made.iter().sum::<usize>(),
                    "{example} {args:?}"
                );
            }
        }
    }
}

#[test]
fn curl_gets_every_byte_through_the_gateway() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let file = scratch("curl-get").join("body");
    let file = file.to_string_lossy();
    for (option, version) in VERSIONS {
        for path in ["/bytes/1000000", "/stream/1000000", "/bytes/0"] {
            let format = "%{http_version} %{http_code} %{size_download}";
            let url = gateway.at(path);
            let args = ["-sS", option, "-w", format, "-o", &*file, &url];
            let Some(output) = run("curl", &args) else {
                return;
            };
            let size = if path == "/bytes/0" { 0 } else { 1_000_000 };
            assert_eq!(output, format!("{version} 200 {size}"), "{path}");
            if size > 0 {
                let got = std::fs::read(&*file).expect("a file");
                assert!(got == pattern(size), "{option} {path}");
            }
        }
    }
}

#[test]
fn curl_sends_every_byte_through_the_gateway_once() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let directory = scratch("curl-post");
    let (from, to) = (directory.join("from"), directory.join("to"));
    std::fs::write(&from, pattern(1_000_000)).expect("a file");
    let data = format!("@{}", from.display());
    let (to, url) = (to.to_string_lossy(), gateway.at("/echo"));
    let mut sent = 0;
    for (option, version) in VERSIONS {
        // With a length curl asks for a 100 first; without one it sends chunks (not in HTTP/1.0).
        for more in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
            if version != "1.1" && !more.is_empty() {
                continue;
            }
            let format = "%{http_version} %{http_code} %{size_upload}";
            let args = [
                "-sS",
                option,
                "-w",
                format,
                "-o",
                &*to,
                "--data-binary",
                &data,
                &url,
            ];
            let Some(output) = run("curl", &[&args[..], more].concat()) else {
                return;
            };
            assert!(output.starts_with(&format!("{version} 200 ")), "{output}");
            assert!(
                std::fs::read(&*to).expect("a file") == pattern(1_000_000),
                "{option}"
            );
            sent += 1;
            assert_eq!(upstream.writes(), sent);
            assert_eq!(upstream.received(), sent * 1_000_000);
        }
    }
}

#[test]
fn curl_sees_length_but_no_body_with_head() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    for (option, _) in VERSIONS {
        let url = gateway.at("/bytes/1234");
        let Some(output) = run("curl", &["-sS", "-m", "30", option, "-I", &url]) else {
            return;
        };
        assert!(
            output.to_lowercase().contains("content-length: 1234\r\n"),
            "{output}"
        );
    }
    assert_eq!(upstream.reads(), VERSIONS.len());
}

//! Early answers on real sockets: a 401 with ten unread megabytes reaches every client, every time.
//!
//! `REAPER_REPEATS` sets how often; 20 by default.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use support::*;
use tokio::net::TcpStream;
use tokio::process::Command;
use tower_idle_reaper::Policy;

const MEGABYTES: usize = 10;

fn repeats() -> usize {
    std::env::var("REAPER_REPEATS").map_or(20, |n| n.parse().expect("a number"))
}

/// An axum server and a hyper server, each under a reaper.
async fn servers() -> Vec<(Engine, SocketAddr)> {
    let mut servers = Vec::new();
    for engine in [Engine::Axum, Engine::Auto] {
        servers.push((engine, listen(engine, Policy::safe()).await.1));
    }
    servers
}

/// Whether the program is there; says so if it is not.
async fn has(program: &str) -> bool {
    has_version(program, "--version").await
}

/// The same, for a program that tells its version in its own way.
async fn has_version(program: &str, flag: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg(flag)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = command.status().await.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

async fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .await
        .expect("it was there before");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl() {
    if !has("curl").await {
        return;
    }
    let body = std::env::temp_dir().join(format!("tower-idle-reaper-{}", std::process::id()));
    tokio::fs::write(&body, vec![b'x'; MEGABYTES << 20])
        .await
        .expect("a file");
    let data = format!("@{}", body.display());
    for (engine, addr) in servers().await {
        let url = format!("http://{addr}/early");
        let args = [
            "-s",
            "-S",
            "-H",
            "Expect:",
            "-w",
            " %{http_code}",
            "--data-binary",
            &data,
            &url,
        ];
        for n in 0..repeats() {
            let out = run("curl", &args).await;
            assert_eq!(out, "who are you? 401", "{engine:?}: {n}");
        }
    }
    let _ = tokio::fs::remove_file(body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_http_client() {
    if !has("python3").await {
        return;
    }
    let script = "
import http.client, sys
host, port, megabytes, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
body = b'x' * (megabytes << 20)
for n in range(repeats):
    c = http.client.HTTPConnection(host, port, timeout=30)
    c.request('POST', '/early', body)
    r = c.getresponse()
    assert (r.status, r.read()) == (401, b'who are you?'), (n, r.status)
    c.close()
print('all', end='')
";
    for (engine, addr) in servers().await {
        let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
        let (size, times) = (MEGABYTES.to_string(), repeats().to_string());
        let out = run("python3", &["-c", script, &ip, &port, &size, &times]).await;
        assert_eq!(out, "all", "{engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_fetch() {
    if !has("node").await {
        return;
    }
    let script = "
const [url, megabytes, repeats] = process.argv.slice(1);
const body = Buffer.alloc(megabytes << 20, 'x');
(async () => {
  for (let n = 0; n < repeats; n++) {
    const r = await fetch(url, { method: 'POST', body });
    const text = await r.text();
    if (r.status !== 401 || text !== 'who are you?') throw new Error(n + ': ' + r.status);
  }
  process.stdout.write('all');
})().catch((e) => { process.stdout.write(String(e) + ' ' + String(e.cause)); process.exitCode = 1; });
";
    for (engine, addr) in servers().await {
        let url = format!("http://{addr}/early");
        let (size, times) = (MEGABYTES.to_string(), repeats().to_string());
        let out = run("node", &["-e", script, &url, &size, &times]).await;
        assert_eq!(out, "all", "{engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_net_http() {
    if !has_version("go", "version").await {
        return;
    }
    let program = r#"package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func main() {
	megabytes, _ := strconv.Atoi(os.Args[2])
	repeats, _ := strconv.Atoi(os.Args[3])
	body := bytes.Repeat([]byte("x"), megabytes<<20)
	for n := 0; n < repeats; n++ {
		r, err := http.Post(os.Args[1], "text/plain", bytes.NewReader(body))
		if err != nil {
			fmt.Print(n, ": ", err)
			return
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 401 || string(text) != "who are you?" {
			fmt.Print(n, ": ", r.StatusCode, err)
			return
		}
	}
	fmt.Print("all")
}
"#;
    let name = format!("tower-idle-reaper-{}.go", std::process::id());
    let source = std::env::temp_dir().join(name);
    tokio::fs::write(&source, program).await.expect("a file");
    let path = source.display().to_string();
    for (engine, addr) in servers().await {
        let url = format!("http://{addr}/early");
        let (size, times) = (MEGABYTES.to_string(), repeats().to_string());
        let out = run("go", &["run", &path, &url, &size, &times]).await;
        assert_eq!(out, "all", "{engine:?}");
    }
    let _ = tokio::fs::remove_file(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_client() {
    let body = Bytes::from(vec![b'x'; MEGABYTES << 20]);
    for (engine, addr) in servers().await {
        for n in 0..repeats() {
            let tcp = TcpStream::connect(addr).await.expect("listening");
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
                .await
                .expect("no bytes are exchanged");
            tokio::spawn(connection);
            let request = Request::post("/early")
                .header("host", "a")
                .body(Full::new(body.clone()))
                .expect("a request");
            let answer = sender.send_request(request).await;
            let answer = answer.unwrap_or_else(|error| panic!("{engine:?}: {n}: {error:?}"));
            assert_eq!(answer.status(), 401);
            let text = answer
                .into_body()
                .collect()
                .await
                .expect("the whole answer");
            assert_eq!(text.to_bytes(), "who are you?");
        }
    }
}

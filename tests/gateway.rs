//! The gateway example as a newcomer meets it: started, curled, stopped.

mod support;

use std::process::Command;
use std::sync::Arc;

use support::{Example, path_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_conn_testkit::peer::ScriptedPeer;
use tower_conn_testkit::raw::{RawClient, RawStream};

struct Gateway(Example);

impl Gateway {
    fn start(flags: &[&str]) -> Self {
        Self(Example::start("gateway", flags))
    }

    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.0.addr).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut response = String::new();
        stream
            .read_to_string(&mut response)
            .await
            .expect("reads to the end");
        response
    }
}

#[tokio::test]
async fn the_first_command_answers_a_curl() {
    let gateway = Gateway::start(&[]);
    let response = gateway
        .exchange("GET /hello HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("GET /hello HTTP/1.1"), "{response}");
    assert!(response.contains("host: a.example"), "{response}");
}

#[tokio::test]
async fn a_refused_upstream_is_a_502_and_keeps_the_connection() {
    let refused = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let upstream = format!("http://{}", refused.local_addr().expect("bound"));
    drop(refused);
    let gateway = Gateway::start(&["--upstream", &upstream, "--retries", "0"]);
    let response = gateway
        .exchange(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
    assert_eq!(
        response.matches("HTTP/1.1 502 Bad Gateway\r\n").count(),
        2,
        "{response}"
    );
    assert!(
        response.contains("the upstream cannot be reached\n"),
        "{response}"
    );
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_and_keeps_the_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let upstream = format!("http://{}", silent.local_addr().expect("bound"));
    let gateway = Gateway::start(&[
        "--upstream",
        &upstream,
        "--request-timeout",
        "100ms",
        "--retries",
        "0",
    ]);
    let response = gateway
        .exchange(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
    assert_eq!(
        response.matches("HTTP/1.1 504 Gateway Timeout\r\n").count(),
        2,
        "{response}"
    );
    assert!(
        response.contains("the upstream did not answer in time\n"),
        "{response}"
    );
}

#[tokio::test]
async fn what_an_upstream_sent_before_it_failed_arrives() {
    for sent in ["", "hello"] {
        let upstream = ScriptedPeer::start(move |mut exchange| async move {
            // In one piece with the end, so that it is all there at once.
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
            exchange.send(format!("{head}{sent}")).await.expect("sent");
            exchange.close();
        })
        .await;
        let gateway = Gateway::start(&["--upstream", &format!("http://{}", upstream.addr())]);
        for _ in 0..20 {
            let addr = gateway.0.addr.parse().expect("an address");
            let mut client = RawClient::connect(addr).await.expect("connects");
            let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
            client.send(request).await.expect("sent");
            // Without the head a client could not tell that its POST was executed.
            let response = client.read_response("POST").await.expect("the head");
            assert_eq!(response.status, 200);
            assert_eq!(response.body, sent);
            assert!(!response.complete);
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_round_again_is_a_508() {
    // The gateway's upstream is the gateway.
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let upstream = format!("http://{}", relay.local_addr().expect("bound"));
    let gateway = Gateway::start(&["--upstream", &upstream]);
    let addr = gateway.0.addr.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = relay.accept().await {
            let mut to = TcpStream::connect(&addr).await.expect("connects");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    for method in ["GET", "POST"] {
        let head = "HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let response = gateway.exchange(&format!("{method} / {head}")).await;
        assert!(
            response.starts_with("HTTP/1.1 508 Loop Detected\r\n"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let gateway = Gateway::start(&["--max-body", "10"]);
    let announced = gateway
        .exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world")
        .await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    let streamed = gateway
        .exchange(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             b\r\nhello world\r\n0\r\n\r\n",
        )
        .await;
    assert!(streamed.starts_with("HTTP/1.1 413 "), "{streamed}");
}

/// The upstream answers only when it has three requests, so that without pipelining nobody is answered;
/// of the next three it answers one and closes, so that two have to be sent again.
#[tokio::test]
async fn safe_requests_are_pipelined_to_the_upstream_and_survive_its_close() {
    let upstream = Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("binds"));
    let uri = format!("http://{}", upstream.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (stream, _) = upstream.accept().await.expect("accepts");
            connections += 1;
            if serve_pipelined(stream, connections).await {
                return connections;
            }
        }
    });
    let flags = [
        "--upstream",
        &uri,
        "--upstream-connections",
        "1",
        "--pipeline-depth",
        "8",
    ];
    let gateway = Arc::new(Gateway::start(&flags));
    let get = |path: String| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let response = gateway.exchange(&request).await;
            assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
            assert!(
                response.ends_with(&format!("<{path}>")),
                "{path}: {response}"
            );
        })
    };
    get("/warm".to_owned()).await.expect("is answered");
    for round in ["together", "closed"] {
        let all: Vec<_> = (0..3).map(|n| get(format!("/{round}/{n}"))).collect();
        for one in all {
            one.await.expect("is answered");
        }
    }
    get("/last".to_owned()).await.expect("is answered");
    // What is sent again is sent alone, on a new connection each.
    assert_eq!(served.await.expect("no panic"), 3);
}

/// `true` once everything has been answered.
async fn serve_pipelined(stream: TcpStream, connection: usize) -> bool {
    let mut stream = RawStream::over(stream);
    let mut answered = 0;
    loop {
        let count = if connection == 1 && answered > 0 {
            3
        } else {
            1
        };
        let mut targets = Vec::new();
        for _ in 0..count {
            match stream.read_request().await {
                Ok(request) => targets.push(request.target),
                Err(_) => return false,
            }
        }
        let closes = connection == 1 && answered > 1;
        for target in &targets {
            let close = if closes { "Connection: close\r\n" } else { "" };
            let (body, length) = (format!("<{target}>"), target.len() + 2);
            stream
                .send(format!(
                    "HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n{body}"
                ))
                .await
                .expect("sends");
            answered += 1;
            if closes || target == "/last" {
                return !closes;
            }
        }
    }
}

#[test]
fn a_wrong_flag_is_explained() {
    for upstream in ["https://a.example/path", "http://127.0.0.1:"] {
        let output = Command::new(path_of("gateway"))
            .args(["--upstream", upstream])
            .output()
            .expect("runs");
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("expected http://HOST:PORT"), "{text}");
    }
}

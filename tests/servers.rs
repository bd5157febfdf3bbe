//! The axum and hyper examples on the wire: stopped by SIGTERM, pipelined to, over HTTP/2.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::Example;
use tokio::net::TcpStream;
use tower_conn_testkit::raw::{Ended, RawClient};

const SERVERS: [(&str, &[&str]); 4] = [
    ("axum_server", &[]),
    ("axum_server", &["--bare"]),
    ("hyper_server", &[]),
    ("hyper_server", &["--bare"]),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn connect(server: &Example) -> RawClient {
    let addr = server.addr.parse().expect("an address");
    let client = RawClient::connect(addr).await.expect("connects");
    client.deadline(Duration::from_secs(30))
}

/// Stops it; a drain that waited for its deadline would show in the test's time.
async fn terminate(server: Example) {
    let exit = tokio::task::spawn_blocking(|| server.terminate());
    assert!(exit.await.expect("stopped").success());
}

#[tokio::test]
async fn sigterm_closes_idle_connections_and_exits_0() {
    for (example, flags) in SERVERS {
        let server = Example::start(example, flags);
        let mut client = connect(&server).await;
        client.send(GET).await.expect("sent");
        let response = client.read_response("GET").await.expect("a response");
        assert_eq!(response.text(), "hello\n");
        terminate(server).await;
        assert_eq!(
            client.ended(Duration::from_secs(30)).await,
            Ended::Fin,
            "{example} {flags:?}"
        );
    }
}

#[tokio::test]
async fn a_request_that_has_begun_to_arrive_outlives_sigterm() {
    for example in ["axum_server", "hyper_server"] {
        let server = Example::start(example, &[]);
        let mut client = connect(&server).await;
        client.send(GET).await.expect("sent");
        client.read_response("GET").await.expect("a response");
        let (begun, rest) = GET.split_at(GET.len() / 2);
        client.send(begun).await.expect("sent");
        // The server has to have read it; what is in its receive buffer would be served just so.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stopped = tokio::spawn(terminate(server));
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.send(rest).await.expect("still open");
        let response = client.read_response("GET").await.expect("a response");
        assert_eq!(response.text(), "hello\n", "{example}");
        assert_eq!(response.tokens("connection"), ["close"], "{example}");
        assert_eq!(client.ended(Duration::from_secs(30)).await, Ended::Fin);
        stopped.await.expect("exits 0");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    for (example, flags) in [
        ("axum_server", &[][..]),
        ("axum_server", &["--parallel", "8"]),
        ("hyper_server", &[]),
        ("hyper_server", &["--parallel", "8"]),
    ] {
        let server = Example::start(example, flags);
        let mut client = connect(&server).await;
        let missing = "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n";
        client
            .send([GET, missing, GET, missing].concat())
            .await
            .expect("sent");
        for status in [200, 404, 200, 404] {
            let response = client.read_response("GET").await.expect("a response");
            assert_eq!(response.status, status, "{example} {flags:?}");
        }
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_and_drained() {
    for (example, flags) in SERVERS {
        let server = Example::start(example, flags);
        let stream = TcpStream::connect(&server.addr).await.expect("connects");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("http://{}/", server.addr))
            .body(Empty::<Bytes>::new())
            .expect("a request");
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes(), "hello\n");
        terminate(server).await;
        let _ = connection.await.expect("no panic");
    }
}

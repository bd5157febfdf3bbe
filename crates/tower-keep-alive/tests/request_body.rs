//! Request bodies that the handler does not read, on real sockets.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use tower_conn_testkit::raw::{Ended, RawClient};
use tower_keep_alive::{KeepAliveLayer, RequestBody};

use support::{axum_server, hyper_server, text};

const SOON: Duration = Duration::from_millis(300);
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

type Incomplete = Request<RequestBody<Incoming>>;

fn answer(status: StatusCode) -> Response<support::Body> {
    let mut response = Response::new(text("ok"));
    *response.status_mut() = status;
    response
}

/// Never looks at the body.
async fn refuse(_: Incomplete) -> Response<support::Body> {
    answer(StatusCode::UNAUTHORIZED)
}

async fn refusing() -> SocketAddr {
    hyper_server(KeepAliveLayer::new(), refuse).await
}

fn with_length(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(body: &str) -> String {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{body}\r\n0\r\nX-Sum: 1\r\n\r\n", body.len())
}

/// The unread body is drained: the connection persists and serves what comes next.
async fn persists(addr: SocketAddr, request: &str) {
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.status, 401);
    assert!(!response.fields.contains("connection"));
    client.send(NEXT).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 401);
    assert_eq!(client.ended(SOON).await, Ended::Open);
}

#[tokio::test]
async fn a_small_unread_body_is_drained() {
    let addr = refusing().await;
    let body = "x".repeat(100 * 1024);
    persists(addr, &with_length(&body)).await;
    persists(addr, &chunked(&body)).await;
    persists(addr, &chunked("x")).await;
    persists(addr, &with_length(&"x".repeat(256 * 1024))).await;
}

#[tokio::test]
async fn it_is_drained_under_axum_too() {
    let router = Router::new()
        .fallback(|| async { (StatusCode::UNAUTHORIZED, "ok") })
        .layer(KeepAliveLayer::new());
    persists(
        axum_server(router).await,
        &with_length(&"x".repeat(100 * 1024)),
    )
    .await;
}

#[tokio::test]
async fn a_body_that_arrives_late_is_waited_for() {
    let addr = refusing().await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(format!("cd{NEXT}")).await.unwrap();
    assert_eq!(client.read_response("POST").await.unwrap().status, 401);
    assert_eq!(client.read_response("GET").await.unwrap().status, 401);
}

#[tokio::test]
async fn a_body_that_is_too_slow_closes_with_notice() {
    let layer = KeepAliveLayer::new().drain_unread(1024, Duration::from_millis(50));
    let addr = hyper_server(layer, refuse).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        .await
        .unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    assert_eq!(client.ended(SOON).await, Ended::Fin);
}

#[tokio::test]
async fn a_large_body_closes_with_notice_without_waiting_for_it() {
    let addr = refusing().await;
    let start = Instant::now();
    let mut client = RawClient::connect(addr).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    let waited = Instant::now().saturating_duration_since(start);
    assert!(waited < Duration::from_millis(400), "{waited:?}");

    // Nobody says beforehand how long this one is.
    let mut client = RawClient::connect(addr).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    client.send(chunk.repeat(17)).await.unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
}

#[tokio::test]
async fn an_expectation_is_not_answered_by_draining() {
    let addr = refusing().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    let (bytes, ended) = client.read_to_end().await.unwrap();
    let all = String::from_utf8_lossy(&bytes);
    assert!(all.starts_with("HTTP/1.1 401 "), "{all}");
    assert!(all.contains("connection: close\r\n"), "{all}");
    assert_eq!(ended, Ended::Fin);

    // Read by the handler, it is answered, and the connection persists.
    let reads = |request: Incomplete| async move {
        request.into_body().collect().await.unwrap();
        answer(StatusCode::OK)
    };
    let addr = hyper_server(KeepAliveLayer::new(), reads).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    assert_eq!(client.read_response("POST").await.unwrap().status, 100);
    client.send(format!("abcd{NEXT}")).await.unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert!(!response.fields.contains("connection"));
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_expectation_of_http10_is_ignored() {
    let addr = refusing().await;
    let mut client = RawClient::connect(addr).await.unwrap();
    let head = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(format!("{head}abcd")).await.unwrap();
    let (bytes, _) = client.read_to_end().await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.0 401 "));
}

#[tokio::test]
async fn behind_a_broken_body_nothing_is_served() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let handler = move |_: Incomplete| {
        count.fetch_add(1, Ordering::Relaxed);
        async { answer(StatusCode::OK) }
    };
    let addr = hyper_server(KeepAliveLayer::new(), handler).await;
    for broken in [
        "xyz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
    ] {
        let before = served.load(Ordering::Relaxed);
        let mut client = RawClient::connect(addr).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{broken}{NEXT}")).await.unwrap();
        let response = client.read_response("POST").await.unwrap();
        assert_eq!(response.tokens("connection"), ["close"], "{broken:?}");
        let (rest, _) = client.read_to_end().await.unwrap();
        assert_eq!(rest, "", "{broken:?}");
        assert_eq!(served.load(Ordering::Relaxed), before + 1, "{broken:?}");
    }
}

#[tokio::test]
async fn length_and_coding_together_close() {
    let addr = refusing().await;
    let mut client = RawClient::connect(addr).await.unwrap();
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}0\r\n\r\n{NEXT}")).await.unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    let (rest, _) = client.read_to_end().await.unwrap();
    assert_eq!(rest, "");
}

// ===== bodies that are still in use =====

/// Hands the body to another task, and answers with this status at once.
async fn holding(status: StatusCode) -> (SocketAddr, mpsc::Receiver<RequestBody<Incoming>>) {
    let (tell, bodies) = mpsc::channel();
    let handler = move |request: Incomplete| {
        tell.send(request.into_body()).unwrap();
        async move { answer(status) }
    };
    let layer = KeepAliveLayer::new().drain_unread(1024, Duration::from_millis(100));
    (hyper_server(layer, handler).await, bodies)
}

#[tokio::test]
async fn a_response_does_not_wait_for_an_upload_that_goes_on() {
    let (addr, bodies) = holding(StatusCode::OK).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        .await
        .unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert!(!response.fields.contains("connection"));

    let body = bodies.recv().unwrap();
    client.send("cd").await.unwrap();
    // hyper itself tells the end of such a body only with the next request.
    let whole = tokio::time::timeout(SOON, body.collect())
        .await
        .expect("the end");
    assert_eq!(whole.unwrap().to_bytes(), "abcd");
    client.send(NEXT).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_rejection_during_an_upload_closes_unless_the_body_comes_back() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let (addr, bodies) = holding(StatusCode::PAYLOAD_TOO_LARGE).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    let response = client.read_response("POST").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    drop(bodies);

    let (addr, bodies) = holding(StatusCode::PAYLOAD_TOO_LARGE).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(bodies.recv().unwrap());
    let response = client.read_response("POST").await.unwrap();
    assert!(!response.fields.contains("connection"));
}

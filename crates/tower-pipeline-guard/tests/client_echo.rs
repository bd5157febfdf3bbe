//! Servers that answer twice, leave an answer out, or swap two: what framing cannot see.

mod client_support;

use std::num::NonZeroUsize;

use client_support::{Connection, Outcome, Peer, Request, get, paths, proven};
use http::HeaderName;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt};
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::RawStream;
use tower_pipeline_guard::client::{Builder, Cause};
use tower_pipeline_guard::{EchoGuardLayer, EchoMismatch};

fn layer() -> EchoGuardLayer {
    EchoGuardLayer::new(HeaderName::from_static("x-request-id"))
}

fn depth8() -> Builder {
    Builder::new().depth(NonZeroUsize::new(8).expect("not zero"))
}

fn identified(path: &str) -> Request {
    let mut request = get(path);
    let id = path.trim_start_matches('/').parse().expect("a value");
    request.headers_mut().insert("x-request-id", id);
    request
}

/// Starts three calls behind the guard, with the ids 1, 2 and 3, and waits until the server has them.
async fn three(
    connection: &Connection,
    stream: &mut RawStream,
) -> Vec<JoinHandle<Result<String, client_support::Error>>> {
    let mut calls = Vec::new();
    for path in ["/1", "/2", "/3"] {
        let mut service = layer().layer(connection.clone());
        let future = service.ready().await.expect("ready").call(identified(path));
        calls.push(tokio::spawn(async move {
            let body = future.await?.into_body().collect().await.expect("a body");
            Ok(String::from_utf8(body.to_bytes().to_vec()).expect("text"))
        }));
    }
    paths(stream, 3).await;
    calls
}

fn answer(id: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\nContent-Length: 1\r\n\r\n{id}")
}

async fn expect(answers: &[&str], delivered: &[&str]) {
    let peer = Peer::bind().await;
    let (connection, mut stream, driver) = proven(&peer, depth8()).await;
    let calls = three(&connection, &mut stream).await;
    for id in answers {
        // The client may have closed by now.
        let _ = stream.send(answer(id)).await;
    }
    let mut refused = 0;
    for (at, call) in calls.into_iter().enumerate() {
        let result = call.await.expect("no panic");
        let own = (at + 1).to_string();
        match (delivered.get(at), result) {
            (Some(_), result) => assert_eq!(result.expect("its own answer"), own),
            // What had been received before the mismatch was seen is delivered if it is right.
            (None, Ok(answer)) => assert_eq!(answer, own),
            (None, Err(_)) => refused += 1,
        }
    }
    if delivered.len() < 3 {
        assert!(refused > 0);
        drop(driver.await.expect("no panic").expect_err("given up"));
        let reason = connection.connection().close_reason();
        assert!(
            matches!(
                reason,
                Some(CloseReason::ProtocolError | CloseReason::UnsolicitedBytes)
            ),
            "{reason:?}"
        );
    }
}

#[tokio::test]
async fn m_extra_response_while_pipelined() {
    expect(&["1", "1", "2", "3"], &["1"]).await;
    // Without the guard the surplus is seen when it is one.
    let peer = Peer::bind().await;
    let (mut connection, mut stream, driver) = proven(&peer, depth8()).await;
    let mut calls = Vec::new();
    for path in ["/1", "/2", "/3"] {
        calls.push(client_support::start(&mut connection, get(path)).await);
    }
    paths(&mut stream, 3).await;
    let all: String = ["1", "1", "2", "3"].map(answer).concat();
    stream.send(all).await.expect("open");
    for (call, wrong) in calls.into_iter().zip(["1", "1", "2"]) {
        assert_eq!(call.await.expect("no panic").0, Outcome::Body(wrong));
    }
    let cause = driver.await.expect("no panic").expect_err("surplus");
    assert!(matches!(cause, Cause::Unsolicited));
}

#[tokio::test]
async fn m_missing_response() {
    expect(&["1", "3"], &["1"]).await;
}

#[tokio::test]
async fn m_swapped_order() {
    expect(&["2", "1", "3"], &[]).await;
    expect(&["1", "2", "3"], &["1", "2", "3"]).await;
}

#[derive(Debug)]
struct TestError;

impl From<EchoMismatch> for TestError {
    fn from(_: EchoMismatch) -> Self {
        Self
    }
}

#[tokio::test]
async fn a_missing_echo_is_let_through_unless_required() {
    let silent = tower::service_fn(|request: http::Request<()>| async move {
        assert_eq!(request.headers().get_all("x-request-id").iter().count(), 1);
        Ok::<_, TestError>(http::Response::new(()))
    });
    let lenient = layer().layer(silent).oneshot(http::Request::new(())).await;
    lenient.expect("let through");
    let strict = layer().required(true).layer(silent);
    strict
        .oneshot(http::Request::new(()))
        .await
        .expect_err("required");
}

#[tokio::test]
async fn stamped_ids_differ() {
    let echo = tower::service_fn(|request: http::Request<()>| async move {
        let mut response = http::Response::new(());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, TestError>(response)
    });
    let mut service = layer().required(true).layer(echo);
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let mut request = http::Request::new(());
        // Two values are none to compare with.
        request
            .headers_mut()
            .append("x-request-id", "a".parse().expect("a value"));
        request
            .headers_mut()
            .append("x-request-id", "b".parse().expect("a value"));
        let response = service
            .ready()
            .await
            .expect("ready")
            .call(request)
            .await
            .expect("echoed");
        assert!(ids.insert(response.headers()["x-request-id"].clone()));
    }
}

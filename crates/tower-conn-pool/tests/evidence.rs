//! What an error proves about the request that it belongs to.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use support::{TcpPool, fetch, get};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_conn_pool::{CloseReason, Delivery, Pool, PoolErrorKind, Protocol, connector};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

fn post(uri: &http::Uri) -> Request<Full<Bytes>> {
    Request::post(uri)
        .body(Full::from("body"))
        .expect("a request")
}

#[tokio::test]
async fn a_reused_connection_that_closes_on_a_request_proves_nothing() {
    for (reset, method) in [
        (false, "GET"),
        (false, "POST"),
        (true, "GET"),
        (true, "POST"),
    ] {
        let peer = ScriptedPeer::start(move |mut exchange: Exchange| async move {
            match exchange.nth() {
                1 => exchange.ok("").await.expect("sends"),
                _ if reset => exchange.reset(),
                _ => exchange.close(),
            }
        })
        .await;
        let pool = TcpPool::new(connector());
        fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
        let request = match method {
            "GET" => get(&peer.uri("/2")),
            _ => post(&peer.uri("/2")),
        };
        let mut error = fetch(&pool, request).await.expect_err("was closed");
        assert_eq!(error.kind(), PoolErrorKind::Exchange);
        assert_eq!(error.delivery(), Delivery::Ambiguous);
        assert!(error.is_sent() && !error.is_connect());
        let usage = error.connection_use().expect("was on a connection");
        assert_eq!(usage.exchanges_before, 1);
        assert!(usage.idle_for.is_some());
        assert!(error.connection().is_some());
        assert!(error.take_request::<Full<Bytes>>().is_none());
        assert_eq!(peer.requests().len(), 2, "the pool does not repeat it");
    }
}

#[tokio::test]
async fn a_new_connection_that_closes_on_a_request_says_that_it_was_new() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move { exchange.close() }).await;
    let pool = TcpPool::new(connector());
    let error = fetch(&pool, get(&peer.uri("/")))
        .await
        .expect_err("was closed");
    assert_eq!(error.delivery(), Delivery::Ambiguous);
    assert!(!error.connection_use().expect("a connection").is_reused());
    assert_eq!(pool.stats().open, 0);
}

#[tokio::test]
async fn a_response_that_is_not_http_closes_the_connection() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        exchange.send("SSH-2.0-x\r\n\r\n").await.expect("sends");
        exchange.drain(Duration::from_secs(5)).await;
    })
    .await;
    let pool = TcpPool::new(connector());
    let error = fetch(&pool, get(&peer.uri("/")))
        .await
        .expect_err("is not HTTP");
    assert_eq!(error.kind(), PoolErrorKind::Exchange);
    let connection = error.connection().expect("a connection");
    assert_eq!(connection.close_reason(), Some(CloseReason::ProtocolError));
    peer.until_closed(1).await;
}

/// A server of one connection that resets each stream with this reason, or sends GOAWAY.
async fn http2_refusing(reason: Option<h2::Reason>) -> http::Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut conn = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(Ok((_, mut respond))) = conn.accept().await {
            match reason {
                Some(reason) => respond.send_reset(reason),
                None => conn.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM),
            }
        }
    });
    format!("http://{addr}/").parse().expect("a URI")
}

#[tokio::test]
async fn http2_proves_what_was_not_processed() {
    let refused = h2::Reason::REFUSED_STREAM;
    let cases = [
        (Some(refused), Delivery::NotProcessed),
        (Some(h2::Reason::INTERNAL_ERROR), Delivery::Ambiguous),
        (Some(h2::Reason::CANCEL), Delivery::Ambiguous),
    ];
    for (reason, delivery) in cases {
        let uri = http2_refusing(reason).await;
        let pool: Pool<_, Full<Bytes>> =
            Pool::builder().protocol(Protocol::Http2).build(connector());
        let error = fetch(&pool, post(&uri)).await.expect_err("was reset");
        assert_eq!(error.delivery(), delivery, "{reason:?}");
    }
}

#[tokio::test]
async fn a_request_that_no_connection_took_is_handed_back_whole() {
    // Says no before it is asked: hyper takes nothing from such a connection.
    let peer = ScriptedPeer::on_connect(|mut connection| async move {
        connection.send("busy\r\n").await.expect("sends");
        connection.drain(Duration::from_secs(5)).await;
    })
    .await;
    let inner = connector();
    let slow = tower::service_fn(move |uri: http::Uri| {
        let inner = inner.clone();
        async move {
            let io = inner.oneshot(uri).await;
            // Until the bytes are there.
            tokio::time::sleep(Duration::from_millis(20)).await;
            io
        }
    });
    let pool: Pool<_, Full<Bytes>> = Pool::builder().build(slow);
    let mut error = fetch(&pool, post(&peer.uri("/x")))
        .await
        .expect_err("nobody took it");
    assert_eq!(error.kind(), PoolErrorKind::Exchange);
    assert_eq!(error.delivery(), Delivery::NotSent);
    let request = error.take_request::<Full<Bytes>>().expect("is whole");
    assert_eq!(request.uri(), &peer.uri("/x"), "as it was given");
    assert_eq!(request.method(), "POST");
    // hyper-util pull request 150: and it does not go on opening connections for ever.
    assert_eq!(peer.connections().len(), 1);
}

#[tokio::test]
async fn a_uri_without_a_host_is_refused() {
    let pool = TcpPool::new(connector());
    let mut error = pool
        .oneshot(get(&"/path".parse().expect("a URI")))
        .await
        .expect_err("has no host");
    assert_eq!(error.kind(), PoolErrorKind::InvalidUri);
    assert!(error.take_request::<Full<Bytes>>().is_some());
}

//! Persistence as a client sees it, on real sockets: hyper and axum servers with the layer.

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use axum::{Router, routing};
use http::Response;
use tower_conn_testkit::raw::{Ended, RawClient};
use tower_keep_alive::KeepAliveLayer;

use support::{axum_server, hyper_server, text};

const SOON: Duration = Duration::from_millis(300);

fn limited() -> KeepAliveLayer {
    KeepAliveLayer::new()
        .idle_timeout(Duration::from_secs(7))
        .max_requests(NonZeroU32::new(3))
}

async fn hello(_: http::Request<impl Sized>) -> Response<support::Body> {
    Response::new(text("hello"))
}

/// Three requests of an HTTP/1.0 client that asks for keep-alive, of three allowed.
async fn http10_handshake(addr: std::net::SocketAddr) {
    let mut client = RawClient::connect(addr).await.unwrap();
    for left in [2, 1] {
        client
            .send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            .await
            .unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert_eq!(response.tokens("connection"), ["keep-alive"]);
        let hint = format!("timeout=6, max={left}");
        assert_eq!(response.fields.text("keep-alive"), Some(hint));
    }
    client
        .send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        .await
        .unwrap();
    let response = client.read_response("GET").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    assert_eq!(response.fields.text("keep-alive"), None);
    assert_eq!(client.ended(SOON).await, Ended::Fin);
}

#[tokio::test]
async fn http10_is_confirmed_counted_down_and_closed_on_hyper() {
    http10_handshake(hyper_server(limited(), hello).await).await;
}

#[tokio::test]
async fn http10_is_confirmed_counted_down_and_closed_on_axum() {
    let router = Router::new()
        .route("/", routing::get(|| async { "hello" }))
        .layer(limited());
    http10_handshake(axum_server(router).await).await;
}

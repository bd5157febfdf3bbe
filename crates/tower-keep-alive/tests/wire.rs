//! Persistence as a client sees it, on real sockets: hyper and axum servers with the layer.

mod support;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::Duration;

use axum::{Router, routing};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tower_conn_testkit::body::{Hint, Script};
use tower_conn_testkit::raw::{Ended, RawClient, RawResponse};
use tower_keep_alive::{
    Advertise, CloseReason, Connection, DrainSignal, KeepAliveLayer, OnDecision, Persistence, Role,
};

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
async fn http10_handshake(addr: SocketAddr) {
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

/// Sends one request on a new connection; the response to it, and how the connection ended.
async fn exchange(addr: SocketAddr, request: &str) -> (RawResponse, Ended) {
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    let method = request.split(' ').next().unwrap();
    let response = client.read_response(method).await.unwrap();
    let ended = client.ended(SOON).await;
    (response, ended)
}

/// A hook that tells a channel what was decided.
fn decisions() -> (
    impl OnDecision + Clone + Send + Sync + 'static,
    mpsc::Receiver<Persistence>,
) {
    let (tell, told) = mpsc::channel();
    let hook = move |persistence, _: Option<&Connection>| tell.send(persistence).unwrap();
    (hook, told)
}

#[tokio::test]
async fn http11_persists_in_silence() {
    let addr = hyper_server(KeepAliveLayer::new(), hello).await;
    let (response, ended) = exchange(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!response.fields.contains("connection"));
    assert_eq!(ended, Ended::Open);
}

#[tokio::test]
async fn http11_is_told_the_limits_when_it_asks_or_always() {
    let asking = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let silent = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (advertise, request, announced) in [
        (Advertise::OnRequest, asking, true),
        (Advertise::OnRequest, silent, false),
        (Advertise::Always, silent, true),
        (Advertise::Never, asking, false),
    ] {
        let addr = hyper_server(limited().advertise(advertise), hello).await;
        let (response, ended) = exchange(addr, request).await;
        let hint = response.fields.text("keep-alive");
        let expected = announced.then(|| "timeout=6, max=2".to_owned());
        assert_eq!(hint, expected, "{advertise:?}");
        assert_eq!(response.tokens("connection").is_empty(), !announced);
        assert_eq!(ended, Ended::Open);
    }
}

#[tokio::test]
async fn close_is_answered_with_close_and_nothing_behind_it_is_served() {
    let (hook, told) = decisions();
    let addr = hyper_server(limited().on_decision(hook), hello).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n";
    client.send(request.repeat(2)).await.unwrap();
    let response = client.read_response("GET").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    assert!(!response.fields.contains("keep-alive"));
    let (rest, _) = client.read_to_end().await.unwrap();
    assert_eq!(rest, "");
    let all: Vec<_> = told.try_iter().collect();
    assert_eq!(all, [Persistence::Close(CloseReason::PeerRequested)]);
}

#[tokio::test]
async fn the_last_of_the_requests_allowed_says_close_and_the_handle_knows_why() {
    let (tell, handles) = mpsc::channel();
    let handler = move |request: http::Request<_>| {
        tell.send(Connection::of(request.extensions()).unwrap().clone())
            .unwrap();
        async { Response::new(text("hello")) }
    };
    let addr = hyper_server(limited(), handler).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    for nth in 1..=3 {
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert_eq!(response.tokens("connection") == ["close"], nth == 3);
    }
    assert_eq!(client.ended(SOON).await, Ended::Fin);
    let handle = handles.try_recv().unwrap();
    assert_eq!(handle.close_reason(), Some(CloseReason::MaxRequests));
    assert_eq!(handle.exchanges_finished(), 3);
}

#[tokio::test]
async fn an_http10_response_of_unknown_length_announces_nothing() {
    let unknown = |_| async {
        let (body, _) = Script::new()
            .data("hel")
            .data("lo")
            .hint(Hint::Unknown)
            .body();
        Response::new(body.map_err(std::io::Error::other).boxed_unsync())
    };
    let addr = hyper_server(limited(), unknown).await;
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let mut client = RawClient::connect(addr).await.unwrap();
    client.send(request).await.unwrap();
    let response = client.read_response("GET").await.unwrap();
    assert_eq!(response.tokens("connection"), ["close"]);
    assert!(!response.fields.contains("keep-alive"));
    assert_eq!(response.body, "hello");

    // Without a body, its length does not matter.
    let head = request.replace("GET", "HEAD");
    let (response, ended) = exchange(addr, &head).await;
    assert_eq!(response.tokens("connection"), ["keep-alive"]);
    assert_eq!(ended, Ended::Open);
}

#[tokio::test]
async fn http10_is_not_kept_unasked_nor_for_a_proxy() {
    let origin = hyper_server(limited(), hello).await;
    let proxy = hyper_server(limited().role(Role::Proxy), hello).await;
    let asks = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n";
    for (addr, head, told) in [
        (origin, "GET / HTTP/1.0\r\n".to_owned(), false),
        (
            origin,
            "GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n".to_owned(),
            false,
        ),
        // A proxy on the way has passed on what was not for us.
        (
            origin,
            format!("{asks}Proxy-Connection: keep-alive\r\n"),
            true,
        ),
        (origin, format!("{asks}Via: 1.0 old\r\n"), true),
        (proxy, asks.to_owned(), true),
    ] {
        let (response, ended) = exchange(addr, &format!("{head}\r\n")).await;
        let tokens = response.tokens("connection");
        assert_eq!(tokens, if told { &["close"][..] } else { &[] }, "{head}");
        assert_eq!(ended, Ended::Fin, "{head}");
    }
}

#[tokio::test]
async fn what_the_application_says_is_made_consistent() {
    let handler = |request: http::Request<_>| async move {
        let mut response = Response::new(text("hello"));
        let say = request.headers()["x-say"].clone();
        response.headers_mut().insert("connection", say);
        let foreign = http::HeaderValue::from_static("timeout=999, max=999");
        response.headers_mut().insert("keep-alive", foreign);
        *response.version_mut() = http::Version::HTTP_10;
        response
    };
    let addr = hyper_server(KeepAliveLayer::new(), handler).await;
    for (head, tokens, ended) in [
        (
            "GET / HTTP/1.1\r\nX-Say: keep-alive, x\r\n",
            &["x"][..],
            Ended::Open,
        ),
        (
            "GET / HTTP/1.1\r\nX-Say: close, x, keep-alive\r\n",
            &["x", "close"],
            Ended::Fin,
        ),
        ("GET / HTTP/1.0\r\nX-Say: keep-alive\r\n", &[], Ended::Fin),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-Say: x\r\n",
            &["x", "keep-alive"],
            Ended::Open,
        ),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-Say: close\r\n",
            &["close"],
            Ended::Fin,
        ),
    ] {
        let (response, end) = exchange(addr, &format!("{head}Host: a\r\n\r\n")).await;
        assert_eq!(response.tokens("connection"), tokens, "{head}");
        assert_eq!(end, ended, "{head}");
        assert!(!response.fields.contains("keep-alive"), "{head}");
        let version = head.split_whitespace().nth(2).unwrap();
        assert_eq!(response.version, version, "{head}");
    }
}

#[tokio::test]
async fn a_drain_closes_with_the_next_response() {
    let signal = DrainSignal::new();
    let addr = hyper_server(limited().drain_signal(signal.clone()), hello).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    for draining in [false, true] {
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert_eq!(response.tokens("connection") == ["close"], draining);
        signal.drain();
    }
    assert_eq!(client.ended(SOON).await, Ended::Fin);
}

#[tokio::test]
async fn a_close_asked_for_on_the_handle_goes_out_with_the_response() {
    let retire = |request: http::Request<_>| async move {
        let connection = Connection::of(request.extensions()).unwrap();
        connection.request_close(CloseReason::Application);
        Response::new(text("bye"))
    };
    let (hook, told) = decisions();
    let addr = hyper_server(KeepAliveLayer::new().on_decision(hook), retire).await;
    let (response, ended) = exchange(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(response.tokens("connection"), ["close"]);
    assert_eq!(ended, Ended::Fin);
    assert_eq!(
        told.recv(),
        Ok(Persistence::Close(CloseReason::Application))
    );
}

#[tokio::test]
async fn an_old_connection_closes_and_a_408_does() {
    let old = KeepAliveLayer::new().max_age(Duration::from_nanos(1));
    let timeout = |_| async {
        let mut response = Response::new(text(""));
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        response
    };
    for addr in [
        hyper_server(old, hello).await,
        hyper_server(KeepAliveLayer::new(), timeout).await,
    ] {
        let (response, ended) = exchange(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(response.tokens("connection"), ["close"]);
        assert_eq!(ended, Ended::Fin);
    }
}

#[tokio::test]
async fn without_a_handle_it_negotiates_and_does_not_count() {
    let router = Router::new()
        .route("/", routing::get(|| async { "hello" }))
        .layer(limited());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut client = RawClient::connect(addr).await.unwrap();
    for _ in 0..5 {
        client
            .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .await
            .unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert_eq!(
            response.fields.text("keep-alive"),
            Some("timeout=6".to_owned())
        );
    }
    let (response, ended) = exchange(addr, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(!response.fields.contains("connection"));
    assert_eq!(ended, Ended::Fin);
}

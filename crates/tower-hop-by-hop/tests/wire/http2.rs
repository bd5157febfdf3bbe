//! HTTP/2 on either side.

use std::convert::Infallible;

use axum::body::Body;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower_conn_testkit::body::{Hint, Script};
use tower_conn_testkit::peer::ScriptedPeer;
use tower_conn_testkit::raw::{Framing, RawClient};
use tower_hop_by_hop::Policy;

use crate::proxy::{Http2Upstream, Proxy, http2};

/// A body of one chunk and trailers.
fn with_trailers(data: &'static str, trailers: &[(&'static str, &'static str)]) -> Body {
    let mut map = HeaderMap::new();
    for &(name, value) in trailers {
        map.insert(name, HeaderValue::from_static(value));
    }
    let data = Full::<bytes::Bytes>::from(data);
    Body::new(data.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(map)))))
}

#[tokio::test]
async fn grpc_passes_whole() {
    let upstream = Http2Upstream::start(|| {
        let trailers = [("grpc-status", "0"), ("grpc-message", "")];
        Response::new(with_trailers("reply", &trailers))
    })
    .await;
    let proxy = Proxy::to_http2(upstream.addr, Policy::gateway()).await;
    let request = Request::post("/pkg.Service/Method")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(with_trailers(
            "call",
            &[("x-sum", "1"), ("content-length", "9")],
        ))
        .expect("valid");
    let response = http2(proxy, request).await.expect("a response");
    let collected = response.into_body().collect().await.expect("a whole body");
    let trailers = collected.trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["grpc-message"], "");
    assert_eq!(collected.to_bytes(), "reply");
    let seen = upstream.only();
    assert_eq!(seen.headers["te"], "trailers");
    assert!(!seen.headers.contains_key("connection"));
    assert_eq!(seen.body, "call");
    let trailers = seen.trailers.expect("trailers");
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
}

/// hyper's encoder reads the first `Connection` line only, compares `TE` whole, and fails on two lines.
#[tokio::test]
async fn http1_fields_do_not_reach_an_http2_upstream() {
    let upstream = Http2Upstream::start(|| Response::new(Body::from("hi"))).await;
    let proxy = Proxy::to_http2(upstream.addr, Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    let request = b"POST / HTTP/1.1\r\nhost: a.example\r\nconnection: keep-alive, x-sec\xffret\r\nconnection: x-private, te\r\n\
                    keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nx-private: 1\r\nx-keep: 2\r\n\
                    te: gzip\r\nte: Trailers;q=1, deflate\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send(request).await.expect("sent");
    let response = client.read_response("POST").await.expect("a response");
    assert_eq!((response.status, response.text()), (200, "hi"));
    let seen = upstream.only();
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers.get_all("te").iter().count(), 1);
    assert_eq!(seen.headers["x-keep"], "2");
    assert_eq!(seen.body, "abc");
    for gone in [
        "x-private",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
    ] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn an_http2_client_reaches_an_http1_upstream() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        // What Apache says in every answer, and HTTP/2 clients take for a protocol error.
        let response = "HTTP/1.1 200 OK\r\nconnection: Upgrade, keep-alive\r\nupgrade: h2,h2c\r\nkeep-alive: timeout=5\r\n\
                        trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n";
        exchange.send(response).await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let (unknown, _) = Script::new().data("abc").hint(Hint::Unknown).body();
    let mut request = Request::builder()
        .method(Method::GET)
        .uri("/x")
        .header("te", "trailers")
        .body(Body::new(unknown))
        .expect("valid");
    for crumb in ["a=1", "b=2"] {
        request
            .headers_mut()
            .append(COOKIE, HeaderValue::from_static(crumb));
    }
    let response = http2(proxy, request).await.expect("no protocol error");
    assert_eq!(response.status(), 200);
    for gone in ["connection", "upgrade", "keep-alive", "transfer-encoding"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let collected = response.into_body().collect().await.expect("a whole body");
    assert_eq!(collected.trailers().expect("trailers")["x-sum"], "9");
    let seen = &peer.requests()[0].request;
    assert_eq!(seen.fields.all("cookie"), [b"a=1; b=2"]);
    assert_eq!(seen.fields.get("te"), Some(&b"trailers"[..]));
    assert_eq!(seen.tokens("connection"), ["te"]);
    assert_eq!(seen.tokens("via"), ["2.0 edge"]);
    // A GET whose length nobody knows.
    assert_eq!((seen.text(), seen.framing), ("abc", Framing::Chunked));
}

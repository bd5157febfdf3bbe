//! HTTP/1.1 on both sides.

use tower_conn_testkit::peer::ScriptedPeer;
use tower_conn_testkit::raw::{Framing, RawClient, RawRequest, RawResponse};
use tower_hop_by_hop::{Policy, ProtectedNames};

use crate::proxy::Proxy;

/// Sends `request` through the proxy to an upstream that answers 200; returns what it saw.
async fn seen_by_upstream(policy: Policy, request: impl AsRef<[u8]>) -> RawRequest {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(peer.addr(), policy).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    client.send(request).await.expect("sent");
    let response = client.read_response("GET").await.expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    peer.requests()[0].request.clone()
}

/// Sends a GET whose header lines are `fields` to an upstream that answers with `response`.
async fn through(policy: Policy, fields: &str, response: &'static str) -> (RawResponse, RawClient) {
    let peer = ScriptedPeer::start(move |mut exchange| async move {
        exchange.send(response).await.expect("sent");
        if !response.contains("content-length") && !response.contains("chunked") {
            exchange.close();
        }
    })
    .await;
    let proxy = Proxy::start(peer.addr(), policy).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
        .await
        .expect("sent");
    let response = client.read_response("GET").await.expect("a response");
    (response, client)
}

fn get(fields: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nhost: a.example\r\n", fields, b"\r\n"].concat()
}

#[tokio::test]
async fn a_second_connection_line_counts() {
    let request = get(
        b"connection: close, x-one\r\nx-one: 1\r\nconnection: X-Two\r\nx-two: 2\r\nx-keep: 3\r\n",
    );
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert_eq!(seen.fields.all("x-keep"), [b"3"]);
    for gone in ["x-one", "x-two", "connection"] {
        assert!(!seen.fields.contains(gone), "{gone} in {seen:?}");
    }

    let (response, _) = through(
        Policy::gateway(),
        "",
        "HTTP/1.1 200 OK\r\nconnection: x-one\r\nconnection: x-two\r\nx-one: 1\r\nx-two: 2\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(!response.fields.contains("x-one") && !response.fields.contains("x-two"));
}

#[tokio::test]
async fn a_byte_above_0x7f_hides_no_nomination() {
    let request = get(b"connection: x-sec\xffret, x-secret\r\nx-secret: 1\r\n");
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert!(!seen.fields.contains("x-secret"), "{seen:?}");
}

#[tokio::test]
async fn protected_fields_stay_and_keep_their_meaning() {
    let request = "POST /x HTTP/1.1\r\nhost: a.example\r\nconnection: Host, Content-Length, Authorization, Cookie, X-Forwarded-For\r\n\
                   authorization: Bearer t\r\ncookie: a=b\r\nx-forwarded-for: 192.0.2.1\r\ncontent-length: 3\r\n\r\nabc";
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert_eq!(seen.text(), "abc");
    assert_eq!(seen.framing, Framing::Length(3));
    for (name, value) in [
        ("host", "a.example"),
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "192.0.2.1"),
    ] {
        assert_eq!(seen.fields.get(name), Some(value.as_bytes()));
    }
}

#[tokio::test]
async fn a_refused_nomination_is_a_400_and_the_connection_goes_on() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sent");
    })
    .await;
    let policy = Policy::gateway().protected_names(ProtectedNames::Reject);
    let proxy = Proxy::start(peer.addr(), policy).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    client
        .send(get(b"connection: host\r\n"))
        .await
        .expect("sent");
    let refused = client.read_response("GET").await.expect("a response");
    assert_eq!(refused.status, 400);
    assert!(peer.requests().is_empty());
    client
        .send(get(b"connection: keep-alive\r\n"))
        .await
        .expect("sent");
    assert_eq!(
        client
            .read_response("GET")
            .await
            .expect("a response")
            .status,
        200
    );
}

#[tokio::test]
async fn te_trailers_goes_on_with_its_option() {
    let request = get(b"connection: TE\r\nte: gzip;q=0.5\r\nte: Trailers\r\n");
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert_eq!(seen.fields.get("te"), Some(&b"trailers"[..]));
    assert_eq!(seen.tokens("connection"), ["te"]);
}

#[tokio::test]
async fn announced_trailers_pass_both_ways_without_the_forbidden_and_nominated() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: x-private\r\n\
                        trailer: x-sum, x-private, content-length\r\n\r\n2\r\nok\r\n0\r\n\
                        x-sum: 9\r\nx-private: 1\r\nconnection: x-sum\r\ncontent-length: 5\r\n\r\n";
        exchange.send(response).await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    let request = "POST / HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\nconnection: te, x-hop\r\n\
                   trailer: x-sum, x-hop\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nx-sum: 7\r\nx-hop: 1\r\n\r\n";
    client.send(request).await.expect("sent");
    let response = client.read_response("POST").await.expect("a response");
    assert_eq!(response.text(), "ok");
    assert_eq!(response.trailers.names(), ["x-sum"]);
    let seen = &peer.requests()[0].request;
    assert_eq!(seen.text(), "abc");
    assert_eq!(seen.trailers.names(), ["x-sum"]);
}

#[tokio::test]
async fn a_chunked_body_survives_every_method() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "QUERY"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        let peer = ScriptedPeer::start(|mut exchange| async move {
            exchange
                .send("HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .expect("sent");
        })
        .await;
        let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
        let mut client = RawClient::connect(proxy.addr).await.expect("connected");
        client.send(request).await.expect("sent");
        let response = client.read_response(method).await.expect("a response");
        assert_eq!(response.status, 204, "{method}");
        let seen = &peer.requests()[0].request;
        assert_eq!(
            (seen.text(), seen.framing),
            ("abc", Framing::Chunked),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_request_without_a_body_gets_none() {
    let seen = seen_by_upstream(Policy::gateway(), get(b"")).await;
    assert_eq!(seen.framing, Framing::None);
    assert!(!seen.fields.contains("transfer-encoding"));
    let request = "GET / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 3\r\n\r\nabc";
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert_eq!((seen.text(), seen.framing), ("abc", Framing::Length(3)));
}

#[tokio::test]
async fn content_length_beside_transfer_encoding_spoils_no_response() {
    let (response, _) = through(
        Policy::gateway(),
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert!(response.complete);
}

#[tokio::test]
async fn an_undecodable_transfer_coding_is_refused() {
    let (response, _) = through(
        Policy::gateway(),
        "",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(response.status, 502);

    let peer = ScriptedPeer::start(|_| async {}).await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(
        client
            .read_response("POST")
            .await
            .expect("a response")
            .status,
        501
    );
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn each_side_closes_its_own_connections_only() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange
            .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await
            .expect("sent");
        exchange.close();
    })
    .await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    for _ in 0..3 {
        client.send(get(b"")).await.expect("still open");
        let response = client.read_response("GET").await.expect("a response");
        assert_eq!(response.text(), "ok");
        assert!(response.tokens("connection").is_empty());
    }

    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    for _ in 0..3 {
        let mut client = RawClient::connect(proxy.addr).await.expect("connected");
        client
            .send(get(b"connection: close\r\n"))
            .await
            .expect("sent");
        client.read_response("GET").await.expect("a response");
    }
    assert_eq!(peer.connections().len(), 1);
}

#[tokio::test]
async fn via_and_max_forwards_are_this_hops() {
    let request = "OPTIONS /x HTTP/1.1\r\nhost: a.example\r\nvia: 1.0 fred\r\nvia: 1.1 p.example\r\nmax-forwards: 7\r\n\
                   connection: via, max-forwards\r\n\r\n";
    let seen = seen_by_upstream(Policy::gateway(), request).await;
    assert_eq!(
        seen.tokens("via"),
        ["1.0 fred", "1.1 p.example", "1.1 edge"]
    );
    assert_eq!(seen.fields.get("max-forwards"), Some(&b"6"[..]));
    let seen = seen_by_upstream(
        Policy::gateway(),
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    )
    .await;
    assert_eq!(seen.tokens("via"), ["1.0 edge"]);
}

#[tokio::test]
async fn trace_is_echoed_without_secrets() {
    let peer = ScriptedPeer::start(|_| async {}).await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    let request = "TRACE /a?b HTTP/1.1\r\nhost: a.example\r\nmax-forwards: 0\r\nauthorization: Basic c2VjcmV0\r\n\
                   proxy-authorization: Basic c2VjcmV0\r\ncookie: secret=1\r\nx-api-key: secret\r\nx-a: \u{e9}\r\n\r\n";
    client
        .send(tower_conn_testkit::vectors::latin1(request))
        .await
        .expect("sent");
    let response = client.read_response("TRACE").await.expect("a response");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.fields.get("content-type"),
        Some(&b"message/http"[..])
    );
    assert_eq!(
        response.body,
        &b"TRACE /a?b HTTP/1.1\r\nhost: a.example\r\nmax-forwards: 0\r\nx-a: \xe9\r\n\r\n"[..]
    );
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn proxy_authentication_stays_on_its_hop() {
    let seen = seen_by_upstream(
        Policy::forward_proxy(),
        get(b"proxy-authorization: Basic c2VjcmV0\r\n"),
    )
    .await;
    assert!(!seen.fields.contains("proxy-authorization"));
}

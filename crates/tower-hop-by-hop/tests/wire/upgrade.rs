//! Upgrades and tunnels.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_conn_testkit::peer::ScriptedPeer;
use tower_conn_testkit::raw::RawClient;
use tower_hop_by_hop::{HopByHopBody, HopByHopLayer, Policy, Upgrades};

use crate::proxy::Proxy;

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: a.example\r\nconnection: keep-alive, Upgrade, x-hop\r\n\
                         upgrade: h2c, WebSocket\r\nhttp2-settings: AAMAAABk\r\nx-hop: 1\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

async fn upgraded(policy: Policy, response: &'static str) -> (RawClient, ScriptedPeer) {
    let peer = ScriptedPeer::start(move |mut exchange| async move {
        exchange.send(response).await.expect("sent");
        if response.starts_with("HTTP/1.1 101") {
            let stream = exchange.stream().expect("open");
            if let Ok(bytes) = stream.read_bytes(4).await {
                stream
                    .send([b"echo:", &bytes[..]].concat())
                    .await
                    .expect("sent");
            }
        }
    })
    .await;
    let proxy = Proxy::start(peer.addr(), policy).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    client.send(HANDSHAKE).await.expect("sent");
    (client, peer)
}

#[tokio::test]
async fn a_websocket_is_offered_and_accepted_as_this_hop_means_it() {
    // The greeting behind the 101 belongs to the tunnel.
    let (mut client, peer) = upgraded(
        Policy::gateway(),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: x-secret\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-authenticate: Basic\r\n\r\nhello",
    )
    .await;
    let response = client.read_response("GET").await.expect("a response");
    assert_eq!(response.status, 101);
    assert_eq!(response.tokens("connection"), ["upgrade"]);
    assert_eq!(response.tokens("upgrade"), ["websocket"]);
    assert_eq!(
        response.fields.get("sec-websocket-accept"),
        Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..])
    );
    for gone in ["x-secret", "keep-alive", "proxy-authenticate"] {
        assert!(!response.fields.contains(gone), "{gone}");
    }
    assert_eq!(client.read_bytes(5).await.expect("the greeting"), "hello");
    client.send("ping").await.expect("sent");
    assert_eq!(client.read_bytes(9).await.expect("an echo"), "echo:ping");

    let seen = &peer.requests()[0].request;
    assert_eq!(seen.tokens("connection"), ["upgrade"]);
    assert_eq!(seen.tokens("upgrade"), ["websocket"]);
    assert!(seen.fields.contains("sec-websocket-key"));
    for gone in ["http2-settings", "x-hop"] {
        assert!(!seen.fields.contains(gone), "{gone}");
    }
}

#[tokio::test]
async fn a_101_without_the_option_is_repaired() {
    let (mut client, _peer) = upgraded(
        Policy::gateway(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    )
    .await;
    let response = client.read_response("GET").await.expect("a response");
    assert_eq!(response.status, 101);
    assert_eq!(response.tokens("connection"), ["upgrade"]);
    client.send("ping").await.expect("sent");
    assert_eq!(client.read_bytes(9).await.expect("an echo"), "echo:ping");
}

#[tokio::test]
async fn a_101_that_was_not_offered_is_a_502() {
    for (policy, response) in [
        // Not offered, because denied.
        (
            Policy::gateway().upgrades(Upgrades::Deny),
            "upgrade: websocket\r\n",
        ),
        // Not among the offers.
        (Policy::gateway(), "upgrade: tftp/1.0\r\n"),
        (Policy::gateway(), "upgrade: h2c\r\n"),
        (Policy::gateway(), "upgrade: websocket, h2c\r\n"),
        // Names nothing.
        (Policy::gateway(), ""),
    ] {
        let head: &'static str = Box::leak(
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{response}\r\n")
                .into_boxed_str(),
        );
        let (mut client, _peer) = upgraded(policy, head).await;
        let answer = client.read_response("GET").await.expect("a response");
        assert_eq!(answer.status, 502, "{head}");
        assert!(!answer.fields.contains("upgrade"));
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let (mut client, peer) = upgraded(
        Policy::gateway(),
        "HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: HTTP/3.0\r\ncontent-length: 2\r\n\r\nno",
    )
    .await;
    let response = client.read_response("GET").await.expect("a response");
    assert_eq!((response.status, response.text()), (426, "no"));
    assert!(!response.fields.contains("upgrade"));
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn an_http10_client_cannot_upgrade() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sent");
    })
    .await;
    let proxy = Proxy::start(peer.addr(), Policy::gateway()).await;
    let mut client = RawClient::connect(proxy.addr).await.expect("connected");
    let handshake = HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0");
    client.send(handshake).await.expect("sent");
    assert_eq!(
        client
            .read_response("GET")
            .await
            .expect("a response")
            .status,
        200
    );
    assert!(!peer.requests()[0].request.fields.contains("upgrade"));
}

/// A tunnel's 2xx has no body, and its framing fields would spoil the tunnel's first bytes.
#[tokio::test]
async fn connect_loses_framing_fields() {
    let service = ServiceBuilder::new()
        .layer(HopByHopLayer::forward_proxy())
        .service(service_fn(
            async |mut request: Request<HopByHopBody<Incoming>>| {
                assert_eq!(request.method(), "CONNECT");
                let tunnel = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut io = TokioIo::new(tunnel.await?);
                    let (mut read, mut write) = tokio::io::split(&mut io);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    Ok::<_, hyper::Error>(())
                });
                Response::builder()
                    .status(StatusCode::OK)
                    .header("content-length", "5")
                    .header("transfer-encoding", "chunked")
                    .header("connection", "close")
                    .body(axum::body::Body::empty())
            },
        ));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let builder = auto::Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(service);
        let _ = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await;
    });
    let mut client = RawClient::connect(addr).await.expect("connected");
    client
        .send("CONNECT origin.example:443 HTTP/1.1\r\nhost: origin.example:443\r\n\r\n")
        .await
        .expect("sent");
    let response = client.read_response("CONNECT").await.expect("a response");
    assert_eq!(response.status, 200);
    for gone in ["content-length", "transfer-encoding", "connection"] {
        assert!(!response.fields.contains(gone), "{gone}");
    }
    client.send("ping").await.expect("sent");
    assert_eq!(client.read_bytes(4).await.expect("an echo"), "ping");
}

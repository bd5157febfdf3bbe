//! HTTP/2, and connections that leave HTTP.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Log, TcpPool, connection, fetch, get, until, usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_conn_pool::{FreshConnection, Pool, Protocol, connector};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

/// An HTTP/2 server; `drain` has the first connection sent GOAWAY, which a request for `/slow` does
/// before it waits to be let go.
async fn http2_server(drain: Arc<Notify>, slow: Arc<Notify>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let (drain, slow) = (Arc::clone(&drain), Arc::clone(&slow));
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request: Request<Incoming>| {
                    let (drain, slow) = (Arc::clone(&drain), Arc::clone(&slow));
                    async move {
                        if request.uri().path() == "/slow" {
                            drain.notify_one();
                            slow.notified().await;
                        }
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hi"))))
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut conn =
                    std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    _ = conn.as_mut() => return,
                    () = drain.notified(), if first => conn.as_mut().graceful_shutdown(),
                }
                let _ = conn.await;
            });
        }
    });
    (addr, accepted)
}

#[tokio::test]
async fn http2_shares_one_connection_and_respects_goaway() {
    let slow = Arc::new(Notify::new());
    let (addr, accepted) = http2_server(Arc::default(), Arc::clone(&slow)).await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .protocol(Protocol::Http2)
        .observer(log.observe())
        .build(connector());
    let uri = |path: &str| format!("http://{addr}{path}").parse().expect("a URI");
    let quick = uri("/");
    let burst: Vec<_> = (0..50)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&quick));
            tokio::spawn(async move { fetch(&pool, request).await })
        })
        .collect();
    for one in burst {
        let response = one.await.expect("no panic").expect("answers");
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.body(), "hi");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert_eq!(pool.stats().open, 1);

    let running = tokio::spawn({
        let (pool, request) = (pool.clone(), get(&uri("/slow")));
        async move { fetch(&pool, request).await }
    });
    // The GOAWAY arrives some time after the request did; nothing is failed by it, before or after.
    let next = loop {
        let next = fetch(&pool, get(&quick)).await.expect("is not failed");
        if !usage(&next).is_reused() {
            break next;
        }
    };
    slow.notify_one();
    let finished = running.await.expect("no panic").expect("finishes");
    assert_ne!(connection(&next), connection(&finished));
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
    until("the old one is closed", || pool.stats().open == 1).await;
    assert_eq!(
        log.lines()
            .iter()
            .filter(|l| l.starts_with("closed"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_fresh_http2_connection_replaces_the_shared_one() {
    let (addr, accepted) = http2_server(Arc::default(), Arc::default()).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder().protocol(Protocol::Http2).build(connector());
    let uri = format!("http://{addr}/").parse().expect("a URI");
    fetch(&pool, get(&uri)).await.expect("answers");
    let mut request = get(&uri);
    request.extensions_mut().insert(FreshConnection);
    let fresh = fetch(&pool, request).await.expect("answers");
    assert!(!usage(&fresh).is_reused());
    let next = fetch(&pool, get(&uri)).await.expect("answers");
    assert_eq!(connection(&next), connection(&fresh));
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
    until("the old one is closed", || pool.stats().open == 1).await;
}

#[tokio::test]
async fn an_idle_http2_connection_expires() {
    let (addr, _) = http2_server(Arc::default(), Arc::default()).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder()
        .protocol(Protocol::Http2)
        .idle_timeout(Some(Duration::from_millis(50)))
        .build(connector());
    let uri = format!("http://{addr}/").parse().expect("a URI");
    let response = fetch(&pool, get(&uri)).await.expect("is not cut");
    assert_eq!(response.status(), StatusCode::OK);
    until("it is closed", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn an_upgraded_connection_leaves_the_pool_and_keeps_its_place() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        if exchange.request.target != "/tunnel" {
            return exchange.ok("").await.expect("sends");
        }
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
            .await
            .expect("sends");
        let stream = exchange.stream().expect("is open");
        let echoed = stream.read_bytes(4).await.expect("reads");
        stream.send(echoed).await.expect("sends");
        exchange.drain(Duration::from_secs(5)).await;
    })
    .await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder().observer(log.observe()).build(connector());
    let request = Request::get(peer.uri("/tunnel"))
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Full::default())
        .expect("a request");
    let mut response = pool.clone().oneshot(request).await.expect("answers");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let conn = connection(&response).clone();
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("upgrades"));
    drop(response);
    let mut buf = [0; 5];
    tunnel.read_exact(&mut buf).await.expect("reads");
    assert_eq!(&buf, b"hello", "what came behind the 101 is the tunnel's");
    tunnel.write_all(b"ping").await.expect("writes");
    tunnel.read_exact(&mut buf[..4]).await.expect("reads");
    assert_eq!(&buf[..4], b"ping");

    let other = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_ne!(connection(&other), &conn);
    assert_eq!((pool.stats().open, pool.stats().idle), (2, 1));
    assert!(!conn.is_closed());
    drop(tunnel);
    until("its place is free", || pool.stats().open == 1).await;
    assert_eq!(log.count("closed tunnel_ended"), 1, "{:?}", log.lines());
}

#[tokio::test]
async fn connect_goes_out_in_authority_form() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        exchange
            .send("HTTP/1.1 200 OK\r\n\r\n")
            .await
            .expect("sends");
        exchange.drain(Duration::from_secs(5)).await;
    })
    .await;
    let pool = TcpPool::new(connector());
    let request = Request::connect(peer.addr().to_string())
        .body(Full::default())
        .expect("a request");
    let mut response = pool.clone().oneshot(request).await.expect("answers");
    let tunnel = hyper::upgrade::on(&mut response).await.expect("upgrades");
    assert_eq!(peer.requests()[0].request.target, peer.addr().to_string());
    drop((response, tunnel));
    until("it is closed", || pool.stats().open == 0).await;
}

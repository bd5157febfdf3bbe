//! Hints for hyper-util's legacy client, on real sockets; beside it, what the client does without.
#![cfg(feature = "hyper-util")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_conn_testkit::body::{Hint, Script, ScriptedBody};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};
use tower_keep_alive::{KeepAliveHintLayer, ReusePolicy};

type Body = Pin<Box<ScriptedBody>>;

fn body(script: &Script) -> Body {
    Box::pin(script.body().0)
}

fn bare() -> impl Service<Request<Body>, Response = Response<Incoming>, Error = Error> + Clone {
    Client::builder(TokioExecutor::new()).build_http()
}

fn layered() -> impl Service<Request<Body>, Response = Response<Incoming>, Error = Error> + Clone {
    KeepAliveHintLayer::new(ReusePolicy::new()).layer(bare())
}

async fn send<S>(client: &S, method: Method, uri: Uri, script: Script) -> Bytes
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = Error> + Clone,
{
    let mut request = Request::new(body(&script));
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    let response = client.clone().oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    // The pool takes the connection back in a task of its own.
    tokio::time::sleep(Duration::from_millis(10)).await;
    bytes
}

async fn get<S>(client: &S, peer: &ScriptedPeer) -> Bytes
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = Error> + Clone,
{
    send(client, Method::GET, peer.uri("/"), Script::new()).await
}

/// A peer that answers each request with this head and `ok`.
async fn peer(head: &'static str) -> ScriptedPeer {
    ScriptedPeer::start(move |mut exchange: Exchange| async move {
        let answer = format!("{head}\r\nContent-Length: 2\r\n\r\nok");
        exchange.send(answer).await.unwrap();
    })
    .await
}

/// Lets time pass on the clock of the policy and not on the wire.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_is_not_reused_past_its_hint() {
    let peer = peer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5").await;
    let client = layered();
    for (idle, connections) in [(0, 1), (2, 1), (2, 1), (2, 1), (4, 2), (2, 2)] {
        pass(idle).await;
        get(&client, &peer).await;
        assert_eq!(peer.connections().len(), connections);
    }
    // The one that is given up is closed, not only forgotten.
    peer.until_closed(1).await;
}

#[tokio::test]
async fn without_the_layer_it_is() {
    let peer = peer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5").await;
    let client = bare();
    for idle in [0, 2, 20] {
        pass(idle).await;
        get(&client, &peer).await;
    }
    assert_eq!(peer.connections().len(), 1);
}

#[tokio::test]
async fn the_announced_uses_are_not_exceeded() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let max = 2 - exchange.nth();
        let head = format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=30, max={max}");
        exchange
            .send(format!("{head}\r\nContent-Length: 0\r\n\r\n"))
            .await
            .unwrap();
    })
    .await;
    let client = layered();
    for connections in [1, 1, 2, 2, 3] {
        get(&client, &peer).await;
        assert_eq!(peer.connections().len(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_nothing_names_goes_at_its_earliest_deadline() {
    let peer = peer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5").await;
    let connector = service_fn(|uri: Uri| {
        Box::pin(async move {
            let authority = uri.authority().expect("an authority").as_str();
            let stream = TcpStream::connect(authority).await?;
            Ok::<_, std::io::Error>(Unnamed(TokioIo::new(stream)))
        })
    });
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let client = KeepAliveHintLayer::new(ReusePolicy::new()).layer(client);
    for (idle, connections) in [(0, 1), (2, 1), (2, 2)] {
        pass(idle).await;
        get(&client, &peer).await;
        assert_eq!(peer.connections().len(), connections);
    }
}

// ===== HTTP/1.0 =====

async fn http10_peer() -> ScriptedPeer {
    peer("HTTP/1.0 200 OK\r\nConnection: keep-alive").await
}

/// A GET, and then an upload of unknown length.
async fn get_then_stream<S>(client: &S, peer: &ScriptedPeer)
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = Error> + Clone,
{
    get(client, peer).await;
    let upload = Script::new().data("precious").hint(Hint::Unknown);
    send(client, Method::POST, peer.uri("/"), upload).await;
    peer.until_requests(2).await;
}

/// Documents hyper; if this fails, hyper has been repaired and the default can change.
#[tokio::test]
async fn without_the_layer_an_upload_after_an_http10_response_is_lost() {
    let peer = http10_peer().await;
    get_then_stream(&bare(), &peer).await;
    let upload = &peer.requests()[1];
    assert_eq!((upload.connection, upload.nth), (1, 2));
    assert_eq!(upload.request.version, "HTTP/1.0");
    assert_eq!(upload.request.body, "", "the caller has been told 200");
}

#[tokio::test]
async fn an_upload_after_an_http10_response_arrives() {
    let peer = http10_peer().await;
    get_then_stream(&layered(), &peer).await;
    let upload = &peer.requests()[1];
    assert_eq!((upload.connection, upload.nth), (2, 1));
    assert_eq!(upload.request.version, "HTTP/1.1");
    assert_eq!(upload.request.body, "precious");
}

// ===== what hyper sees to by itself =====

#[tokio::test]
async fn bytes_after_a_response_end_the_connection() {
    let peer = peer("HTTP/1.1 200 OK").await;
    let noisy = ScriptedPeer::start(|mut exchange| async move {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let client = layered();
    for peer in [&peer, &noisy] {
        assert_eq!(get(&client, peer).await, "ok");
        assert_eq!(get(&client, peer).await, "ok");
    }
    assert_eq!(
        (peer.connections().len(), noisy.connections().len()),
        (1, 2)
    );
}

#[tokio::test]
async fn a_408_that_nobody_asked_for_answers_no_request() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("ok").await.unwrap();
        let late = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        exchange
            .send_after(Duration::from_millis(20), late)
            .await
            .unwrap();
    })
    .await;
    let client = layered();
    get(&client, &peer).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(get(&client, &peer).await, "ok");
    assert_eq!(peer.connections().len(), 2);
}

#[tokio::test]
async fn a_response_body_dropped_early_ends_the_connection() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nab")
            .await
            .unwrap();
    })
    .await;
    let mut request = Request::new(body(&Script::new()));
    *request.uri_mut() = peer.uri("/");
    let client = layered();
    let response = client.clone().oneshot(request).await.unwrap();
    drop(response);
    peer.until_closed(1).await;
}

// ===== an IO without a name =====

struct Unnamed(TokioIo<TcpStream>);

impl Connection for Unnamed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Unnamed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Unnamed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

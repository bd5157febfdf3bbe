//! Connections that leave HTTP: WebSocket through axum, over HTTP/1.1 and HTTP/2.
#![cfg(feature = "axum")]

mod support;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;
use tower_conn_serve::{CloseReason, Handle, Server};

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

struct Echo {
    handle: Handle,
    sender: tokio::sync::mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
}

impl Echo {
    fn new() -> Self {
        let (sender, listener) = PipeListener::new();
        let app = Router::new().route("/", any(echo));
        let serve = Server::new().drain(secs(10)).serve(listener, app);
        let handle = serve.handle();
        tokio::spawn(async move { serve.await });
        Self { handle, sender }
    }

    fn pipe(&self) -> DuplexStream {
        let (near, far) = duplex(4096);
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.sender.send((far, addr)).expect("it serves");
        near
    }
}

/// A short text frame with a mask, as clients send it.
fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        0x81,
        0x80 | u8::try_from(payload.len()).unwrap(),
        1,
        2,
        3,
        4,
    ];
    frame.extend(
        payload
            .iter()
            .zip([1, 2, 3, 4].iter().cycle())
            .map(|(b, m)| b ^ m),
    );
    frame
}

async fn echoes<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, word: &[u8]) {
    io.write_all(&text(word)).await.unwrap();
    let mut frame = vec![0; 2 + word.len()];
    io.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[0], 0x81);
    assert_eq!(&frame[2..], word);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_over_http1_is_no_idle_connection_and_ends_with_the_drain() {
    let server = Echo::new();
    let mut io = server.pipe();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    io.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        head.escape_ascii()
    );
    echoes(&mut io, b"one").await;
    sleep(secs(1000)).await;
    echoes(&mut io, b"two").await;
    let stats = server.handle.stats();
    assert_eq!((stats.parks, server.handle.reaper().connections()), (0, 1));
    server.handle.shutdown();
    sleep(secs(12)).await;
    assert_eq!(server.handle.reaper().connections(), 0);
    assert_eq!(server.handle.reaper().closed(CloseReason::DrainDeadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_over_http2_by_extended_connect() {
    let server = Echo::new();
    let io = TokioIo::new(server.pipe());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    // The server's SETTINGS allow it.
    sleep(millis(10)).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri("http://localhost/")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    echoes(&mut io, b"one").await;
    echoes(&mut io, b"two").await;
}

//! A WebSocket client (tungstenite) through the gateway to an axum handler.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::server::Server;
use crate::upstream::{Upstream, pattern};

async fn open(server: &Server, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .expect("connects");
    let url = server.at(path).replace("http:", "ws:");
    client_async(url, stream).await.map(|(socket, _)| socket)
}

/// Waits until the handlers of the upstream are done.
async fn until_none_is_open(upstream: &Upstream) {
    for _ in 0..1000 {
        if upstream.sockets() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} sockets are still open", upstream.sockets());
}

#[tokio::test]
async fn messages_come_back_whole_and_in_order() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let mut socket = open(&gateway, "/ws").await.expect("an upgrade");
    // All at once: they are in flight both ways.
    for n in 0..200 {
        socket
            .feed(Message::text(format!("message {n}")))
            .await
            .expect("sent");
    }
    let large = Bytes::from(pattern(1_000_000));
    socket
        .send(Message::binary(large.clone()))
        .await
        .expect("sent");
    for n in 0..200 {
        let message = socket.next().await.expect("open").expect("a message");
        assert_eq!(message, Message::text(format!("message {n}")));
    }
    let message = socket.next().await.expect("open").expect("a message");
    assert!(message == Message::binary(large));

    socket
        .send(Message::Ping("are you there".into()))
        .await
        .expect("sent");
    let pong = socket.next().await.expect("open").expect("a pong");
    assert_eq!(pong, Message::Pong("are you there".into()));

    socket.close(None).await.expect("closes");
    while let Some(message) = socket.next().await {
        assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
    }
    until_none_is_open(&upstream).await;
}

#[tokio::test]
async fn the_server_may_close() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let mut socket = open(&gateway, "/ws").await.expect("an upgrade");
    socket.send(Message::text("close")).await.expect("sent");
    let message = socket.next().await.expect("open").expect("a message");
    assert!(matches!(message, Message::Close(_)), "{message:?}");
    assert!(socket.next().await.is_none());
    until_none_is_open(&upstream).await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_tunnel() {
    let upstream = Upstream::start();
    // One place at the upstream: whoever leaves has to give it back.
    let gateway = Server::gateway(&upstream, &["--upstream-connections", "1"]);
    for _ in 0..5 {
        let mut socket = open(&gateway, "/ws").await.expect("an upgrade");
        socket.send(Message::text("hello")).await.expect("sent");
        socket.next().await.expect("open").expect("a message");
        drop(socket);
    }
    until_none_is_open(&upstream).await;
}

#[tokio::test]
async fn what_is_no_websocket_is_answered_as_ever() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    match open(&gateway, "/bytes/10").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 200),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sigterm_ends_open_sockets_at_the_deadline() {
    let upstream = Upstream::start();
    let url = format!("http://{}", upstream.addr);
    let flags = ["--upstream", &url, "--drain-timeout", "1s"];
    let gateway = crate::support::Example::start("gateway", &flags);
    let stream = TcpStream::connect(&gateway.addr).await.expect("connects");
    let url = format!("ws://{}/ws", gateway.addr);
    let (mut socket, _) = client_async(url, stream).await.expect("an upgrade");
    socket.send(Message::text("hello")).await.expect("sent");
    socket.next().await.expect("open").expect("a message");
    let stopped = tokio::task::spawn_blocking(|| gateway.terminate());
    let stopped = tokio::time::timeout(Duration::from_secs(30), stopped).await;
    assert!(stopped.expect("in time").expect("stopped").success());
    until_none_is_open(&upstream).await;
}

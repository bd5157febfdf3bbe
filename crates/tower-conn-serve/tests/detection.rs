//! What a connection may do before its first request, and which protocol it turns out to speak.

mod support;

use support::*;
use tokio::time::{Instant, sleep};
use tower_conn_serve::{CloseReason, Protocol, Server};
use tower_conn_testkit::h2::{self, H2Client};
use tower_conn_testkit::raw::Ended;

/// How long it takes for a connection to end that sends these bytes, and what it is sent.
async fn held(server: &Pipes, bytes: &[u8]) -> (u64, Vec<u8>) {
    let mut client = server.connect();
    if !bytes.is_empty() {
        client.send(bytes).await.unwrap();
    }
    let start = Instant::now();
    let (rest, _) = client.read_to_end().await.unwrap();
    ((Instant::now() - start).as_secs(), rest.to_vec())
}

#[tokio::test(start_paused = true)]
async fn silence_and_beginnings_are_bounded_whatever_they_could_become() {
    let server = Pipes::new(Server::new());
    let (took, sent) = held(&server, b"").await;
    assert_eq!((took, &sent[..]), (10, &b""[..]));
    assert_eq!(
        server.handle.reaper().closed(CloseReason::FirstByteTimeout),
        1
    );
    // The preface of HTTP/2 is no request, so it gets no answer.
    for n in 1..h2::PREFACE.len() {
        let (took, sent) = held(&server, &h2::PREFACE[..n]).await;
        assert_eq!(
            (took, &sent[..]),
            (15, &b""[..]),
            "{n} bytes of the preface"
        );
    }
    for begun in ["G", "POST", "PRX", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let (took, sent) = held(&server, begun.as_bytes()).await;
        assert_eq!(took, 15, "{begun}");
        let text = String::from_utf8_lossy(&sent);
        assert!(text.starts_with("HTTP/1.1 408 "), "{begun}: {text}");
        assert!(text.contains("Connection: close\r\n"), "{begun}: {text}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_says_nothing_after_its_preface_is_bounded() {
    let server = Pipes::new(Server::new());
    let (took, _) = held(&server, h2::PREFACE).await;
    assert_eq!(took, 15);
    assert_eq!(server.handle.reaper().closed(CloseReason::HeadTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn either_protocol_by_its_first_bytes_however_they_arrive() {
    let server = Pipes::new(Server::new());
    let mut client = server.connect();
    for byte in GET {
        client.send([*byte]).await.unwrap();
        sleep(millis(1)).await;
    }
    assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");

    let mut pipe = server.pipe();
    for byte in h2::PREFACE {
        tokio::io::AsyncWriteExt::write_all(&mut pipe, &[*byte])
            .await
            .unwrap();
        sleep(millis(1)).await;
    }
    let mut client = H2Client::resume(pipe).await;
    client.get(1, "/").await;
    assert_eq!(client.until(h2::DATA).await.payload, "hello");
    assert_eq!(server.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_protocol_only() {
    let server = Pipes::new(Server::new().only(Protocol::Http1));
    let mut client = server.connect();
    client.send(h2::PREFACE).await.unwrap();
    let (rest, _) = client.read_to_end().await.unwrap();
    assert!(!rest.starts_with(&[0, 0]), "no frame of HTTP/2: {rest:?}");
    assert_eq!(server.calls(), 0);

    let server = Pipes::new(Server::new().only(Protocol::Http2));
    let mut client = server.connect();
    client.send(GET).await.unwrap();
    let (rest, ended) = client.read_to_end().await.unwrap();
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    assert_eq!(ended, Ended::Fin);
    assert_eq!(server.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_hyper_are_the_applications_to_set() {
    let server = Server::new().http1(|http1| {
        http1.max_headers(4).header_read_timeout(millis(1));
    });
    let server = Pipes::new(server);
    let mut client = server.connect();
    client.send(&GET[..8]).await.unwrap();
    sleep(secs(5)).await;
    client.send(&GET[8..]).await.unwrap();
    let answer = client.read_response("GET").await.unwrap();
    assert_eq!(answer.status, 200, "the head has one limit, the policy's");
    let many = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n";
    client.send(many).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 431);
}

//! Every way an HTTP/2 stream fails, on real sockets and in literal frames, below hyper-util's legacy client: what it
//! proves and what follows.
#![cfg(all(feature = "hyper-util", feature = "h2"))]

#[path = "support/client.rs"]
mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_idempotent_retry::{Decision, Evidence, RetryInfo, RetryLayer, RetryReason, StopReason};

use client::TestClient;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), code.to_be_bytes()].concat(),
    )
}

/// `:status: 200`, and the end of the stream.
fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0b101, stream, &[0x88])
}

/// What the peer sends for the first stream, and whether it closes the connection then.
#[derive(Clone)]
struct Script {
    frames: Vec<u8>,
    close: bool,
}

/// A peer that treats the first stream it sees as told, and answers all others; and how many streams it saw.
async fn peer(script: Script) -> (Uri, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    let streams = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&streams);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, seen) = (script.clone(), Arc::clone(&seen));
            // A client that hangs up ends the connection.
            tokio::spawn(async move { serve(stream, &script, &seen).await.ok() });
        }
    });
    (uri.parse().expect("a URI"), streams)
}

async fn serve(mut stream: TcpStream, script: &Script, seen: &AtomicUsize) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            (HEADERS, _) => {
                if seen.fetch_add(1, Ordering::SeqCst) > 0 {
                    stream.write_all(&ok(id)).await?;
                } else {
                    assert_eq!(id, 1, "the scripts are for the first stream");
                    stream.write_all(&script.frames).await?;
                    if script.close {
                        return Ok(());
                    }
                }
            }
            _ => {}
        }
    }
}

/// Sends a POST whose first stream is treated so: the evidence, and how many streams the peer saw.
async fn post(frames: Vec<u8>, close: bool) -> (Evidence, usize, client::Answer) {
    let (uri, streams) = peer(Script { frames, close }).await;
    let client = TestClient::http2(RetryLayer::proxy());
    let answer = client.send("POST", uri, "hello").await;
    let decided = client.decided();
    (decided[0].evidence, streams.load(Ordering::SeqCst), answer)
}

async fn is_not_processed(frames: Vec<u8>) {
    let (evidence, streams, answer) = post(frames, false).await;
    assert_eq!(evidence, Evidence::NotProcessed);
    let answer = answer.expect("repeated, although it is a POST");
    assert_eq!((answer.status(), streams), (StatusCode::OK, 2));
    let info = RetryInfo::of(answer.extensions());
    assert_eq!(info.reasons, [RetryReason::NotProcessed]);
    assert!(!info.earlier_attempt_may_have_applied);
}

async fn is_ambiguous(frames: Vec<u8>, close: bool) {
    let (evidence, streams, answer) = post(frames.clone(), close).await;
    assert_eq!(evidence, Evidence::Ambiguous);
    answer.expect_err("not repeated");
    assert_eq!(streams, 1, "the POST reached the peer once");

    let (uri, streams) = peer(Script { frames, close }).await;
    let client = TestClient::http2(RetryLayer::proxy());
    let answer = client
        .send("GET", uri, "")
        .await
        .expect("a GET is repeated");
    assert_eq!(streams.load(Ordering::SeqCst), 2);
    assert!(RetryInfo::of(answer.extensions()).earlier_attempt_may_have_applied);
}

#[tokio::test]
async fn refused_stream() {
    is_not_processed(reset(1, REFUSED_STREAM)).await;
}

#[tokio::test]
async fn go_away_below_the_stream() {
    for code in [NO_ERROR, ENHANCE_YOUR_CALM, INTERNAL_ERROR] {
        is_not_processed(go_away(0, code)).await;
    }
}

#[tokio::test]
async fn go_away_at_or_above_the_stream() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        for last in [1, 5] {
            is_ambiguous(go_away(last, code), true).await;
        }
    }
}

#[tokio::test]
async fn resets_that_prove_nothing() {
    for code in [INTERNAL_ERROR, CANCEL, HTTP_1_1_REQUIRED, NO_ERROR] {
        is_ambiguous(reset(1, code), false).await;
    }
}

/// cloudflare/pingora#979: a POST was repeated after a GOAWAY that this side had sent.
#[tokio::test]
async fn a_go_away_of_our_own() {
    is_ambiguous(frame(DATA, 0, 0, b"on stream 0"), false).await;
}

#[tokio::test]
async fn closed_without_a_word() {
    is_ambiguous(Vec::new(), true).await;
}

#[tokio::test]
async fn refused_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri: Uri = format!("http://{}/", listener.local_addr().expect("bound"))
        .parse()
        .expect("a URI");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let frames = reset(1, REFUSED_STREAM);
            // A connection refuses its first stream, and each attempt has a connection of its own.
            tokio::spawn(async move {
                let script = Script {
                    frames,
                    close: false,
                };
                serve(stream, &script, &AtomicUsize::new(0)).await.ok()
            });
        }
    });
    let client = TestClient::http2(RetryLayer::client().no_budget());
    client
        .send("GET", uri, "")
        .await
        .expect_err("never processed");
    let decided = client.decided();
    assert_eq!(decided.len(), 3);
    assert!(
        decided
            .iter()
            .all(|it| it.evidence == Evidence::NotProcessed)
    );
    assert_eq!(decided[2].decision, Decision::Stop(StopReason::MaxAttempts));
}

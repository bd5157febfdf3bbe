//! Closing in stages, in memory: when, for how long, for how many bytes.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::num::NonZeroUsize;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::h2::{Frame, GOAWAY, H2Client};
use tower_conn_testkit::raw::Ended;
use tower_idle_reaper::{Capacity, Linger, Policy};

const EARLY: &str = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";

fn policy() -> Policy {
    Policy::safe().linger(Linger::new(secs(20)).gap(secs(3)).bytes(1_000_000))
}

/// Sends until the server does not take it any more; how much and for how long.
async fn upload(client: &mut Client, pause: std::time::Duration) -> (usize, std::time::Duration) {
    let start = Instant::now();
    let mut sent = 0;
    while sent < 10_000_000 && client.send([b'x'; 10_000]).await.is_ok() {
        sent += 10_000;
        tokio::time::sleep(pause).await;
    }
    (sent, Instant::now() - start)
}

/// The client writes its whole body before it reads; both must come to an end.
#[tokio::test(start_paused = true)]
async fn linger_early_401() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        let (sent, _) = upload(&mut client, millis(0)).await;
        assert_eq!(sent, 10_000_000, "{engine:?}: everything was taken");
        let answer = client.read_response("POST").await.unwrap();
        assert!(answer.status == 401 && answer.complete, "{engine:?}");
        assert_eq!(client.ended(millis(1)).await, Ended::Fin);
    }
}

#[tokio::test(start_paused = true)]
async fn linger_announce_close() {
    let whole = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        let answer = client.read_response("POST").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");

        // A body that is all here is drained, and the connection stays.
        let mut client = server.connect();
        client.send(whole).await.unwrap();
        let answer = client.read_response("POST").await.unwrap();
        assert!(answer.tokens("connection").is_empty(), "{engine:?}");
        client.send(GET).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn linger_early_413_stream() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client
            .send("POST /partly HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..1000 {
            let chunk = ["2710\r\n".as_bytes(), &[b'x'; 10_000], b"\r\n"].concat();
            client
                .send(chunk)
                .await
                .expect("the server goes on reading");
        }
        client.send("0\r\n\r\n").await.unwrap();
        let answer = client.read_response("POST").await.unwrap();
        assert!(answer.status == 413 && answer.complete, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn linger_gap() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        assert_eq!(client.read_response("POST").await.unwrap().status, 401);
        assert_eq!(client.ended(millis(1)).await, Ended::Fin, "half-closed");
        let start = Instant::now();
        tokio::time::sleep(secs(2)).await;
        client.send("more").await.unwrap();
        server.until_empty().await;
        let took = Instant::now() - start;
        assert!(took >= secs(5) && took <= secs(5) + millis(100), "{took:?}");
        assert_eq!(server.ended(), [(CloseReason::UnreadBody, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn linger_byte_budget() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        let (sent, _) = upload(&mut client, millis(1)).await;
        assert!(
            (1_000_000..1_200_000).contains(&sent),
            "{engine:?}: {sent} bytes were taken"
        );
        assert_eq!(client.read_response("POST").await.unwrap().status, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn linger_total() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy().body_rate(None));
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        let start = Instant::now();
        while client.send("x").await.is_ok() {
            tokio::time::sleep(secs(1)).await;
        }
        let took = Instant::now() - start;
        assert!(took >= secs(20) && took <= secs(21), "{engine:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn linger_only_if_needed() {
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let upload =
        "POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    for engine in Engine::HTTP1 {
        for request in [last, upload] {
            let server = Server::new(engine, policy());
            let mut client = server.connect();
            client.send(request).await.unwrap();
            assert_eq!(client.read_response("GET").await.unwrap().status, 200);
            assert_eq!(client.ended(millis(1)).await, Ended::Fin);
            tokio::time::sleep(millis(1)).await;
            assert_eq!(server.reaper.connections(), 0, "{engine:?}: no stage");
        }
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send([last.as_bytes(), GET].concat()).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
        assert_eq!(server.calls(), 1);
    }
}

/// Bytes behind a request that asked for the close are still on their way.
#[tokio::test(start_paused = true)]
async fn bytes_that_wait_when_the_connection_closes_are_read() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        let last = "GET /slow/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client
            .send([last.as_bytes(), &GET.repeat(10_000)].concat()[..60_000].to_vec())
            .await
            .unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
        assert_eq!(client.ended(millis(1)).await, Ended::Fin, "{engine:?}");
        assert_eq!(server.calls(), 1);
        drop(client);
        server.until_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn linger_first_victim() {
    for engine in Engine::HTTP1 {
        let capacity = Capacity::new(NonZeroUsize::new(2).expect("two"));
        let server = Server::new(engine, policy().max_connections(capacity));
        let mut idle = server.connect();
        idle.send(GET).await.unwrap();
        idle.read_response("GET").await.unwrap();
        tokio::time::sleep(secs(1)).await;
        let mut lingering = server.connect();
        lingering.send(EARLY).await.unwrap();
        assert_eq!(lingering.read_response("POST").await.unwrap().status, 401);
        tokio::time::sleep(secs(1)).await;
        assert_eq!(server.reaper.connections(), 2);

        let start = Instant::now();
        let mut fresh = server.connect();
        fresh.send(GET).await.unwrap();
        assert_eq!(fresh.read_response("GET").await.unwrap().status, 200);
        assert!(Instant::now() - start < millis(50), "{engine:?}");
        assert_eq!(server.ended(), [(CloseReason::UnreadBody, 1)]);
        assert_eq!(idle.ended(millis(1)).await, Ended::Open, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lingering_obeys_the_drain_deadline() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().linger(Linger::new(secs(1000))));
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        assert_eq!(client.read_response("POST").await.unwrap().status, 401);
        tokio::time::sleep(secs(1)).await;
        let start = Instant::now();
        server.reaper.drain(secs(2)).await;
        assert!(Instant::now() - start <= secs(2) + millis(50), "{engine:?}");
        server.until_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn linger_h2() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, policy());
        let mut client = H2Client::open(server.pipe()).await;
        client.get(1, "/slow/1").await;
        tokio::time::sleep(millis(100)).await;
        let reaper = server.reaper.clone();
        let draining = tokio::spawn(async move { reaper.drain(secs(30)).await });
        let frames = client.rest().await;
        assert!(frames.iter().any(Frame::ends_stream));
        assert!(frames.iter().any(|f| f.kind == GOAWAY));
        // The server has half-closed and still takes what is on its way.
        assert_eq!(server.reaper.connections(), 1, "{engine:?}");
        client.ping().await;
        drop(client);
        assert!(draining.await.unwrap().took < secs(2), "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_lingering_it_closes_at_once() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().linger(None));
        let mut client = server.connect();
        client.send(EARLY).await.unwrap();
        assert_eq!(client.read_response("POST").await.unwrap().status, 401);
        tokio::time::sleep(millis(1)).await;
        assert_eq!(server.reaper.connections(), 0, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expect_continue_final() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client
            .send("POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .await
            .unwrap();
        let first = client.read_response("POST").await.unwrap();
        assert_eq!(first.status, 401, "{engine:?}: no 100 before it");
        assert_eq!(client.ended(millis(1)).await, Ended::Fin);
        drop(client);
        server.until_empty().await;
    }
}

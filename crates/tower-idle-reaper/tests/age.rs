//! Maximum age, maximum requests, and what middleware can ask for.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::num::NonZeroU32;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::h2::{Frame, GOAWAY, H2Client, HEADERS};
use tower_conn_testkit::raw::Ended;
use tower_idle_reaper::{MaxAge, Policy};

fn old_at(seconds: u64) -> Policy {
    Policy::safe().max_age(MaxAge::new(secs(seconds)).jitter(0))
}

fn at_most(requests: u32) -> Policy {
    Policy::safe().max_requests(NonZeroU32::new(requests))
}

#[tokio::test(start_paused = true)]
async fn max_requests_last_response() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, at_most(3));
        let mut client = server.connect();
        for n in 1..=3 {
            client.send(GET).await.unwrap();
            let answer = client.read_response("GET").await.unwrap();
            assert_eq!(
                answer.tokens("connection").contains(&"close".into()),
                n == 3
            );
        }
        assert_eq!(client.ended(millis(1)).await, Ended::Fin, "{engine:?}");
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::MaxRequests, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_request_beyond_the_last_is_not_processed() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, at_most(2));
        let mut client = server.connect();
        client.send(GET.repeat(5)).await.unwrap();
        for _ in 0..2 {
            assert!(client.read_response("GET").await.unwrap().complete);
        }
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!((rest.len(), ended), (0, Ended::Fin), "{engine:?}");
        assert_eq!(server.calls(), 2, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_requests_h2() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, at_most(2));
        let mut client = H2Client::open(server.pipe()).await;
        client.get(1, "/slow/3").await;
        client.get(3, "/slow/5").await;
        let frames = client.rest().await;
        assert_eq!(frames.iter().filter(|f| f.ends_stream()).count(), 2);
        assert!(frames.iter().any(|f| f.kind == GOAWAY), "{engine:?}");
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::MaxRequests, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_idle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, old_at(60));
        let mut client = server.connect();
        let opened = Instant::now();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!((rest.len(), ended), (0, Ended::Fin));
        let took = Instant::now() - opened;
        assert!(took >= secs(60) && took <= secs(61), "{engine:?}: {took:?}");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_inflight() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, old_at(60));
        let mut client = server.connect();
        client.send(get("/slow/70")).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(client.ended(millis(10)).await, Ended::Fin);
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_streaming() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, old_at(60));
        let mut client = server.connect();
        client.send(get("/stream/80")).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert!(answer.complete && answer.body.len() == 80 * 1024);
        assert!(answer.tokens("connection").is_empty(), "the head was sent");
        assert_eq!(client.ended(millis(10)).await, Ended::Fin, "{engine:?}");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

/// The age is reached while a stream is open, and the connection lives on for a while.
#[tokio::test(start_paused = true)]
async fn max_age_poll_after_fire() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, old_at(30));
        let mut client = H2Client::open(server.pipe()).await;
        let opened = Instant::now();
        client.get(1, "/stream/50").await;
        client.until(GOAWAY).await;
        let took = Instant::now() - opened;
        assert!(took >= secs(30) && took <= secs(31), "{engine:?}: {took:?}");
        let frames = client.rest().await;
        assert!(
            frames.iter().any(Frame::ends_stream),
            "{engine:?}: it finished"
        );
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_outlives_age_and_grace_is_cut() {
    for engine in Engine::HTTP1 {
        let policy = Policy::safe().max_age(MaxAge::new(secs(60)).jitter(0).grace(secs(10)));
        let server = Server::new(engine, policy);
        let mut client = server.connect();
        let opened = Instant::now();
        client.send(get("/slow/200")).await.unwrap();
        let (rest, _) = client.read_to_end().await.unwrap();
        let took = Instant::now() - opened;
        assert!(
            rest.is_empty() && took >= secs(70) && took <= secs(71),
            "{took:?}"
        );
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_jitter() {
    let server = Server::new(
        Engine::Http1,
        Policy::safe()
            .idle(None)
            .expect("no balancer")
            .first_byte(None)
            .max_age(MaxAge::new(secs(60)).jitter(10)),
    );
    let opened = Instant::now();
    let mut clients: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    let mut closings = Vec::new();
    tokio::time::sleep(secs(54) - millis(1)).await;
    while closings.len() < 1000 {
        assert!(Instant::now() - opened < secs(62), "{}", closings.len());
        tokio::time::sleep(millis(100)).await;
        let left = server.reaper.connections();
        closings.resize(1000 - left, Instant::now() - opened);
    }
    assert!(closings[0] >= secs(54), "none before the lower bound");
    for tenth in 0..10 {
        let from = secs(54) + millis(600) * tenth;
        let here = closings
            .iter()
            .filter(|&&at| at >= from && at < from + millis(600));
        assert!(here.count() > 40, "nothing in tenth {tenth}");
    }
    assert_eq!(clients[0].ended(millis(1)).await, Ended::Fin);
}

#[tokio::test(start_paused = true)]
async fn middleware_closes_after_the_response() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(get("/handle/1")).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(
            (answer.text(), &answer.tokens("connection")[..]),
            ("handled", &["close".to_owned()][..])
        );
        assert_eq!(client.ended(millis(1)).await, Ended::Fin);
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::Application, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_closes_an_h2_connection_with_goaway() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, Policy::safe());
        let mut client = H2Client::open(server.pipe()).await;
        client.get(1, "/handle/1").await;
        let frames = client.rest().await;
        assert!(frames.iter().any(|f| f.kind == HEADERS && f.stream == 1));
        assert!(frames.iter().any(|f| f.kind == GOAWAY), "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_drains_with_grace_and_aborts() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        let start = Instant::now();
        client.send(get("/handle/2")).await.unwrap();
        let (rest, _) = client.read_to_end().await.unwrap();
        let took = Instant::now() - start;
        assert!(
            rest.is_empty() && took >= secs(5) && took <= secs(6),
            "{took:?}"
        );
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::Application, 1)],
            "{engine:?}"
        );

        let mut client = server.connect();
        client.send(get("/handle/3")).await.unwrap();
        let (rest, _) = client.read_to_end().await.unwrap();
        assert!(rest.is_empty(), "{engine:?}: cut before the answer");
        server.until_empty().await;
        assert_eq!(server.reaper.closed(CloseReason::Aborted), 1, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_an_ordinary_end_is_told() {
    let cases: [(&[u8], CloseReason); 3] = [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            CloseReason::PeerRequested,
        ),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", CloseReason::Http10),
        (
            b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
            CloseReason::UnreadBody,
        ),
    ];
    for engine in Engine::HTTP1 {
        for (request, reason) in cases {
            let server = Server::new(engine, Policy::safe());
            let mut client = server.connect();
            client.send(request).await.unwrap();
            client.read_to_end().await.unwrap();
            server.until_empty().await;
            assert_eq!(server.ended(), [(reason, 1)], "{engine:?}");
        }
    }
    for engine in [Engine::Http1, Engine::Http1Upgrades, Engine::Auto] {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send("GET /\x01 NONSENSE\r\n\r\n").await.unwrap();
        client.read_to_end().await.unwrap();
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::ProtocolError, 1)],
            "{engine:?}"
        );
    }
}

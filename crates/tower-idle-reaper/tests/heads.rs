//! The first byte and the head: two clocks, and neither is the idle one.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::h2::{H2Client, HEADERS, PREFACE};
use tower_conn_testkit::raw::{Ended, RawStream};
use tower_idle_reaper::{Policy, Rate};

/// First byte 10 s, head 5 s.
fn policy() -> Policy {
    Policy::safe().head(secs(5))
}

fn within(took: std::time::Duration, limit: u64) {
    assert!(took >= secs(limit), "early: {took:?}");
    assert!(took <= secs(limit) + millis(100), "late: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn first_byte_timeout() {
    for engine in Engine::HTTP1.into_iter().chain([Engine::Http2]) {
        let server = Server::new(engine, policy());
        let start = Instant::now();
        let mut client = server.connect();
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!(ended, Ended::Fin, "{engine:?}");
        if engine != Engine::Http2 {
            assert!(rest.is_empty(), "{engine:?}: nothing is answered");
        }
        within(Instant::now() - start, 10);
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::FirstByteTimeout, 1)]);
        assert_eq!(server.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn head_timeout_partial() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        tokio::time::sleep(secs(9)).await;
        let start = Instant::now();
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nConte")
            .await
            .unwrap();
        let answer = client.read_response("POST").await.unwrap();
        within(Instant::now() - start, 5);
        assert_eq!(answer.status, 408, "{engine:?}");
        assert_eq!(answer.tokens("connection"), ["close"]);
        assert_eq!(client.ended(millis(10)).await, Ended::Fin, "{engine:?}");
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::HeadTimeout, 1)],
            "{engine:?}"
        );
        assert_eq!(server.calls(), 0, "no handler ran");
    }
}

#[tokio::test(start_paused = true)]
async fn head_deadline_absolute() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        let start = Instant::now();
        for byte in "GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyy".bytes() {
            if client.send([byte]).await.is_err() || client.ended(secs(1)).await != Ended::Open {
                break;
            }
        }
        within(Instant::now() - start, 5);
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::HeadTimeout, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn protocol_detection_one_byte() {
    for engine in [Engine::Auto, Engine::AutoUpgrades, Engine::Axum] {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        let start = Instant::now();
        client.send("P").await.unwrap();
        // Still detecting: another byte of the preface restarts nothing.
        tokio::time::sleep(secs(4)).await;
        client.send("R").await.unwrap();
        assert_eq!(client.ended(secs(4)).await, Ended::Fin, "{engine:?}");
        within(Instant::now() - start, 5);
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::HeadTimeout, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn h2_preface_then_silence() {
    for engine in Engine::HTTP2.into_iter().chain([Engine::Axum]) {
        let server = Server::new(engine, policy());
        let start = Instant::now();
        let mut client = RawStream::over(server.pipe());
        client.send(PREFACE).await.unwrap();
        assert_ne!(client.ended(secs(20)).await, Ended::Open, "{engine:?}");
        within(Instant::now() - start, 5);
        server.until_empty().await;
        assert_eq!(
            server.ended(),
            [(CloseReason::HeadTimeout, 1)],
            "{engine:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn idle_time_is_not_charged_to_the_head() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        tokio::time::sleep(secs(60)).await;
        client.send("GET / HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(secs(4)).await;
        client.send("Host: a\r\n\r\n").await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.status, 200, "{engine:?}");
    }
}

/// A second head behind the first does not put the first one's handler on its clock.
#[tokio::test(start_paused = true)]
async fn half_a_pipelined_head_does_not_cut_the_handler_before_it() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client
            .send([&get("/slow/60")[..], b"GET /"].concat())
            .await
            .unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
        let start = Instant::now();
        assert_eq!(client.read_response("GET").await.unwrap().status, 408);
        within(Instant::now() - start, 5);
        assert_eq!(server.calls(), 1, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_below_the_minimum_rate_is_cut_before_its_deadline() {
    for engine in Engine::HTTP1 {
        let policy = Policy::safe()
            .head(secs(60))
            .head_rate(Rate::per_second(10).grace(secs(2)));
        let server = Server::new(engine, policy);
        let mut slow = server.connect();
        let start = Instant::now();
        slow.send("GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(slow.read_response("GET").await.unwrap().status, 408);
        within(Instant::now() - start, 2);

        let mut fair = server.connect();
        fair.send("GET / HTTP/1.1\r\n").await.unwrap();
        for _ in 0..10 {
            fair.send("X: 345678901234567\r\n").await.unwrap();
            tokio::time::sleep(secs(1)).await;
        }
        fair.send("Host: a\r\n\r\n").await.unwrap();
        assert_eq!(fair.read_response("GET").await.unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_opened_ahead_of_need_behind_a_balancer_is_not_cut() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::behind_proxy(secs(60)).expect("usual"));
        let mut client = server.connect();
        tokio::time::sleep(secs(70)).await;
        client.send(GET).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn no_limit_means_no_limit() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::unlimited());
        let mut client = server.connect();
        tokio::time::sleep(secs(20_000)).await;
        client.send("GET / HT").await.unwrap();
        tokio::time::sleep(secs(20_000)).await;
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
        assert_eq!(client.ended(secs(20_000)).await, Ended::Open, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_h2_connection_has_until_the_head_limit_to_open() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, policy());
        let mut client = H2Client::open(server.pipe()).await;
        tokio::time::sleep(secs(30)).await;
        client.get(1, "/").await;
        client.until(HEADERS).await;
    }
}

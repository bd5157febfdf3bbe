//! The idle limit: what is idle, and what wins when it is reached.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::*;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, ExchangeEvent};
use tower_conn_testkit::h2::{GOAWAY, H2Client};
use tower_conn_testkit::raw::Ended;
use tower_idle_reaper::{IdleReaper, Policy};

fn policy() -> Policy {
    Policy::safe().idle(secs(10)).expect("no balancer")
}

#[tokio::test(start_paused = true)]
async fn idle_close_silent() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
        let idle_since = Instant::now();
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!(
            (rest.len(), ended),
            (0, Ended::Fin),
            "{engine:?}: nothing is written"
        );
        let took = Instant::now() - idle_since;
        assert!(
            took >= secs(10) && took <= secs(10) + millis(100),
            "{took:?}"
        );
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::Idle, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn exchanges_are_told_on_every_connection() {
    for engine in Engine::HTTP1 {
        let counts = [0, 0].map(|_| Arc::new(AtomicUsize::new(0)));
        let [begun, ended] = counts.clone();
        let reaper = IdleReaper::builder(policy())
            .on_exchange(move |_: &Connection, event: ExchangeEvent| match event {
                ExchangeEvent::Begun { .. } => drop(begun.fetch_add(1, Ordering::Relaxed)),
                ExchangeEvent::Ended { .. } => drop(ended.fetch_add(1, Ordering::Relaxed)),
                other => panic!("{other:?}"),
            })
            .build();
        let server = Server::with(engine, reaper);
        for _ in 0..2 {
            let mut client = server.connect();
            for _ in 0..3 {
                client.send(GET).await.unwrap();
                client.read_response("GET").await.unwrap();
            }
        }
        server.until_empty().await;
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [6, 6], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn leading_crlf_not_activity() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        let idle_since = Instant::now();
        while client.ended(secs(1)).await == Ended::Open {
            client.send("\r\n").await.unwrap();
        }
        assert!(Instant::now() - idle_since <= secs(11));
        assert_eq!(server.calls(), 1, "{engine:?}: no request was started");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::Idle, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_handler_not_idle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(get("/slow/60")).await.unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert_eq!(response.text(), "late", "{engine:?}");
        assert_eq!(client.ended(secs(9)).await, Ended::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_response_is_not_idle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(get("/stream/30")).await.unwrap();
        let response = client.read_response("GET").await.unwrap();
        assert!(response.complete && response.body.len() == 30 * 1024);
        assert_eq!(client.ended(secs(9)).await, Ended::Open, "{engine:?}");
        assert_eq!(client.ended(secs(2)).await, Ended::Fin, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_then_request_at_deadline() {
    for engine in Engine::HTTP1 {
        for early in 0..60 {
            // The request arrives at every moment around the deadline.
            let server = Server::new(engine, policy());
            let mut client = server.connect();
            client.send(GET).await.unwrap();
            client.read_response("GET").await.unwrap();
            tokio::time::sleep(secs(10) + millis(100) - millis(early * 3)).await;
            let sent = client.send(GET).await;
            let answer = client.read_response("GET").await;
            match answer {
                Ok(answer) => {
                    assert!(sent.is_ok() && answer.complete);
                    assert_eq!(server.calls(), 2);
                }
                Err(_) => assert_eq!(server.calls(), 1, "{engine:?}: a lost answer"),
            }
        }
    }
}

/// The request is in the receive buffer, and the task of the connection has not run since.
#[tokio::test(start_paused = true)]
async fn a_request_already_received_when_the_limit_fires_is_served() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        let connection = server.reaper.open_connections().remove(0);
        tokio::time::sleep(secs(5)).await;
        client.send(GET).await.unwrap();
        assert!(connection.request_close_if_idle(secs(4), CloseReason::Idle));
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(client.ended(millis(1)).await, Ended::Fin);
        assert_eq!(server.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_is_not_cut_by_the_idle_limit() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        tokio::time::sleep(secs(9)).await;
        client.send("GET / HT").await.unwrap();
        assert_eq!(client.ended(secs(8)).await, Ended::Open);
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);
        assert_eq!(server.calls(), 2, "{engine:?}");
    }
}

/// The engine has part of the next head in its buffer from an earlier read.
#[tokio::test(start_paused = true)]
async fn a_head_that_came_with_an_earlier_request_is_not_cut_either() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send([GET, b"GET / HT"].concat()).await.unwrap();
        client.read_response("GET").await.unwrap();
        assert_eq!(client.ended(secs(12)).await, Ended::Open, "{engine:?}");
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 200);

        client.send([GET, b"GET / HT"].concat()).await.unwrap();
        client.read_response("GET").await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.status, 408, "{engine:?}: but its own limit applies");
    }
}

#[tokio::test(start_paused = true)]
async fn peer_fin_while_idle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        client.half_close().await.unwrap();
        assert_eq!(client.ended(millis(1)).await, Ended::Fin, "{engine:?}");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::PeerClosed, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_its_answer() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(get("/slow/3")).await.unwrap();
        client.half_close().await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.text(), "late", "{engine:?}");
        assert_eq!(client.ended(millis(1)).await, Ended::Fin, "{engine:?}");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::PeerClosed, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn upgraded_not_idle() {
    for engine in [Engine::Http1Upgrades, Engine::AutoUpgrades, Engine::Axum] {
        let policy = policy().max_age(tower_idle_reaper::MaxAge::new(secs(20)));
        let server = Server::new(engine, policy.tunnel_idle(secs(300)));
        let mut client = server.connect();
        client
            .send(
                "GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n",
            )
            .await
            .unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 101);
        tokio::time::sleep(secs(200)).await;
        client.send("ping").await.unwrap();
        assert_eq!(client.read_bytes(4).await.unwrap(), "ping", "{engine:?}");
        let silent_since = Instant::now();
        assert_ne!(client.ended(secs(400)).await, Ended::Open);
        let took = Instant::now() - silent_since;
        assert!(took >= secs(300) && took <= secs(301), "{took:?}");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::Idle, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_open_while_the_guard_is_there() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, policy());
        let mut client = server.connect();
        client.send(get("/handle/4")).await.unwrap();
        client.read_response("GET").await.unwrap();
        assert_eq!(client.ended(secs(495)).await, Ended::Open, "{engine:?}");
        assert_eq!(client.ended(secs(6)).await, Ended::Fin, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn h2_ping_not_activity() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, policy());
        let mut client = H2Client::open(server.pipe()).await;
        client.get(1, "/").await;
        while !client.next().await.expect("answered").ends_stream() {}
        let idle_since = Instant::now();
        let mut goaways = 0;
        loop {
            match tokio::time::timeout(secs(1), client.next()).await {
                Ok(Some(frame)) => goaways += u32::from(frame.kind == GOAWAY),
                Ok(None) => break,
                Err(_) => client.ping().await,
            }
        }
        let took = Instant::now() - idle_since;
        assert!(took >= secs(10) && took <= secs(12), "{engine:?}: {took:?}");
        assert!(goaways >= 1, "{engine:?}: closed without a GOAWAY");
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::Idle, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn h2_idle_clock_restarts_at_zero_streams() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, policy());
        let mut client = H2Client::open(server.pipe()).await;
        client.get(1, "/slow/60").await;
        loop {
            let frame = client.next().await.expect("the stream is open");
            assert_ne!(frame.kind, GOAWAY, "{engine:?}");
            if frame.ends_stream() {
                break;
            }
        }
        let idle_since = Instant::now();
        client.until(GOAWAY).await;
        let took = Instant::now() - idle_since;
        assert!(took >= secs(10) && took <= secs(11), "{engine:?}: {took:?}");
    }
}

/// Without the reaper's watch nobody can send a GOAWAY, but the connection is still closed.
#[tokio::test(start_paused = true)]
async fn an_idle_h2_connection_of_axum_serve_is_closed() {
    let server = Server::new(Engine::Axum, policy());
    let mut client = H2Client::open(server.pipe()).await;
    client.get(1, "/").await;
    while !client.next().await.expect("answered").ends_stream() {}
    let idle_since = Instant::now();
    client.rest().await;
    let took = Instant::now() - idle_since;
    // Lingering waits for the client to close.
    assert!(took >= secs(10) && took <= secs(16), "{took:?}");
}

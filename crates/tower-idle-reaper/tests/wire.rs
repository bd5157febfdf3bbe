//! Each limit on real sockets, in an unmodified `axum::serve` and in a hyper accept loop.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::{Ended, RawClient};
use tower_idle_reaper::{Capacity, IdleReaper, MaxAge, Policy};

const ENGINES: [Engine; 3] = [Engine::Axum, Engine::Http1Upgrades, Engine::AutoUpgrades];

async fn used(addr: SocketAddr) -> RawClient {
    let mut client = RawClient::connect(addr).await.expect("listening");
    client.send(GET).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    client
}

/// Sends, and expects the connection to end by a FIN a second later, for this reason.
async fn ends(engine: Engine, policy: Policy, bytes: &[u8], reason: CloseReason) {
    let (reaper, addr) = listen(engine, policy).await;
    let mut client = RawClient::connect(addr).await.expect("listening");
    if reason == CloseReason::Idle {
        client = used(addr).await;
    }
    let start = Instant::now();
    if !bytes.is_empty() {
        client.send(bytes).await.unwrap();
    }
    let ended = client.ended(secs(10)).await;
    let took = Instant::now() - start;
    assert_eq!(ended, Ended::Fin, "{engine:?}: {reason}");
    assert!(
        took >= millis(990) && took <= secs(3),
        "{engine:?}: {reason} {took:?}"
    );
    drop(client);
    until(&reaper, reason, 1).await;
}

async fn until(reaper: &IdleReaper, reason: CloseReason, count: u64) {
    let start = Instant::now();
    while reaper.closed(reason) < count {
        let waited: Duration = Instant::now() - start;
        let all: Vec<_> = reaper.closed_by_reason().collect();
        assert!(waited < secs(20), "{reason}: {all:?}");
        tokio::time::sleep(millis(10)).await;
    }
}

#[tokio::test]
async fn first_byte() {
    for engine in ENGINES {
        let policy = Policy::safe().first_byte(secs(1));
        ends(engine, policy, b"", CloseReason::FirstByteTimeout).await;
    }
}

#[tokio::test]
async fn head() {
    for engine in ENGINES {
        let policy = Policy::safe().head(secs(1));
        ends(
            engine,
            policy,
            b"GET / HTTP/1.1\r\nHo",
            CloseReason::HeadTimeout,
        )
        .await;
    }
}

#[tokio::test]
async fn idle() {
    for engine in ENGINES {
        let policy = Policy::safe().idle(secs(1)).expect("no balancer");
        ends(engine, policy, b"", CloseReason::Idle).await;
    }
}

#[tokio::test]
async fn body_gap() {
    for engine in ENGINES {
        let policy = Policy::safe().body_gap(secs(1));
        let half = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        ends(engine, policy, half, CloseReason::BodyTimeout).await;
    }
}

#[tokio::test]
async fn age() {
    for engine in ENGINES {
        let policy = Policy::safe().max_age(MaxAge::new(secs(1)).jitter(0));
        ends(engine, policy, GET, CloseReason::MaxAge).await;
    }
}

#[tokio::test]
async fn write_stall() {
    for engine in ENGINES {
        let (reaper, addr) = listen(engine, Policy::safe().write_stall(secs(1))).await;
        let mut client = RawClient::connect(addr).await.expect("listening");
        client.send(get("/endless")).await.unwrap();
        until(&reaper, CloseReason::WriteStall, 1).await;
    }
}

#[tokio::test]
async fn requests() {
    for engine in ENGINES {
        let (reaper, addr) = listen(engine, Policy::safe().max_requests(NonZeroU32::new(2))).await;
        let mut client = used(addr).await;
        client.send(GET).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(client.ended(secs(1)).await, Ended::Fin);
        until(&reaper, CloseReason::MaxRequests, 1).await;
    }
}

#[tokio::test]
async fn capacity() {
    for engine in ENGINES {
        let four = Capacity::new(NonZeroUsize::new(4).expect("four"));
        let (reaper, addr) = listen(engine, Policy::safe().max_connections(four)).await;
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(used(addr).await);
            tokio::time::sleep(millis(60)).await;
        }
        let start = Instant::now();
        let _fresh = used(addr).await;
        assert!(Instant::now() - start < millis(500), "{engine:?}");
        assert_eq!(idle[0].ended(secs(1)).await, Ended::Fin, "{engine:?}");
        assert_eq!(idle[3].ended(millis(10)).await, Ended::Open, "{engine:?}");
        until(&reaper, CloseReason::Evicted, 1).await;
    }
}

#[tokio::test]
async fn addresses() {
    for engine in ENGINES {
        let policy = Policy::safe().max_per_address(NonZeroU32::new(1));
        let (reaper, addr) = listen(engine, policy).await;
        let mut first = used(addr).await;
        let mut second = RawClient::connect(addr).await.expect("listening");
        assert_ne!(second.ended(secs(5)).await, Ended::Open, "{engine:?}");
        assert_eq!(first.ended(millis(10)).await, Ended::Open);
        until(&reaper, CloseReason::AddressLimit, 1).await;
    }
}

#[tokio::test]
async fn drain() {
    for engine in ENGINES {
        let (reaper, addr) = listen(engine, Policy::safe()).await;
        let mut idle = used(addr).await;
        let mut busy = RawClient::connect(addr).await.expect("listening");
        busy.send(get("/slow/1")).await.unwrap();
        tokio::time::sleep(millis(300)).await;
        let draining = tokio::spawn(async move { reaper.drain(secs(10)).await });
        assert_eq!(idle.ended(millis(600)).await, Ended::Fin, "{engine:?}");
        let answer = busy.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(answer.text(), "late");
        assert_eq!(busy.ended(secs(1)).await, Ended::Fin);
        let summary = draining.await.unwrap();
        assert_eq!((summary.open, summary.idle, summary.cut), (2, 1, 0));
    }
}

#[tokio::test]
async fn half_closed() {
    for engine in ENGINES {
        let (reaper, addr) = listen(engine, Policy::safe()).await;
        let mut client = RawClient::connect(addr).await.expect("listening");
        client.send(get("/slow/1")).await.unwrap();
        client.half_close().await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.text(), "late", "{engine:?}");
        assert_eq!(client.ended(secs(1)).await, Ended::Fin);
        until(&reaper, CloseReason::PeerClosed, 1).await;
    }
}

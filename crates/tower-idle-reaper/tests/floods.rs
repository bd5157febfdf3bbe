//! Floods on real sockets, while a normal client is served as if nothing happened.
//!
//! `REAPER_FLOOD` sets how many attackers there are of each kind; 200 by default.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::*;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::{RawClient, RawStream};
use tower_idle_reaper::{IdleReaper, Policy};

const ENGINES: [Engine; 2] = [Engine::Axum, Engine::AutoUpgrades];

fn attackers() -> usize {
    std::env::var("REAPER_FLOOD").map_or(200, |n| n.parse().expect("a number"))
}

/// Opens the flood, sends each attacker's bytes, and serves a normal client until only that one is
/// left; how long that took and the slowest answer.
async fn flood(reaper: &IdleReaper, addr: SocketAddr, bytes: &[u8]) -> (Duration, Duration) {
    let mut normal = RawClient::connect(addr).await.expect("listening");
    normal.send(GET).await.unwrap();
    normal.read_response("GET").await.unwrap();

    let start = Instant::now();
    let mut flood: Vec<RawStream<TcpStream>> = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut opened = None;
    loop {
        // In bursts, so that the normal client is served in between.
        for _ in flood.len()..attackers().min(flood.len() + 50) {
            let mut attacker = RawClient::connect(addr).await.expect("it accepts");
            if !bytes.is_empty() {
                attacker.send(bytes).await.expect("it is not closed yet");
            }
            flood.push(attacker);
        }
        if flood.len() == attackers() {
            opened.get_or_insert_with(Instant::now);
        }
        let asked = Instant::now();
        normal.send(GET).await.expect("the normal client stays");
        let answer = normal.read_response("GET").await.expect("it is answered");
        assert_eq!(answer.status, 200);
        slowest = slowest.max(Instant::now() - asked);
        if opened.is_some() && reaper.connections() == 1 {
            break;
        }
        assert!(Instant::now() - start < secs(60), "{reaper:?}");
        tokio::time::sleep(millis(5)).await;
    }
    let took = Instant::now() - opened.unwrap_or(start);
    let attackers = attackers();
    println!("{attackers} attackers gone {took:?} after the last came; slowest answer {slowest:?}");
    (took, slowest)
}

fn check(engine: Engine, took: Duration, slowest: Duration) {
    assert!(took < secs(4), "{engine:?}: the flood lasted {took:?}");
    assert!(
        slowest < millis(500),
        "{engine:?}: an answer took {slowest:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections() {
    for engine in ENGINES {
        let (reaper, addr) = listen(engine, Policy::safe().first_byte(secs(1))).await;
        let (took, slowest) = flood(&reaper, addr, b"").await;
        check(engine, took, slowest);
        let closed = reaper.closed(CloseReason::FirstByteTimeout);
        assert_eq!(closed, attackers() as u64, "{engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end() {
    for engine in ENGINES {
        let policy = Policy::safe().first_byte(secs(1)).head(secs(1));
        let (reaper, addr) = listen(engine, policy).await;
        let half = b"GET / HTTP/1.1\r\nHost: a\r\nX-";
        let (took, slowest) = flood(&reaper, addr, half).await;
        check(engine, took, slowest);
        let closed = reaper.closed(CloseReason::HeadTimeout);
        assert_eq!(closed, attackers() as u64, "{engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read() {
    for engine in ENGINES {
        let policy = Policy::safe().first_byte(secs(1)).write_stall(secs(1));
        let (reaper, addr) = listen(engine, policy).await;
        // More than socket buffers take.
        let (took, slowest) = flood(&reaper, addr, &get("/big/16000000")).await;
        assert!(took < secs(8), "{engine:?}: the flood lasted {took:?}");
        assert!(slowest < secs(1), "{engine:?}: an answer took {slowest:?}");
        let closed = reaper.closed(CloseReason::WriteStall);
        assert_eq!(closed, attackers() as u64, "{engine:?}");
    }
}

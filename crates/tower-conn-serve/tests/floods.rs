//! Floods on real sockets, while a normal client is served as if nothing happened.
//!
//! `SERVE_FLOOD` sets how many attackers there are of each kind; 200 by default.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tower_conn_serve::{CloseReason, Handle, Policy, Server};
use tower_conn_testkit::h2::{self, SETTINGS};
use tower_conn_testkit::raw::RawClient;

fn attackers() -> usize {
    std::env::var("SERVE_FLOOD").map_or(200, |n| n.parse().expect("a number"))
}

/// How a flood went.
struct Flood {
    handle: Handle,
    /// From when all were there until none was.
    took: Duration,
    /// The slowest answer that a normal client got meanwhile.
    slowest: Duration,
}

/// Opens a connection for each attacker and lets it loose, and serves a normal client until only that
/// one is left.
async fn flood<F>(policy: Policy, attack: impl Fn(TcpStream) -> F) -> Flood
where
    F: Future<Output = ()> + Send + 'static,
{
    let (handle, addr, _) = listen(Server::new().policy(policy)).await;
    let mut normal = RawClient::connect(addr).await.expect("it listens");
    let start = Instant::now();
    let (mut slowest, mut all_there) = (Duration::ZERO, None);
    let mut attacks = Vec::new();
    loop {
        // In bursts, so that the normal client is served in between.
        let burst = (attackers() - attacks.len()).min(50);
        for _ in 0..burst {
            attacks.push(tokio::spawn(attack(connect(addr).await)));
        }
        if attacks.len() == attackers() {
            all_there.get_or_insert_with(Instant::now);
        }
        let asked = Instant::now();
        normal.send(GET).await.expect("the normal client stays");
        let answer = normal.read_response("GET").await.expect("it is answered");
        assert_eq!(answer.status, 200);
        slowest = slowest.max(Instant::now() - asked);
        if all_there.is_some() && handle.reaper().connections() == 1 {
            break;
        }
        assert!(Instant::now() - start < secs(90), "{handle:?}");
        sleep(millis(5)).await;
    }
    let took = Instant::now() - all_there.unwrap_or(start);
    for attack in attacks {
        attack.abort();
    }
    println!(
        "{} attackers gone after {took:?}, slowest answer {slowest:?}",
        attackers()
    );
    assert!(slowest < secs(2), "an answer took {slowest:?}");
    Flood {
        handle,
        took,
        slowest,
    }
}

impl Flood {
    fn ended(&self, reason: CloseReason) {
        let reaper = self.handle.reaper();
        let all: Vec<_> = reaper.closed_by_reason().collect();
        assert_eq!(reaper.closed(reason), attackers() as u64, "{all:?}");
        assert!(self.took < secs(20), "it lasted {:?}", self.took);
        assert!(self.slowest < self.took + secs(2));
    }
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.expect("it accepts")
}

/// Sends this, and then only listens.
async fn send(mut io: TcpStream, bytes: impl AsRef<[u8]>) {
    if io.write_all(bytes.as_ref()).await.is_ok() {
        let mut buf = [0; 1024];
        while matches!(io.read(&mut buf).await, Ok(1..)) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections() {
    let policy = Policy::safe().first_byte(secs(1));
    flood(policy, |io| send(io, b""))
        .await
        .ended(CloseReason::FirstByteTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_drip() {
    let policy = Policy::safe().head(secs(2));
    let drip = |mut io: TcpStream| async move {
        let mut head = GET[..GET.len() - 2].to_vec();
        head.extend(b"X-Drip: ".iter().chain([b'x'; 1000].iter()));
        for byte in head {
            if io.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(millis(100)).await;
        }
    };
    flood(policy, drip).await.ended(CloseReason::HeadTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read() {
    let policy = Policy::safe().write_stall(secs(1));
    // More than socket buffers take.
    let request = get("/big/16000000");
    let stop_reading = move |mut io: TcpStream| {
        let request = request.clone();
        async move {
            let _ = io.write_all(&request).await;
            sleep(secs(100)).await;
        }
    };
    flood(policy, stop_reading)
        .await
        .ended(CloseReason::WriteStall);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_prefaces_without_more() {
    let policy = Policy::safe().head(secs(1));
    flood(policy, |io| send(io, h2::PREFACE))
        .await
        .ended(CloseReason::HeadTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_settings_without_end() {
    let policy = Policy::safe().idle(secs(2)).expect("no balancer");
    let settings = |mut io: TcpStream| async move {
        let mut opening = h2::PREFACE.to_vec();
        opening.extend(h2::frame(SETTINGS, 0, 0, &[]));
        if io.write_all(&opening).await.is_err() {
            return;
        }
        let (mut read, mut write) = io.split();
        let frames = h2::frame(SETTINGS, 0, 0, &[]).repeat(10);
        let sending = async {
            while write.write_all(&frames).await.is_ok() {
                sleep(millis(20)).await;
            }
        };
        let reading = async {
            let mut buf = [0; 4096];
            while matches!(read.read(&mut buf).await, Ok(1..)) {}
        };
        tokio::join!(sending, reading);
    };
    flood(policy, settings).await.ended(CloseReason::Idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_peers_that_never_answer_a_ping() {
    let policy = Policy::safe().idle(secs(1)).expect("no balancer");
    let mut opening = h2::PREFACE.to_vec();
    opening.extend(h2::frame(SETTINGS, 0, 0, &[]));
    let flood = flood(policy, move |io| send(io, opening.clone())).await;
    flood.ended(CloseReason::Idle);
    assert!(flood.took < secs(15), "GOAWAY, five seconds for the PONG");
}

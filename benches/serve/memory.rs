//! What an idle connection costs, and how fast many of them are drained.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::load::{ask, connect};
use crate::process::{Server, resident};
use crate::servers::Kind;

/// Connections opened a second, so that those that park do so meanwhile.
pub(crate) const PACE: usize = 2000;

pub(crate) fn table(count: usize) {
    let runtime = runtime();
    println!(
        "\n| {count} idle connections | heap each | resident each | opened in a burst, resident | drain |"
    );
    println!("|---|---:|---:|---:|---:|");
    for kind in Kind::IDLE {
        let paced = measure(&runtime, kind, count, Some(PACE));
        let burst = measure(&runtime, kind, count, None);
        let drain = paced.drain.map_or_else(
            || "-".to_owned(),
            |(took, closed)| format!("{closed} in {took:.0?}"),
        );
        println!(
            "| {} | {} | {} | {} | {drain} |",
            kind.title(),
            bytes(paced.live),
            bytes(paced.resident),
            bytes(burst.resident),
        );
    }
}

/// The memory of a server that was started by someone else, and of its children.
pub(crate) fn peer(addr: SocketAddr, pid: u32, count: usize) {
    let runtime = runtime();
    let before = family(pid);
    let clients = runtime.block_on(open(addr, count, Some(PACE)));
    pause(&runtime, Duration::from_secs(2));
    let grown = family(pid).saturating_sub(before);
    println!("{count} idle connections: {} each", bytes(grown / count));
    drop(clients);
}

struct Measured {
    live: usize,
    resident: usize,
    drain: Option<(Duration, usize)>,
}

fn measure(runtime: &Runtime, kind: Kind, count: usize, pace: Option<usize>) -> Measured {
    let mut server = Server::start(kind);
    let addr = SocketAddr::from(([127, 0, 0, 1], server.port));
    // What the first connections bring up is not theirs.
    drop(runtime.block_on(open(addr, 5, None)));
    pause(runtime, Duration::from_millis(300));
    let before = server.memory();
    let clients = runtime.block_on(open(addr, count, pace));
    let after = if kind.parks() {
        server.until_parked(count)
    } else {
        server.memory()
    };
    let drain = kind.drains().then(|| server.drain());
    drop(clients);
    Measured {
        live: after.live.saturating_sub(before.live) / count,
        resident: after.resident.saturating_sub(before.resident) / count,
        drain,
    }
}

pub(crate) async fn open(addr: SocketAddr, count: usize, pace: Option<usize>) -> Vec<TcpStream> {
    let start = Instant::now();
    let mut clients = Vec::with_capacity(count);
    for n in 0..count {
        if let Some(pace) = pace {
            let due = start + Duration::from_secs_f64(n as f64 / pace as f64);
            if Instant::now() < due {
                tokio::time::sleep_until(due).await;
            }
        }
        let mut client = connect(addr).await;
        ask(&mut client).await;
        clients.push(client);
    }
    clients
}

pub(crate) fn pause(runtime: &Runtime, time: Duration) {
    runtime.block_on(async { tokio::time::sleep(time).await });
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Resident memory of a process and its children.
fn family(pid: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    resident(pid) + children.map(family).sum::<usize>()
}

fn bytes(n: usize) -> String {
    if n < 10_000 {
        format!("{n} B")
    } else {
        format!("{:.1} KB", n as f64 / 1000.0)
    }
}

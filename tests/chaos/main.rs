//! The gateway between clients of many kinds, some of whom vanish, and a network that cuts, resets,
//! delays and half-closes. Whatever happens:
//!
//! - no response reaches another request than its own;
//! - no POST is executed twice;
//! - nothing hangs past its deadline, and who did everything right is answered;
//! - no truncated body is passed off as whole, up or down;
//! - afterwards no connection is left, and the limits of connections are exact;
//! - memory is flat.
//!
//! `CHAOS_SEED` and `CHAOS_EXCHANGES` set what their names say. A seed gives the same plan of faults and
//! requests; in which order they meet is up to the scheduler.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod http2;
mod ledger;
mod process;
mod relay;
mod rng;
mod spec;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use support::Example;
use tower_conn_testkit::raw::{Ended, RawClient};

use crate::clients::{Clients, DEADLINE};
use crate::ledger::Ledger;
use crate::relay::Relay;
use crate::spec::Spec;
use crate::upstream::{GATE, Upstream};

/// Connections of the gateway to the upstream.
const UPSTREAM: usize = 24;
/// Connections of clients to the gateway.
const CLIENTS: usize = 200;
/// Clients at a time; those that vanish leave connections behind for a while.
const WORKERS: u64 = 48;

/// How the gateway talks to its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OneByOne,
    Pipelined,
    Http2,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_crossed_or_doubled() {
    chaos(Way::OneByOne).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_crossed_or_doubled_when_pipelined() {
    chaos(Way::Pipelined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_crossed_or_doubled_over_http2() {
    chaos(Way::Http2).await;
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

async fn chaos(way: Way) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = number("CHAOS_SEED").unwrap_or_else(|| now.expect("after 1970").as_micros() as u64);
    let exchanges = number("CHAOS_EXCHANGES").unwrap_or(8_000);
    eprintln!("CHAOS_SEED={seed} CHAOS_EXCHANGES={exchanges} {way:?}");

    let ledger = Arc::new(Ledger::default());
    let upstream = upstream::start(Arc::clone(&ledger)).await;
    let relay = Relay::start(seed, upstream.addr, Arc::clone(&ledger), way == Way::Http2).await;
    let gateway = gateway(&relay, way);
    let pid = gateway.id();
    let sockets = process::sockets(pid);

    let addr = gateway.addr.parse().expect("an address");
    let clients = Clients::new(addr, Arc::clone(&ledger), seed);
    let clients = clients.run(exchanges / 3, WORKERS).await;
    let warm = process::resident(pid);
    clients.run(exchanges, WORKERS).await;
    relay.calm();
    until("every connection is closed", || {
        process::sockets(pid) == sockets && relay.open() == 0
    })
    .await;
    let end = process::resident(pid);
    eprintln!("{way:?}: {}", ledger.tally);
    eprintln!(
        "{way:?}: {} KiB when warm, {} KiB at the end",
        warm >> 10,
        end >> 10
    );

    limits_are_exact(&gateway, &relay, &upstream, sockets, way).await;
    let stopped = tokio::task::spawn_blocking(|| gateway.terminate());
    assert!(
        stopped.await.expect("stopped").success(),
        "the gateway drains and exits 0"
    );

    assert_eq!(
        ledger.violations(),
        Vec::<String>::new(),
        "CHAOS_SEED={seed}"
    );
    assert!(
        end < warm + warm / 4 + (4 << 20),
        "from {warm} bytes to {end}, CHAOS_SEED={seed}"
    );
    // The faults have to be felt, or nothing of this means anything.
    let tally = &ledger.tally;
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
    assert!(count(&tally.whole) > exchanges / 2, "{tally}");
    for counter in [
        &tally.cut,
        &tally.refused,
        &tally.left,
        &tally.repeated,
        &tally.faults,
    ] {
        assert!(count(counter) > exchanges / 1000, "{tally}");
    }
}

fn gateway(relay: &Relay, way: Way) -> Example {
    let (scheme, depth) = match way {
        Way::OneByOne => ("http", "1"),
        Way::Pipelined => ("http", "8"),
        Way::Http2 => ("h2c", "1"),
    };
    let flags = format!(
        "--upstream {scheme}://{} --pipeline-depth {depth} --max-connections {CLIENTS} \
         --upstream-connections {UPSTREAM} --upstream-idle-timeout 2s --request-timeout 10s \
         --body-timeout 10s --header-timeout 10s --linger 500ms",
        relay.addr
    );
    Example::start("gateway", &flags.split(' ').collect::<Vec<_>>())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not after 30 s: {what}");
}

/// As many connections as are allowed are made, on both sides, and not one more.
async fn limits_are_exact(
    gateway: &Example,
    relay: &Relay,
    upstream: &Upstream,
    sockets: usize,
    way: Way,
) {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let head = format!("GET {GATE} HTTP/1.1\r\nHost: chaos\r\n\r\n");
        clients.push(send(gateway, &head).await);
    }
    // HTTP/1.1 requests are served one by one on each connection; those of HTTP/2 all at once.
    let served = if way == Way::Http2 { CLIENTS } else { UPSTREAM };
    until("the upstream is busy", || upstream.gate.waiting() == served).await;
    // By then the others are waited for, too; one whose request had not been read could be evicted.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut late = send(gateway, &Spec::small(1 << 40).head("1.1", "")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(upstream.gate.waiting(), served);
    let connections = relay.open();
    if way == Way::Http2 {
        assert!((1..=UPSTREAM).contains(&connections), "{connections}");
    } else {
        assert_eq!(connections, UPSTREAM);
    }
    // The last one has been accepted, and is not served before there is room.
    let open = process::sockets(gateway.id()) - sockets;
    assert_eq!(open, CLIENTS + connections + 1);
    assert_eq!(late.ended(Duration::from_millis(1)).await, Ended::Open);
    assert_eq!(late.unread(), b"");

    upstream.gate.open();
    for client in &mut clients {
        let response = client.read_response("GET").await.expect("an answer");
        assert_eq!(response.text(), "let go\n");
    }
    drop(clients);
    let response = late.read_response("GET").await.expect("an answer");
    assert_eq!(response.status, 200);
}

async fn send(gateway: &Example, head: &str) -> RawClient {
    let addr = gateway.addr.parse().expect("an address");
    let client = RawClient::connect(addr).await.expect("connects");
    let mut client = client.deadline(DEADLINE);
    client.send(head).await.expect("sent");
    client
}

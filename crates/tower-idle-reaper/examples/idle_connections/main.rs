//! What an idle connection costs, and how well many of them are reaped.
//!
//! ```text
//! cargo run --release -p tower-idle-reaper --all-features --example idle_connections -- SIDE COUNT [sockets]
//! ```
//!
//! SIDE is what serves: `plain` (hyper), `timer` (hyper with the head timer that a reaper replaces),
//! `axum` (`axum::serve`), `reaped` (hyper under a reaper) or `axum-reaped`. COUNT connections, in
//! memory or on sockets whose other ends are in a process of their own, send one request each and are
//! idle from then on. Prints
//!
//! - how much resident memory the process has grown by for each of them,
//! - how much processor time it takes while nothing happens,
//!
//! and with a reaper, whose idle limit is 60 s,
//!
//! - how late the last one was closed,
//! - how long requests on another connection took while nothing happened, and while 10,000 connections
//!   were closed that had become idle at the same time.
//!
//! On sockets the limit on open files of one process is the bound for COUNT; it is raised as far as
//! the system allows.

mod clients;
mod figures;
mod servers;

use std::time::Duration;

use tokio::time::Instant;
use tower_idle_reaper::{IdleReaper, Policy};

use self::clients::{Clients, ask};
use self::figures::{Latencies, processor_time, resident};
use self::servers::{Server, Side};

const LIMIT: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 10_000;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let side = args.next().unwrap_or_else(|| String::from("reaped"));
    if side == "client" {
        let addr = args.next().ok_or("no address")?;
        return clients::run_child(&addr).await;
    }
    let side: Side = side.parse()?;
    let count: usize = args.next().map_or(Ok(10_000), |n| n.parse())?;
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let policy = Policy::safe().idle(LIMIT)?;
    let tick = policy.tick();
    let reaper = IdleReaper::new(policy);

    let server = Server::new(side, reaper.clone());
    let mut clients = if args.next().as_deref() == Some("sockets") {
        println!("the process may have {files} files open");
        Clients::on_sockets(&server).await?
    } else {
        Clients::in_memory(&server)
    };
    let before = resident();
    clients.open(count).await?;
    let grown = resident().saturating_sub(before);
    println!("{count} idle connections: {} bytes each", grown / count);

    let busy = processor_time();
    tokio::time::sleep(QUIET).await;
    println!(
        "processor time in {QUIET:?} in which nothing happens: {:?}",
        processor_time() - busy
    );
    if !side.is_reaped() {
        return Ok(());
    }

    let mut other = server.pipe();
    let mut calm = Latencies::default();
    for _ in 0..500 {
        calm.time(ask(&mut other)).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("a request on another connection meanwhile: {calm}");

    let together = AT_ONCE.min(count);
    clients.ask_again(together).await?;
    let (last_idle, busy) = (Instant::now(), processor_time());
    let (mut due, mut before_due) = (Latencies::default(), Latencies::default());
    while reaper.connections() > 1 {
        let latencies = if reaper.connections() <= together {
            &mut due
        } else {
            &mut before_due
        };
        latencies.time(ask(&mut other)).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let now = Instant::now();
    let late = now.saturating_duration_since(last_idle + LIMIT);
    println!("the last one was closed {late:?} after its limit (the tick is {tick:?})");
    println!("processor time until then: {:?}", processor_time() - busy);
    println!("a request on another connection until {together} were left: {before_due}");
    println!("and until those, due at the same time, were closed: {due}");
    Ok(())
}

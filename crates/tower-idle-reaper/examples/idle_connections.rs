//! What an idle connection costs, and how well many of them are reaped.
//!
//! ```text
//! cargo run --release -p tower-idle-reaper --example idle_connections -- plain 10000
//! cargo run --release -p tower-idle-reaper --example idle_connections -- reaped 10000
//! ```
//!
//! Serves so many in-memory connections with hyper, one request each, and prints how much memory the
//! process has grown by for each. `reaped` does it under a reaper, waits until the idle limit of 10 s
//! has closed them all, and prints how late the last one was, how much processor time the wait took,
//! and how long requests on another connection took meanwhile.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tower::{ServiceBuilder, service_fn};
use tower_idle_reaper::{IdleReaper, Policy, ReapLayer};

const LIMIT: Duration = Duration::from_secs(10);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let reaped = args.next().as_deref() == Some("reaped");
    let count: usize = args.next().map_or(Ok(10_000), |n| n.parse())?;
    let policy = Policy::safe().idle(LIMIT)?;
    let tick = policy.tick();
    let reaper = reaped.then(|| IdleReaper::new(policy));

    let mut clients = Vec::with_capacity(count);
    let before = resident();
    for _ in 0..count {
        let mut client = serve(reaper.as_ref());
        ask(&mut client).await?;
        clients.push(client);
    }
    let last_idle = Instant::now();
    let grown = resident().saturating_sub(before);
    println!("{count} idle connections: {} bytes each", grown / count);

    let Some(reaper) = reaper else { return Ok(()) };
    let mut other = serve(Some(&reaper));
    let (busy, mut slowest) = (processor_time(), Duration::ZERO);
    let mut asked = 0;
    while reaper.connections() > 1 {
        let start = Instant::now();
        ask(&mut other).await?;
        slowest = slowest.max(start.elapsed_now());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = last_idle.elapsed_now().saturating_sub(LIMIT);
    println!("the last one was closed {late:?} after its limit (the tick is {tick:?})");
    println!(
        "{:?} of processor time meanwhile, for {asked} requests too",
        processor_time() - busy
    );
    println!("the slowest of those took {slowest:?}");
    Ok(())
}

trait ElapsedNow {
    fn elapsed_now(&self) -> Duration;
}

impl ElapsedNow for Instant {
    fn elapsed_now(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }
}

fn serve(reaper: Option<&IdleReaper>) -> DuplexStream {
    let (near, far) = duplex(256);
    match reaper.cloned() {
        None => {
            let service = TowerToHyperService::new(service_fn(hello));
            let engine = http1::Builder::new().serve_connection(TokioIo::new(far), service);
            tokio::spawn(engine);
        }
        Some(reaper) => {
            let io = reaper.wrap(far, None);
            let connection = io.connection().clone();
            let service = ServiceBuilder::new()
                .layer(ReapLayer::of(connection.clone()))
                .service(service_fn(hello));
            let service = TowerToHyperService::new(service);
            let engine = http1::Builder::new().serve_connection(TokioIo::new(io), service);
            tokio::spawn(reaper.watch(engine, connection));
        }
    }
    near
}

async fn ask(client: &mut DuplexStream) -> std::io::Result<()> {
    client.write_all(GET).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nhello") {
        if client.read_buf(&mut seen).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Resident memory in bytes; 0 where it cannot be told.
fn resident() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0usize) * PAGE
}

/// Processor time of the process, to a hundredth of a second; 0 where it cannot be told.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

//! Chapter 4 of *HTTP: The Definitive Guide* in one picture, measured: the same page over serial,
//! parallel, persistent, pipelined and multiplexed connections.
//!
//! ```text
//! cargo run --release --example waterfall -- --rtt 50ms --svg waterfalls
//! ```
//!
//! # What is measured
//!
//! The browser is `tower_conn_pool::Pool` or `tower_pipeline_guard::PipelinedConnection`, the server is
//! hyper, and between them is a relay in this process. All connections are real: two sockets each on
//! the loopback interface, requests and responses through every line of both implementations, times
//! from the clock when the browser has the bytes. TIME_WAIT is what the system lists for these sockets
//! after all have closed. Every body is compared with what was to come.
//!
//! # What is modelled
//!
//! The relay makes a link out of the loopback interface, which has neither delay nor slow start:
//!
//! - delay: half a round trip in each direction, always the same; opening a connection takes one round
//!   trip before anything can be sent, with `--tls` two;
//! - bandwidth: segments of 1460 bytes and 40 of headers, one after the other, first come first served
//!   over all connections, in each direction;
//! - slow start, for each connection and direction: ten segments, one more for each that is
//!   acknowledged as long as the window is used (RFC 6928, RFC 5681).
//!
//! Nothing is lost and queues have no end, so slow start never turns into congestion avoidance;
//! windows do not shrink while a connection idles; acknowledgements, opening and closing take no
//! bandwidth, and receive windows no part. The server needs no time for a response, the browser none to
//! parse and draw, and names need no look-up. Timers tick in milliseconds: each way takes up to one
//! longer than asked for, which a short `--rtt` shows. At 50 ms, totals come out within 2 % of what the
//! model gives on a paused clock.
//!
//! One thing looks like the model and is not: an HTTP/2 client hands out a DATA frame when it is whole,
//! and the first of the page is a little larger than the initial window, so that over HTTP/2 the page's
//! references are found a round trip later.
//!
//! # What the columns say
//!
//! Each moment until the last object is complete counts once: *transfer* while the link carries
//! responses, else *handshakes* while a connection is being opened, else *slow start* while a server
//! has more to send than its window allows, else *round trips*.

mod args;
mod browser;
mod model;
mod network;
mod page;
mod record;
mod relay;
mod server;
mod span;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod time_wait;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::args::{Args, Strategy};
use crate::browser::Bounds;
use crate::network::{Conditions, Network};
use crate::page::Page;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args, &mut std::io::stdout())));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waterfall: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args, out: &mut impl Write) -> Result<(), BoxError> {
    if let Some(folder) = &args.svg {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let conditions = Conditions {
        rtt: args.rtt,
        bits_per_second: args.bandwidth.0,
        handshakes: if args.tls { 2 } else { 1 },
    };
    let bounds = Bounds {
        connections: args.parallel,
        depth: args.depth,
    };
    let page = Page::new();
    let setting = format!(
        "{} objects, {} KB; round trip {} ms, {}{}",
        page.len(),
        page.bytes() / 1000,
        args.rtt.as_secs_f64() * 1e3,
        args.bandwidth,
        if args.tls { ", TLS" } else { "" },
    );
    writeln!(out, "{setting}\n\n{}", table::heading())?;
    let mut loads = Vec::new();
    for strategy in args.strategies() {
        let network = Network::new(conditions, Page::new()).await?;
        let loading = browser::load(network.clone(), strategy, bounds);
        let load = with_progress(strategy, &network, loading)
            .await
            .map_err(|error| format!("{}: {error}", strategy.name()))?;
        let held = network.time_wait().await;
        writeln!(out, "{}", table::row(strategy, &load, held))?;
        loads.push((strategy, load));
    }
    if let Some(folder) = &args.svg {
        for (strategy, load) in &loads {
            let name = format!("{}.svg", strategy.name());
            write(
                &folder.join(name),
                &svg::waterfall(*strategy, load, &setting),
            )?;
        }
        write(
            &folder.join("overview.svg"),
            &svg::overview(&loads, &setting),
        )?;
    }
    Ok(())
}

/// Says on a terminal how far a load is that takes more than a moment.
async fn with_progress<T>(
    strategy: Strategy,
    network: &Network,
    load: impl Future<Output = T>,
) -> T {
    let mut load = pin!(load);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.tick().await;
    let shown = std::io::stderr().is_terminal();
    loop {
        tokio::select! {
            loaded = &mut load => {
                if shown {
                    eprint!("\r\x1b[K");
                }
                return loaded;
            }
            _ = tick.tick(), if shown => {
                let (done, all) = (network.recorder().completed(), network.page().len());
                eprint!("\r{}: {done} of {all} objects", strategy.name());
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

//! A client that keeps few connections, heeds what servers announce, and repeats only what it may.
//!
//! ```text
//! cargo run --example hyper_server &
//! cargo run --example client -- http://127.0.0.1:8082/ --repeat 5 --connections 2
//! ```
//!
//! It prints a table of the requests (on which connection, new or used, how many attempts, and where the time
//! went) and a summary. Ctrl-C ends it early, with the table and the summary of what has come until then; requests
//! on their way are counted as cut off, and the exit status is 1. Bodies are counted and not kept.

mod args;
mod connector;
mod fetch;
mod report;
mod tally;

use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_conn_pool::{Pool, Protocol};
use tower_idempotent_retry::{IdempotencyKeyLayer, RetryLayer};

use crate::args::Args;
use crate::connector::{TimedConnector, since};
use crate::fetch::{BoxError, Outcome};
use crate::report::Progress;
use crate::tally::Tally;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fetches everything; `true` if all of it came.
async fn run(args: Args) -> Result<bool, BoxError> {
    let args = Arc::new(args);
    let tally = Tally::default();
    let client = client(&args, tally.clone())?;

    let asked = args.urls.len() * args.repeat.get() as usize;
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let (results, mut done) = mpsc::channel(args.in_flight());
    for _ in 0..args.in_flight().min(asked) {
        let (args, client) = (Arc::clone(&args), client.clone());
        let (next, results) = (Arc::clone(&next), results.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= asked {
                    break;
                }
                let request = fetch::request(&args, &args.urls[n % args.urls.len()]);
                let outcome = fetch::fetch(client.clone(), request, args.timeout).await;
                if results.send((n, outcome)).await.is_err() {
                    break;
                }
                if !args.pause.is_zero() {
                    tokio::time::sleep(args.pause).await;
                }
            }
        });
    }
    drop(results);

    let outcomes = collect(&mut done, asked).await;
    let elapsed = since(begun);
    let progress = Progress {
        asked,
        begun: next.load(Ordering::Relaxed).min(asked),
    };
    if !args.summary {
        println!("{}", report::table(&outcomes));
    }
    print!(
        "{}",
        report::summary(&outcomes, progress, &tally.counts(), elapsed)
    );
    Ok(outcomes.len() == asked && !outcomes.iter().any(Outcome::failed))
}

/// Retries around a pool: see the crate docs of tower-conn for the order.
fn client(
    args: &Args,
    tally: Tally,
) -> Result<
    impl tower::Service<
        http::Request<http_body_util::Full<bytes::Bytes>>,
        Response = http::Response<
            impl http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send,
        >,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    BoxError,
> {
    let connector = TimedConnector::new(connector::tls(args.ca.as_deref(), args.alpn())?);
    let protocol = if args.http2 {
        Protocol::Http2
    } else {
        Protocol::Auto
    };
    let pool = Pool::builder()
        .max_per_origin(args.connections)
        .protocol(protocol)
        .pipeline_depth(args.pipeline_depth)
        .idle_timeout(Some(args.idle_timeout))
        .honour_hints(!args.no_hints)
        .hint_margin(args.hint_margin)
        .connect_timeout(Some(args.connect_timeout))
        .observer(tally)
        .build(connector);
    let attempts = NonZeroU32::MIN.saturating_add(args.retries);
    Ok(ServiceBuilder::new()
        .option_layer(args.idempotency_key.then(IdempotencyKeyLayer::new))
        .layer(RetryLayer::client().max_attempts(attempts))
        .service(pool))
}

/// Takes in the results, in the order of the requests, until all are there or Ctrl-C.
async fn collect(done: &mut mpsc::Receiver<(usize, Outcome)>, asked: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(asked);
    let bar = progress_bar(asked);
    // One for the whole time: a signal between two of them would be lost.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut long = std::pin::pin!(tokio::time::sleep(Duration::from_millis(500)));
    let mut shown = false;
    loop {
        tokio::select! {
            result = done.recv() => match result {
                Some(result) => outcomes.push(result),
                None => break,
            },
            () = &mut long, if !shown => shown = true,
            _ = &mut interrupted => break,
        }
        if shown {
            bar.set_position(outcomes.len() as u64);
        }
    }
    bar.finish_and_clear();
    while let Ok(result) = done.try_recv() {
        outcomes.push(result);
    }
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// On stderr, and only where somebody looks at it.
fn progress_bar(asked: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(asked as u64).with_style(style)
}

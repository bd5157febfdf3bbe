//! An axum server, under an unmodified `axum::serve`, whose connections are negotiated, limited and
//! drained, and whose pipelined requests are answered in few writes.
//!
//! ```text
//! cargo run --example axum_server
//! ab -k -n 1000 -c 4 http://127.0.0.1:8081/
//! ```
//!
//! `--bare` runs the same without the crates of this workspace. SIGTERM and Ctrl-C drain and exit 0.

use std::error::Error;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use axum::serve::ListenerExt;
use axum::{Router, routing::get};
use clap::Parser;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tower_conn_core::{Connection, ConnectionListener};
use tower_idle_reaper::{Drain, IdleReaper, Policy, ReapLayer, ReapedListener};
use tower_keep_alive::KeepAliveLayer;
use tower_pipeline_guard::{GuardedMakeService, LookaheadListener, Pipeline};

#[derive(Debug, Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// How many requests a connection may carry; 0 means any number.
    #[arg(long, default_value_t = 0)]
    max_requests: u32,
    /// How many pipelined safe requests of a connection may run at a time.
    #[arg(long, default_value = "1")]
    parallel: NonZeroUsize,
    /// How long SIGTERM waits for open exchanges.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    drain_timeout: Duration,
    /// axum alone.
    #[arg(long)]
    bare: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let stop = stop()?;
    println!("listening on http://{}", listener.local_addr()?);

    let app = Router::new().route("/", get(|| async { "hello\n" }));
    if args.bare {
        let listener = listener.tap_io(|stream| no_delay(stream));
        // axum waits for its connections without end.
        let (told, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = told.send(());
        };
        let deadline = async {
            let _ = stopped.await;
            tokio::time::sleep(args.drain_timeout).await;
        };
        return tokio::select! {
            served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => Ok(served?),
            () = deadline => Ok(()),
        };
    }

    let reaper = IdleReaper::new(Policy::safe().max_requests(NonZeroU32::new(args.max_requests)));
    let listener = ReapedListener::new(listener, &reaper).tap_io(|io| no_delay(io.get_ref()));
    let pipeline = Pipeline::new().parallel(args.parallel);
    let listener = ConnectionListener::new(LookaheadListener::new(listener, pipeline));
    let app = app
        .layer(KeepAliveLayer::new().max_requests(NonZeroU32::new(args.max_requests)))
        .layer(ReapLayer::new())
        .into_make_service_with_connect_info::<Connection>();
    // Without it axum would shut its connections down, and hyper drops a head that it has read half of.
    let server = tokio::spawn(axum::serve(listener, GuardedMakeService::new(app)).into_future());
    stop.await;
    reaper.drain(Drain::within(args.drain_timeout)).await;
    server.abort();
    Ok(())
}

fn no_delay(stream: &TcpStream) {
    // The end of a response must not wait for an acknowledgement of its beginning.
    let _ = stream.set_nodelay(true);
}

/// Resolves at SIGTERM or Ctrl-C.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

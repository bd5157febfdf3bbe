//! A forward proxy: absolute-form requests through a pool, CONNECT as tunnels.
//!
//! ```text
//! cargo run --example forward_proxy
//! curl -x http://127.0.0.1:3128 http://example.com/ https://example.com/
//! ```
//!
//! It connects wherever its clients ask it to, and that includes this machine and its network: it listens on
//! loopback unless told otherwise, and whoever opens it to others should put authentication and a list of
//! permitted destinations in front of [`forward::Forward`]. SIGTERM and Ctrl-C drain and exit 0.

mod args;
mod forward;
#[path = "../support/limit.rs"]
mod limit;
mod proxy_connection;
mod server;
#[path = "../support/stop.rs"]
mod stop;
mod tunnel;

use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;

use crate::args::Args;
use crate::stop::stop;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let stop = stop()?;
    println!(
        "listening on http://{}, CONNECT to {}",
        listener.local_addr()?,
        args.connect_ports
    );
    server::serve(listener, &args, stop).await
}

//! A reverse proxy with every connection policy on.
//!
//! ```text
//! cargo run --example gateway
//! curl -v http://127.0.0.1:8080/
//! ```
//!
//! Without `--upstream` it starts a small demo upstream that answers with the request as it arrived
//! there, so that what the gateway did to it can be seen. SIGTERM and Ctrl-C drain and exit 0.
//! `--admin 127.0.0.1:9090` adds `/metrics` and a page that shows the connections.

mod admin;
mod args;
mod body;
mod demo;
mod forward;
#[path = "../support/limit.rs"]
mod limit;
mod server;
#[path = "../support/stop.rs"]
mod stop;
mod tunnel;

use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;

use crate::args::Args;
use crate::forward::Upstream;
use crate::stop::stop;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match args.workers {
        Some(1) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        Some(n) => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(n)
            .enable_all()
            .build(),
        None => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build(),
    };
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let upstream = match &args.upstream {
        Some(uri) => uri.clone(),
        None => Upstream::at(demo::start().await?)?,
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let admin = match args.admin {
        Some(addr) => Some(admin::bind(addr).await?),
        None => None,
    };
    let stop = stop()?;
    print!(
        "listening on http://{}, forwarding to {upstream}",
        listener.local_addr()?
    );
    match &admin {
        Some(admin) => println!(", admin on http://{}", admin.local_addr()?),
        None => println!(),
    }

    server::serve(listener, admin, &args, upstream, stop).await
}

//! An axum server, under an unmodified `axum::serve`, whose connections are negotiated and counted.
//!
//! ```text
//! cargo run --example axum_server
//! ab -k -n 1000 -c 4 http://127.0.0.1:8081/
//! ```
//!
//! `--bare` runs the same without the crates of this workspace.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::{Router, routing::get};
use clap::Parser;
use tokio::net::TcpListener;
use tower_keep_alive::{Connection, KeepAliveLayer};

#[derive(Debug, Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// How many requests a connection may carry; 0 means any number.
    #[arg(long, default_value_t = 0)]
    max_requests: u32,
    /// axum alone.
    #[arg(long)]
    bare: bool,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let app = Router::new().route("/", get(|| async { "hello\n" }));
    if args.bare {
        return axum::serve(listener, app).await;
    }
    let max_requests = NonZeroU32::new(args.max_requests);
    let app = app.layer(KeepAliveLayer::new().max_requests(max_requests));
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<Connection>(),
    )
    .await
}

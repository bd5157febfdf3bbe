//! A server on plain hyper whose connections are negotiated, counted and announced.
//!
//! ```text
//! cargo run --example hyper_server
//! ab -k -n 1000 -c 4 http://127.0.0.1:8082/
//! ```
//!
//! `--bare` runs the same without the crates of this workspace.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt, service_fn};
use tower_keep_alive::{Connection, KeepAliveLayer};

#[derive(Debug, Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// How long an idle connection stays open; clients are told a second less.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "75s")]
    idle_timeout: Duration,
    /// How many requests a connection may carry; 0 means any number.
    #[arg(long, default_value_t = 0)]
    max_requests: u32,
    /// Hyper alone.
    #[arg(long)]
    bare: bool,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let layer = KeepAliveLayer::new()
        .idle_timeout(args.idle_timeout)
        .max_requests(NonZeroU32::new(args.max_requests));
    let app = layer.layer(service_fn(hello));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some connections end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if args.bare {
            let service = hyper::service::service_fn(hello);
            let connection = http(args.idle_timeout).serve_connection(io(stream), service);
            tokio::spawn(connection);
        } else {
            let (app, connection) = (app.clone(), Connection::server());
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                app.clone().oneshot(request)
            });
            let service = TowerToHyperService::new(service);
            let connection = http(args.idle_timeout).serve_connection(io(stream), service);
            tokio::spawn(connection);
        }
    }
}

/// hyper's one timer: for a head, and for the idle time before it.
fn http(idle: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle);
    http
}

fn io(stream: TcpStream) -> TokioIo<TcpStream> {
    // The end of a response must not wait for an acknowledgement of its beginning.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.uri().path() == "/";
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match (known, reads) {
        (true, true) => (StatusCode::OK, "hello\n"),
        (true, false) => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        (false, _) => (StatusCode::NOT_FOUND, "nothing here\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = http::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(http::header::ALLOW, allowed);
    }
    Ok(response)
}

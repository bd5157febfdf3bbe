//! A server on hyper, HTTP/1 and HTTP/2, whose connections are negotiated, limited and drained, and
//! whose pipelined requests are answered in few writes.
//!
//! ```text
//! cargo run --example hyper_server
//! ab -k -n 1000 -c 4 http://127.0.0.1:8082/
//! ```
//!
//! `--bare` runs the same without the crates of this workspace. SIGTERM and Ctrl-C drain and exit 0.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tower::ServiceBuilder;
use tower_idle_reaper::{Drain, IdleReaper, Policy, ReapLayer, ReapedListener};
use tower_keep_alive::KeepAliveLayer;
use tower_pipeline_guard::Pipeline;

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
    /// How many pipelined safe requests of a connection may run at a time.
    #[arg(long, default_value = "1")]
    parallel: NonZeroUsize,
    /// How long SIGTERM waits for open exchanges.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    drain_timeout: Duration,
    /// Hyper alone.
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
    if args.bare {
        serve_bare(listener, &args, stop).await;
        Ok(())
    } else {
        serve(listener, &args, stop).await
    }
}

async fn serve(
    listener: TcpListener,
    args: &Args,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let max_requests = NonZeroU32::new(args.max_requests);
    let policy = Policy::safe()
        .idle(args.idle_timeout)?
        .max_requests(max_requests);
    let reaper = IdleReaper::new(policy);
    let keep_alive = KeepAliveLayer::new()
        .idle_timeout(args.idle_timeout)
        .max_requests(max_requests);
    let pipeline = Pipeline::new().parallel(args.parallel);
    let mut http = auto::Builder::new(TokioExecutor::new());
    // hyper's one timer would run both for a head and for the idle time before it.
    http.http1().header_read_timeout(None);
    http.http2().timer(TokioTimer::new());

    let mut listener = ReapedListener::new(listener, &reaper);
    let mut stop = std::pin::pin!(stop);
    loop {
        let (io, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        no_delay(io.get_ref());
        let connection = io.connection();
        let (io, guard) = pipeline.wrap(io);
        let service = ServiceBuilder::new()
            .layer(guard)
            .layer(ReapLayer::of(connection.clone()))
            .layer(keep_alive.clone())
            .service_fn(hello);
        let serving = http
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
            .into_owned();
        tokio::spawn(reaper.watch(serving, connection));
    }
    drop(listener);
    reaper.drain(Drain::within(args.drain_timeout)).await;
    Ok(())
}

async fn serve_bare(listener: TcpListener, args: &Args, stop: impl Future<Output = ()>) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // A head, and the idle time before it.
    let idle = Some(args.idle_timeout);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle);
    http.http2().timer(TokioTimer::new());

    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        no_delay(&stream);
        let service = hyper::service::service_fn(hello);
        let serving = http
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        tokio::spawn(graceful.watch(serving));
    }
    drop(listener);
    let _ = tokio::time::timeout(args.drain_timeout, graceful.shutdown()).await;
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
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    Ok(response)
}

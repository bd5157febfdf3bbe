//! Accepts clients and serves each through the policy stack.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower_conn_core::{Connection, Side};
use tower_hop_by_hop::{ConfigError, HopByHopLayer, MaxForwardsLayer, ViaLayer};
use tower_keep_alive::KeepAliveLayer;
use tower_pipeline_guard::{Pipeline, RequestBody};

use crate::args::Args;
use crate::forward::{Forward, Upstream};

/// Pipelined safe requests of one client that run at a time.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

/// Serves until `stop` resolves, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    args: &Args,
    upstream: Upstream,
    stop: impl Future<Output = ()>,
) -> Result<(), ConfigError> {
    let via = ViaLayer::new(&args.via)?;
    let forward = Forward::new(args, upstream);
    let pipeline = Pipeline::new().parallel(PARALLEL).half_close(true);
    let keep_alive = KeepAliveLayer::new()
        .idle_timeout(args.idle_timeout.0)
        .max_requests(NonZeroU32::new(args.max_requests))
        .max_age(args.max_age.0);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(args.idle_timeout.0);
    builder.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut stop => break,
        };
        let forward = Arc::clone(&forward);
        let handle = Connection::builder(Side::Server).peer_addr(peer).build();
        let (io, guard) = pipeline.wrap(stream);
        let service = ServiceBuilder::new()
            .layer(guard)
            .map_request(move |mut request: Request<RequestBody<Incoming>>| {
                request.extensions_mut().insert(handle.clone());
                request
            })
            .layer(keep_alive.clone())
            .layer(MaxForwardsLayer::new())
            .layer(HopByHopLayer::gateway())
            .layer(via.clone())
            .service_fn(move |request| {
                let forward = Arc::clone(&forward);
                async move { Ok::<_, Infallible>(forward.call(request).await) }
            });
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
            .into_owned();
        tokio::spawn(graceful.watch(connection));
    }
    drop(listener);
    let drained = graceful.shutdown();
    match args.drain_timeout.0 {
        Some(limit) => drop(tokio::time::timeout(limit, drained).await),
        None => drained.await,
    }
    Ok(())
}

/// The next client. Running out of file descriptors is waited out, not spun on.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A failure means that the client is gone already; serving it will find that out.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

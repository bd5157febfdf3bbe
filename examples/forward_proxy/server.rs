//! Accepts clients and serves each through the policy stack.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_hop_by_hop::{HopByHopLayer, LoopGuardLayer, MaxForwardsLayer, ViaEntry, ViaLayer};
use tower_idle_reaper::{Capacity, Drain, IdleReaper, Policy, ReapLayer, ReapedListener};
use tower_keep_alive::{KeepAliveLayer, Role};
use tower_pipeline_guard::Pipeline;

use crate::args::Args;
use crate::forward::Forward;
use crate::proxy_connection;

/// Pipelined safe requests of one client that run at a time.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

/// Stands for "no deadline".
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves until `stop` resolves, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    args: &Args,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let reaper = IdleReaper::new(policy(args)?);
    // A proxy adds itself in both directions, and knows a request that it has sent by itself (RFC 9110
    // section 7.6.3).
    let hop = ViaEntry::new(&args.pseudonym())?;
    let via = ViaLayer::from(hop.clone()).responses(true);
    let loops = LoopGuardLayer::from(hop);
    let keep_alive = KeepAliveLayer::new()
        .role(Role::Proxy)
        .idle_timeout(args.idle_timeout.0);
    let pipeline = Pipeline::new().parallel(PARALLEL).half_close(true);
    let forward = Forward::new(args);

    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The head has its own clock in the reaper; hyper's would also run while a connection idles.
    builder.http1().half_close(true).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new());

    let mut listener = ReapedListener::new(listener, &reaper);
    let mut stop = std::pin::pin!(stop);
    loop {
        let (io, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let connection = io.connection();
        let (io, guard) = pipeline.wrap(io);
        let forward = Arc::clone(&forward);
        let service = ServiceBuilder::new()
            .layer(guard)
            .layer(ReapLayer::of(connection.clone()))
            .map_request(proxy_connection::understand)
            .layer(keep_alive.clone())
            .layer(MaxForwardsLayer::new())
            .layer(HopByHopLayer::forward_proxy())
            .layer(loops.clone())
            .layer(via.clone())
            .service_fn(move |request| {
                let forward = Arc::clone(&forward);
                async move { Ok::<_, Infallible>(forward.call(request).await) }
            });
        let serving = builder
            .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
            .into_owned();
        tokio::spawn(reaper.watch(serving, connection));
    }
    drop(listener);
    reaper
        .drain(Drain::within(args.drain_timeout.0.unwrap_or(A_YEAR)))
        .await;
    Ok(())
}

/// What the flags say about client connections.
fn policy(args: &Args) -> Result<Policy, tower_idle_reaper::ConfigError> {
    // Browsers connect ahead of their first request, for as long as they would keep it idle.
    Ok(Policy::safe()
        .first_byte(args.idle_timeout.0)
        .idle(args.idle_timeout.0)?
        .head(args.header_timeout.0)
        .body_gap(args.body_timeout.0)
        .write_stall(args.body_timeout.0)
        .tunnel_idle(args.tunnel_idle.0)
        .tunnel_age(args.tunnel_age.0)
        .max_connections(Capacity::new(args.max_connections)))
}

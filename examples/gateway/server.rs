//! Accepts clients and serves each through the policy stack.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceBuilder, service_fn};
use tower_conn_serve::{Drain, IncomingStream, Server};
use tower_hop_by_hop::{
    HopByHopLayer, LoopGuardLayer, MaxForwardsLayer, Policy as HopPolicy, ViaLayer,
};
use tower_idle_reaper::{Capacity, IdleReaper, Linger, MaxAge, Policy};
use tower_keep_alive::KeepAliveLayer;
use tower_pipeline_guard::Pipeline;

use crate::admin::{Admin, Board, NoteLayer, Sources, Watch};
use crate::args::Args;
use crate::forward::{Forward, Upstream};

/// Pipelined safe requests of one client that run at a time.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

/// Gateways of one name that may stand in a row; a request that comes round more often is in a loop.
const PASSES: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

/// Stands for "no deadline".
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves until `stop` resolves, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Option<TcpListener>,
    args: &Args,
    upstream: Upstream,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>> {
    let watch = match &admin {
        Some(_) => Watch::board(Arc::new(Board::new())),
        None => Watch::nothing(),
    };
    let mut reaper = IdleReaper::builder(policy(args)?);
    if watch.get().is_some() {
        reaper = reaper.on_exchange(watch.clone()).on_close(watch.clone());
    }
    let reaper = reaper.build();
    let via = ViaLayer::new(&args.via)?;
    let keep_alive = KeepAliveLayer::new()
        .idle_timeout(args.idle_timeout.0)
        .max_requests(NonZeroU32::new(args.max_requests))
        .max_age(args.max_age.0);
    let strip = HopByHopLayer::new(HopPolicy::gateway().outbound(upstream.version()))
        .on_strip(watch.clone());
    let loops = LoopGuardLayer::new(&args.via)?.passes(PASSES);
    let forward = Forward::new(args, upstream.clone(), &watch);
    let admin = match (admin, watch.get()) {
        (Some(admin), Some(board)) => {
            let forward = Arc::clone(&forward);
            let sources = Sources {
                board: Arc::clone(board),
                reaper: reaper.clone(),
                pool: Box::new(move || forward.stats()),
                listen: listener.local_addr()?,
                upstream: upstream.to_string(),
            };
            Some(Admin::start(admin, sources))
        }
        _ => None,
    };

    let service = ServiceBuilder::new()
        .layer(NoteLayer::new(watch.clone()))
        .layer(keep_alive)
        .layer(MaxForwardsLayer::new())
        .layer(strip)
        .layer(loops)
        .layer(via)
        .service_fn(move |request| {
            let response = forward.call(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
    let mut server = Server::new()
        .reaper(reaper)
        .drain(Drain::within(args.drain_timeout.0.unwrap_or(A_YEAR)))
        .http1(|http1| {
            http1.half_close(true);
        })
        .pipeline(Pipeline::new().parallel(PARALLEL).half_close(true));
    if watch.get().is_some() {
        server = server.on_ahead(watch.clone());
    }
    let make = service_fn(move |stream: IncomingStream<'_, TcpStream, SocketAddr>| {
        watch.accepted(stream.connection());
        ready(Ok::<_, Infallible>(service.clone()))
    });
    server
        .serve(listener, make)
        .with_graceful_shutdown(stop)
        .await?;
    // It shows the drain to its end.
    if let Some(admin) = admin {
        admin.stop().await;
    }
    Ok(())
}

/// What the flags say about client connections.
fn policy(args: &Args) -> Result<Policy, tower_idle_reaper::ConfigError> {
    // A client may connect ahead of its first request, as balancers do, for as long as it may idle.
    Ok(Policy::unlimited()
        .first_byte(args.idle_timeout.0)
        .idle(args.idle_timeout.0)?
        .head(args.header_timeout.0)
        .body_gap(args.body_timeout.0)
        .write_stall(args.body_timeout.0)
        .max_age(args.max_age.0.map(MaxAge::new))
        .max_requests(NonZeroU32::new(args.max_requests))
        .max_connections(NonZeroUsize::new(args.max_connections).map(Capacity::new))
        .linger(args.linger.0.map(Linger::new))
        .half_close(true))
}

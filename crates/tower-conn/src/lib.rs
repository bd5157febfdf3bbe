//! Connection policy for hyper, axum and tower.
//!
//! hyper speaks HTTP and leaves policy to its users: who opens a connection, who may close it and
//! when, what a message may say about it, when a request may be sent again, in which order answers
//! come back. This crate is the front door to a set of small crates that each take one of these
//! questions. Each is a module here, behind a feature of the same name, and can be used without the
//! others:
//!
//! | module and feature | answers |
//! |---|---|
#![cfg_attr(
    feature = "hop-by-hop",
    doc = "| [`hop_by_hop`] | What may pass to the next hop? `Connection`, `TE`, `Upgrade`, trailers, `Via`, `Max-Forwards` |"
)]
#![cfg_attr(
    feature = "keep-alive",
    doc = "| [`keep_alive`] | Does the connection persist, and what does the message say about it? |"
)]
#![cfg_attr(
    feature = "idle-reaper",
    doc = "| [`idle_reaper`] | When does a server close: idle, slow, old, full, draining? And how, so that nothing is lost? |"
)]
#![cfg_attr(
    feature = "serve",
    doc = "| [`serve`] | Who accepts connections, finds out what they speak, and drains them? |"
)]
#![cfg_attr(
    feature = "pipeline-guard",
    doc = "| [`pipeline_guard`] | May pipelined requests run at once, and how do answers stay in order? |"
)]
#![cfg_attr(
    feature = "pool",
    doc = "| [`pool`] | Which connection does a client send on, and which may it keep? |"
)]
#![cfg_attr(
    feature = "idempotent-retry",
    doc = "| [`idempotent_retry`] | May a request be sent again? |"
)]
//!
//! # The model
//!
//! Four words carry everything, and mean the same in all of the crates.
//!
//! - A **connection** is one transport connection. Its [`Connection`] handle is cheap to clone and
//!   rides in the extensions of each request (server) or response (client): id, side, version, age, counts,
//!   idle time, and whether someone has asked for it to close, and [why](CloseReason). It is the only state that
//!   the crates share, so layers that never heard of each other agree.
//! - An **exchange** is one request and its response, from the head to the last byte of the response
//!   body. A connection is idle exactly when no [`Exchange`] is open: not when a handler has
//!   returned, since the body is still to be written.
//! - **Persistence** is the decision after an exchange: keep the connection or close it, and for what reason.
//! - **Evidence** is what is known about a request that failed: not sent, proved not to have been
//!   processed, or ambiguous. A retry is decided on evidence, on whether repeating the request does
//!   harm, and on whether its body can be sent again.
//!
//! # The order of the layers
//!
//! Layers that are given to `ServiceBuilder` see a request from the first to the last, and its
//! response from the last to the first. The order is not a matter of taste:
//!
//! | server, outermost first | because |
//! |---|---|
//! | `serve`, or a hyper accept loop, under the reaper | the transport: limits that a layer cannot see |
//! | `PipelineGuardLayer` | requests that run ahead start here, and whatever is outside would see only the first |
//! | `ReapLayer` | opens the exchange; everything inside counts as busy, and nothing of it is cut as idle |
//! | `KeepAliveLayer` | reads and writes `Connection` and `Keep-Alive` of *this* connection, before they are stripped on the way in and after they are on the way out |
//! | `MaxForwardsLayer` | answers what ends here, with the request as it came |
//! | `HopByHopLayer` | removes what belongs to the client's hop |
//! | `LoopGuardLayer` | knows by `Via` what has been here before, so it looks before this hop is added |
//! | `ViaLayer`, and fields of your own | strip first, then add: what is added inside cannot be named, and so deleted, by a client |
//! | handler, or a client to the next hop | |
//!
//! | client, outermost first | because |
//! |---|---|
//! | timeout | bounds all attempts together; `total_timeout` of the retry layer does the same and never begins a wait that would pass it |
//! | `IdempotencyKeyLayer` (not in a proxy) | inside the retries each attempt would get a key of its own |
//! | `RetryLayer` | needs the evidence of the pool, and asks it for a fresh connection |
//! | signing, concurrency limits | each attempt is signed anew, and a waiting retry holds no permit |
//! | `Pool` | |
//!
//! # A gateway's server side
//!
//! The connection below is in memory; over TCP the transport comes from `ReapedListener`, and the rest is
//! the same. The client is an HTTP/1.0 one that has put a field of its own among the connection options.
//!
#![cfg_attr(
    all(
        feature = "hop-by-hop",
        feature = "hyper-util",
        feature = "idle-reaper",
        feature = "keep-alive",
        feature = "pipeline-guard",
        feature = "util"
    ),
    doc = "```"
)]
#![cfg_attr(
    not(all(
        feature = "hop-by-hop",
        feature = "hyper-util",
        feature = "idle-reaper",
        feature = "keep-alive",
        feature = "pipeline-guard",
        feature = "util"
    )),
    doc = "```ignore"
)]
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tower::ServiceBuilder;
//! use tower_conn::hop_by_hop::{self, HopByHopBody, ViaEntry};
//! use tower_conn::idle_reaper::{CloseReason, IdleReaper, Policy};
//! use tower_conn::keep_alive::{self, KeepAliveLayer};
//! use tower_conn::pipeline_guard::{self, Pipeline};
//! use tower_conn::ServiceBuilderExt;
//! # use hyper::body::Incoming;
//!
//! type Body = HopByHopBody<keep_alive::RequestBody<pipeline_guard::RequestBody<Incoming>>>;
//!
//! async fn handler(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     assert!(!request.headers().contains_key("x-internal"), "belonged to the client's hop");
//!     assert_eq!(request.headers()["via"], "1.0 gateway");
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let idle = Duration::from_secs(75);
//! let reaper = IdleReaper::new(Policy::safe().idle(idle)?);
//!
//! // For each accepted connection:
//! # let (mut client, stream) = tokio::io::duplex(4096);
//! let io = reaper.wrap(stream, None);
//! let connection = io.connection();
//! let (io, guard) = Pipeline::new().wrap(io);
//! let service = ServiceBuilder::new()
//!     .pipeline_guard(guard)
//!     .reap_connection(connection.clone())
//!     .layer(KeepAliveLayer::new().idle_timeout(idle))
//!     .max_forwards()
//!     .hop_by_hop(hop_by_hop::Policy::gateway())
//!     .via(ViaEntry::new("gateway")?)
//!     .service_fn(handler);
//! let serving = auto::Builder::new(TokioExecutor::new())
//!     .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
//!     .into_owned();
//! let served = tokio::spawn(reaper.watch(serving, connection.clone()));
//!
//! client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive, X-Internal\r\nX-Internal: 1\r\n\r\n").await?;
//! let mut answer = [0; 512];
//! let read = client.read(&mut answer).await?;
//! let answer = String::from_utf8_lossy(&answer[..read]);
//! assert!(answer.contains("connection: keep-alive\r\nkeep-alive: timeout=74\r\n"), "{answer}");
//! assert!(answer.ends_with("\r\n\r\nhello"));
//!
//! assert!(connection.is_idle());
//! drop(client);
//! assert_eq!(served.await?, CloseReason::PeerClosed);
//! # Ok(()) }
//! ```
//!
//! # A gateway's client side, or an application's
//!
//! The server below answers once and then closes whenever it is asked again, without having said so: the race
//! that every client with kept connections loses now and then. The GET comes through, on a new connection.
//!
#![cfg_attr(
    all(feature = "idempotent-retry", feature = "pool", feature = "util"),
    doc = "```"
)]
#![cfg_attr(
    not(all(feature = "idempotent-retry", feature = "pool", feature = "util")),
    doc = "```ignore"
)]
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_conn::ServiceBuilderExt;
//! use tower_conn::idempotent_retry::{RetryInfo, RetryLayer, RetryReason};
//! use tower_conn::pool::{ConnectionUse, Pool, connector};
//! # use tower_conn_testkit::peer::ScriptedPeer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let server = ScriptedPeer::start(|mut exchange| async move {
//! #     if exchange.nth() == 1 { exchange.ok("hi").await.unwrap() } else { exchange.close() }
//! # }).await;
//! let mut client = ServiceBuilder::new()
//!     .idempotency_key() // for a server that honours it, and never in a proxy
//!     .layer(RetryLayer::client().total_timeout(Duration::from_secs(30)))
//!     .service(Pool::builder().idle_timeout(Some(Duration::from_secs(20))).build(connector()));
//!
//! for attempts in [1, 2] {
//!     let request = Request::get(server.uri("/")).body(Full::<Bytes>::default())?;
//!     let response = client.ready().await?.call(request).await?;
//!     assert_eq!(response.status(), StatusCode::OK);
//!     assert_eq!(RetryInfo::of(response.extensions()).attempts, attempts);
//!     assert!(!response.extensions().get::<ConnectionUse>().unwrap().is_reused());
//!     response.into_body().collect().await?;
//! }
//! # Ok(()) }
//! ```
//!
//! A proxy says `RetryLayer::proxy()`, leaves the key out, and takes no request for repeatable because its client
//! says so (RFC 9110 section 9.2.2).
//!
//! # Under `axum::serve`
//!
//! Limits, drains and persistence work around an unmodified `axum::serve` 0.8 (features `axum`, `idle-reaper`,
//! `keep-alive`). The listener brings the limits, the connect info brings the handle to the layers:
//!
#![cfg_attr(
    all(feature = "axum", feature = "idle-reaper", feature = "keep-alive"),
    doc = "```no_run"
)]
#![cfg_attr(
    not(all(feature = "axum", feature = "idle-reaper", feature = "keep-alive")),
    doc = "```ignore"
)]
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_conn::Connection;
//! use tower_conn::idle_reaper::{IdleReaper, Policy, ReapLayer};
//! use tower_conn::keep_alive::KeepAliveLayer;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! // The balancer in front keeps idle connections for 60 s: keep them longer.
//! let reaper = IdleReaper::new(Policy::behind_proxy(Duration::from_secs(60))?);
//! let listener = reaper.listener(TcpListener::bind("127.0.0.1:8080").await?);
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(KeepAliveLayer::new())
//!     .layer(ReapLayer::new());
//! axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await?;
//! # Ok(()) }
//! ```
//!
//! `Router::layer` puts each layer outside of those before it, so the outermost comes last.
//!
//! The server loop of this workspace takes the same `Router`, and brings what cannot be done inside of
//! `axum::serve`: GOAWAY, limits while the protocol is being found out, a staged shutdown, and idle connections
//! that give up their buffers (features `axum` and `serve`):
//!
#![cfg_attr(all(feature = "axum", feature = "serve"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "axum", feature = "serve")), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_conn::serve::{Drain, Policy, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! Server::new()
//!     .policy(Policy::behind_proxy(Duration::from_secs(60))?)
//!     .drain(Drain::within(Duration::from_secs(30)).lame_duck(Duration::from_secs(5)))
//!     .serve(TcpListener::bind("127.0.0.1:8080").await?, app)
//!     .await?;
//! # Ok(()) }
//! ```
//!
#![doc = include_str!("comparison.md")]
//!
//! # Features
//!
//! None is on by default. Beside the modules:
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `util` | `ServiceBuilderExt`, the layers as methods of `tower::ServiceBuilder` | No |
//! | `axum` | Listeners and connect info for `axum::serve`; `Router` in the module `serve` | No |
//! | `hyper` | Connections of hyper can be watched by the reaper; evidence from its errors | No |
//! | `hyper-util` | The same for hyper-util's `auto` connections and legacy client | No |
//! | `h2` | Evidence from HTTP/2 errors | No |
//! | `rustls` | TLS in the module `serve` through tokio-rustls | No |
//! | `tower` | Evidence from tower's errors; the retry budget as tower's | No |
//! | `tracing` | Observers that log strips and retries | No |
//! | `full` | All of these, and all modules | No |
//!
//! With `pool` and `idempotent-retry` both on, retries read the pool's evidence.
//!
//! Minimum supported Rust version: 1.85.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "util")]
mod builder;

/// What the crates share: connections, exchanges, connection options, body framing.
///
/// The crate [`tower_conn_core`]. Its most used types are at the root of this crate, too.
pub mod core {
    pub use tower_conn_core::*;
}

/// What belongs to one hop stays on it. The crate [`tower_hop_by_hop`].
#[cfg(feature = "hop-by-hop")]
pub mod hop_by_hop {
    pub use tower_hop_by_hop::*;
}

/// Retries on evidence. The crate [`tower_idempotent_retry`].
#[cfg(feature = "idempotent-retry")]
pub mod idempotent_retry {
    pub use tower_idempotent_retry::*;
}

/// Limits, eviction, drain and lingering close on servers. The crate [`tower_idle_reaper`].
#[cfg(feature = "idle-reaper")]
pub mod idle_reaper {
    pub use tower_idle_reaper::*;
}

/// HTTP persistence: decide, announce, honour. The crate [`tower_keep_alive`].
#[cfg(feature = "keep-alive")]
pub mod keep_alive {
    pub use tower_keep_alive::*;
}

/// Pipelining that keeps its order. The crate [`tower_pipeline_guard`].
#[cfg(feature = "pipeline-guard")]
pub mod pipeline_guard {
    pub use tower_pipeline_guard::*;
}

/// Client connections by origin. The crate [`tower_conn_pool`].
#[cfg(feature = "pool")]
pub mod pool {
    pub use tower_conn_pool::*;
}

/// A server loop for hyper and axum. The crate [`tower_conn_serve`].
#[cfg(feature = "serve")]
pub mod serve {
    pub use tower_conn_serve::*;
}

#[cfg(feature = "util")]
pub use self::builder::ServiceBuilderExt;
#[doc(inline)]
pub use tower_conn_core::{
    CloseReason, Closed, Connection, Exchange, ExchangeBody, FreshConnection, Side,
};

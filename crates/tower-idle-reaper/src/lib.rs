//! Decides when a server's connections close, and closes them without losing anything: limits on
//! idle, slow and old connections, eviction when the server is full, drain, and lingering close.
//!
//! hyper leaves all of this to its users: its one timer, `header_read_timeout`, serves as idle limit
//! and head limit at once, `axum::serve` 0.8 runs none at all, and a client that stops reading, or
//! never starts to write, holds its connection for ever. An [`IdleReaper`] watches every connection
//! of a server under one [`Policy`], with one task and nothing on the request path but a few relaxed
//! stores.
//!
//! # Rules
//!
//! - **Idle** means that no exchange is open and no byte of a next head has been delivered. A long
//!   handler, a streamed response and an upgraded tunnel are not idle. Whether a connection is closed
//!   as idle or takes a request is decided by one atomic transition.
//! - An idle connection is closed by a FIN, silently (RFC 9112 section 9.5). A request that is in the
//!   receive buffer by then is served, with `Connection: close`.
//! - Whoever is to be closed after an exchange is told: HTTP/1 responses carry `Connection: close`
//!   (RFC 9112 section 9.6), HTTP/2 connections are sent GOAWAY (RFC 9113 section 6.8).
//! - A close that could be overtaken by bytes of the client happens in stages: half-close, read and
//!   discard within time and bytes, close (RFC 9112 section 9.6). A 413 or 401 that is sent before
//!   an upload has been read therefore arrives, instead of being destroyed by a reset.
//! - Every connection ends for exactly one [`CloseReason`], which is counted
//!   ([`IdleReaper::closed`]) and told to the observer ([`OnClose`]).
//!
//! # Parts
//!
//! Three things work together: the **transport** is a [`ReapedIo`], which sees bytes; the **middleware**
//! [`ReapLayer`], outside of all layers but that of tower-pipeline-guard, says which connections are
//! busy; and, outside of `axum::serve`, the **driver** [`IdleReaper::watch`] closes HTTP/2 connections
//! with GOAWAY and turns errors into reasons. Without the layer no exchange is ever seen, and a
//! connection that has sent a request is never taken for idle again.
//!
//! # Under axum::serve
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_conn_core::Connection;
//! use tower_idle_reaper::{IdleReaper, Policy, ReapLayer};
//!
//! let reaper = IdleReaper::new(Policy::safe());
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(ReapLayer::new());
//! let listener = reaper.listener(TcpListener::bind("127.0.0.1:8080").await?);
//! axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # In a hyper accept loop
//!
//! ```
//! # #[cfg(feature = "hyper-util")]
//! # async fn serve(tcp: tokio::net::TcpListener) {
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! use tower::{ServiceBuilder, service_fn};
//! use tower_idle_reaper::{IdleReaper, Policy, ReapLayer, ReapedListener};
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! let reaper = IdleReaper::new(Policy::safe());
//! let mut listener = ReapedListener::new(tcp, &reaper);
//! loop {
//!     let (io, _) = listener.accept().await;
//!     let reaper = reaper.clone();
//!     tokio::spawn(async move {
//!         let connection = io.connection();
//!         let service = ServiceBuilder::new()
//!             .layer(ReapLayer::of(connection.clone()))
//!             .service(service_fn(hello));
//!         let engine = auto::Builder::new(TokioExecutor::new());
//!         let serving = engine
//!             .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service));
//!         let reason = reaper.watch(serving, connection).await;
//!         println!("closed: {reason}");
//!     });
//! }
//! # }
//! ```
//!
//! Leave hyper's `header_read_timeout` off (`None`): it also runs while a connection is idle.
//!
//! # What each way in can do
//!
//! | | `axum::serve` | `watch` | [`ReapedIo`] alone |
//! |---|---|---|---|
//! | first byte, head, write stall, linger, age, capacity | yes | yes | yes |
//! | idle, requests, body gap, drain of busy connections | yes | yes | with [`ReapLayer`] |
//! | HTTP/2 is closed with GOAWAY | no | yes | no |
//! | a cut drops the handler at once | when it next reads or writes | yes | when it next reads or writes |
//! | errors of the engine become reasons | no | yes | no |
//!
//! # Differences from other ways
//!
//! - hyper's `header_read_timeout` charges idle time to the head and does not run while hyper-util
//!   detects the protocol.
//! - `TimeoutLayer` and body timeouts of tower-http cannot see a client that has stopped reading:
//!   hyper stops polling the response body when its buffer is full. They are still right for limits on
//!   the handler.
//! - hyper-util's `GracefulShutdown` and `axum::serve`'s graceful shutdown have no deadline, do not see
//!   upgraded connections, and drop a head that has been received half.
//!
//! # Caveats
//!
//! - Where the HTTP engine's write buffer holds a whole response, the exchange is over before the
//!   bytes have left. Nothing is lost by that: closing waits for them.
//! - The limits on request bodies do not see the streams of HTTP/2.
//! - Clients that half-close keep their handlers running; see [`Policy::half_close`].
//! - A head that took too long is answered with 408 only over plain HTTP/1; over TLS the connection is
//!   just closed.
//! - Limits are enforced to within a [tick](Policy::tick).
//! - An exchange takes about 18 ns more than over a plain transport where its head has 59 bytes, and
//!   33 ns where it has 533, without a lock, a timer or an allocation (`benches/reaper.rs`, at its
//!   fastest). 10 ns of that are the guard of the exchange, which clones and drops an `Arc` (4 ns) and
//!   changes a word twice. What grows with the head is the search for an empty line in it, without which
//!   a body could be taken for a head.
//! - A connection under a reaper takes 312 bytes of heap beyond the 18 KiB that hyper keeps for an idle
//!   one: 240 of its own, and what tokio makes of them, which allocates tasks in multiples of 128 bytes
//!   (`tests/memory.rs`; `examples/idle_connections` measures resident memory, lateness and
//!   processor time for very many of them, in memory and on sockets).
//! - Finding the longest-idle connection takes a sweep over the stamps of all, for 32 evictions at a
//!   time; connections that became idle within one tick are told apart by their age.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `axum` | `IdleReaper::listener`, for `axum::serve` | No |
//! | `hyper` | [`Graceful`] for the connections of hyper, to [watch](IdleReaper::watch) them | No |
//! | `hyper-util` | [`Graceful`] for the `auto` connections of hyper-util | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admit;
mod clock;
mod common;
mod drain;
mod error;
mod future;
mod handle;
mod io;
mod layer;
mod limits;
mod listener;
mod observe;
mod policy;
mod reaper;
mod registry;
mod service;
mod shared;
mod sweep;
mod watch;
mod wire;

#[doc(inline)]
pub use tower_conn_core::CloseReason;

pub use self::admit::Refused;
pub use self::drain::{Drain, DrainSummary};
pub use self::error::ConfigError;
pub use self::future::ResponseFuture;
pub use self::handle::{KeepOpen, ReapHandle};
pub use self::io::ReapedIo;
pub use self::layer::ReapLayer;
pub use self::listener::{Accept, ReapedListener};
pub use self::observe::OnClose;
pub use self::policy::{Capacity, Linger, MaxAge, Policy, Rate};
pub use self::reaper::{Builder, IdleReaper};
pub use self::service::Reap;
pub use self::watch::{Graceful, Watch};

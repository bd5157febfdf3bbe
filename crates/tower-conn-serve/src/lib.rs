//! A server loop for hyper and axum, for what cannot be done inside `axum::serve`: limits that run
//! from the first byte on, a drain in stages with a deadline, GOAWAY, and idle connections that cost a
//! kilobyte.
//!
//! [`serve`] takes a listener and an axum `Router`, or whatever makes a tower service for a connection,
//! and drives every connection with hyper's own HTTP/1 and HTTP/2, under the
//! [`Policy`] of a [`tower-idle-reaper`](tower_idle_reaper). [`Server`] has the options.
//!
//! # What happens to a connection
//!
//! 1. **It is accepted** as soon as the policy has room for it. Failures to accept (EMFILE and the like)
//!    have idle connections closed, back off from 5 ms to 1 s, and are [counted](Stats::accept_errors).
//! 2. **It says which protocol it speaks**: by ALPN over [TLS](Server::tls), otherwise by its first bytes,
//!    which are the preface of HTTP/2 (RFC 9113 section 3.4) or a request. The limits on the first byte and
//!    on a head hold meanwhile; a head that does not end in time is answered with 408
//!    (RFC 9110 section 15.5.9), silence and half a preface are not. Until that is known, there is no HTTP
//!    engine.
//! 3. **It is served.** Each request carries the [`Connection`] in its extensions. Limits on idleness,
//!    bodies, stalled writes, age and number of requests are those of the policy; HTTP/1 connections are
//!    closed with notice (`Connection: close`), HTTP/2 connections with GOAWAY (RFC 9113 section 6.8):
//!    at the maximum age GOAWAY, and what is still open after the grace is cut.
//! 4. **It is parked** if it speaks HTTP/1 and no byte has passed for [a while](Server::park_after): hyper's
//!    state and buffers go, the transport, the service and what has arrived of a next head stay. The next
//!    byte brings the engine back, in microseconds. Neither the client nor the application can tell.
//! 5. **It ends** for one [`CloseReason`], which is counted and told to the reaper's observer.
//!
//! # Shutting down
//!
//! [`Serve::with_graceful_shutdown`] or [`Handle::shutdown`] starts the [drain](Server::drain): for the
//! lame-duck time connections are still accepted, and every response closes; then nothing is accepted
//! any more, idle connections close, busy ones after their response, HTTP/2 connections are sent
//! GOAWAY and finish their streams, for at most 5 s of waiting for a PONG. At the deadline, what is left is cut.
//! A second [`Handle::shutdown`] cuts at once. The [`Summary`] says how many ended which way.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use axum::extract::ConnectInfo;
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_conn_serve::{Drain, Policy, Server};
//!
//! let app = Router::new().route(
//!     "/",
//!     get(|ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() }),
//! );
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//!
//! let serve = Server::new()
//!     .policy(Policy::behind_proxy(Duration::from_secs(60))?)
//!     .drain(Drain::within(Duration::from_secs(20)).lame_duck(Duration::from_secs(5)))
//!     .serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
//! let handle = serve.handle();
//! tokio::spawn(async move {
//!     // Once for a drain, twice for the end of it.
//!     handle.shutdown();
//!     handle.shutdown();
//! });
//! let summary = serve.await?;
//! assert_eq!(summary.cut, 0);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "axum"))] fn main() {}
//! ```
//!
//! An application moves here from `axum::serve` by that one name: `serve(listener, app).await?`, with
//! `with_graceful_shutdown`, connect info and WebSockets as there.
//!
//! With plain tower services, and TLS:
//!
//! ```no_run
//! # #[cfg(feature = "rustls")]
//! # async fn run(acceptor: tokio_rustls::TlsAcceptor, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use tower::service_fn;
//! use tower_conn_serve::{Server, Shared};
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! Server::new().tls(acceptor).serve(listener, Shared::new(service_fn(hello))).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What an idle connection costs
//!
//! `cargo bench --bench serve` measures it, after one request on each of 10,000 connections to a server
//! with one thread:
//!
//! | | heap | resident |
//! |---|---:|---:|
//! | hyper alone | 18.0 KB | 10.0 KB |
//! | `axum::serve` | 29.9 KB | 18.2 KB |
//! | this, an axum router, not parked | 19.3 KB | 11.4 KB |
//! | this, an axum router, parked | 0.7 KB | 1.3 KB |
//!
//! # Panics of the application
//!
//! A handler or a body that panics costs its HTTP/1 connection, or its HTTP/2 stream, which is reset. It
//! is counted ([`Stats::panics`]), and the server goes on. To answer with 500 instead, put tower-http's
//! `CatchPanicLayer` around the application.
//!
//! # Differences from other ways
//!
//! - `axum::serve` has no options, no timers and no deadline; hyper-util's `auto` connections, on which it
//!   is built, hold a client that says nothing for ever, because no timer runs while the protocol is
//!   being detected. The reaper repairs the limits under an unmodified `axum::serve`, too; GOAWAY, the bounded
//!   drain of HTTP/2 and parking need this loop.
//! - tonic's `max_connection_age_grace` cuts HTTP/2 connections without a GOAWAY; here it comes first.
//!
//! # Caveats
//!
//! - Parking is for HTTP/1. It helps where connections outnumber requests: a connection with a request
//!   every second is never parked, and one every two seconds pays for an engine each time. Over TLS, the
//!   buffers of the TLS library stay.
//! - A service is made once for each connection and kept while that is parked; the size of the service
//!   type is part of what a parked connection costs.
//! - Memory that parking gives back is returned to the allocator, which may keep it for the next burst.
//! - A handler that runs without yielding can be neither cut nor drained.
//! - The make service must not fail, as under `axum::serve`; to refuse a connection, close it with its
//!   [`Connection`] handle.
//! - The upgraded transport that `hyper::upgrade::on` gives is of no type that could be downcast to.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `axum` | `Router` and `MethodRouter` as make services, connect info | No |
//! | `pipeline` | `Server::pipeline`: pipelined safe requests in parallel | No |
//! | `rustls` | [`Acceptor`] for tokio-rustls | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
#[cfg(feature = "axum")]
mod axum;
mod conn;
mod counters;
mod executor;
mod handle;
mod incoming;
mod race;
mod serve;
mod server;
#[doc(hidden)]
pub mod stack;
mod tls;

#[doc(inline)]
pub use tower_conn_core::{CloseReason, Connection};
#[doc(inline)]
pub use tower_idle_reaper::{Accept, Drain, IdleReaper, Policy};

pub use self::conn::Protocol;
pub use self::counters::Stats;
pub use self::executor::StreamExecutor;
pub use self::handle::Handle;
pub use self::incoming::{IncomingStream, Shared};
pub use self::serve::{Serve, ServeFuture, Summary};
pub use self::server::Server;
#[cfg(feature = "pipeline")]
pub use self::stack::Pipelined;
pub use self::stack::Serial;
pub use self::tls::{Acceptor, Establish, Plain, Tls};

/// Serves with the default options of [`Server`].
///
/// ```no_run
/// # #[cfg(feature = "axum")]
/// # async fn run() -> std::io::Result<()> {
/// use axum::{Router, routing::get};
/// use tokio::net::TcpListener;
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// tower_conn_serve::serve(listener, app).await?;
/// # Ok(())
/// # }
/// ```
pub fn serve<L, M, S>(listener: L, make_service: M) -> Serve<L, M, S, Plain, Serial> {
    Server::new().serve(listener, make_service)
}

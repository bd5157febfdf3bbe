//! A client connection pool that knows its connections.
//!
//! [`Pool`] is a tower `Service<Request<B>>` over any connector in the style of hyper-util: a
//! `Service<Uri>` that makes transports. It opens few connections to each origin, keeps them, and
//! shares them fairly; it closes them before the server does; and it says with every response and
//! every error what it knows about the connection, so that a retry can be decided.
//!
//! # Rules
//!
//! 1. **Limits and queue.** Connections are counted for each origin and in all, from before they are
//!    opened until their socket is closed. A request that finds neither an idle connection nor room
//!    for another waits; a connection that becomes free, returned or newly opened, goes to the
//!    oldest waiter. A waiter that is dropped leaves no hole. Where only the total keeps someone waiting,
//!    the longest-idle connection of any origin closes for them, and a busy origin gives one up after
//!    eight requests for which someone elsewhere has waited longer. A waiting request may be served by a
//!    returned connection while its own is being opened; that one is kept for the next.
//! 2. **Order of use.** The most recently used connection is first, so that surplus connections age
//!    out.
//! 3. **Expiry.** An idle connection is closed when its idle time is over: the policy's, or what the
//!    server announced in `Keep-Alive: timeout=`, less a margin, if that is shorter. The last
//!    announcement of an origin applies to its new connections. `max=`, a maximum of uses and a
//!    maximum age retire connections too. One timer closes what is due; nobody has to ask.
//! 4. **What is not used again** (RFC 9112 section 9.3). After `Connection: close` from either side;
//!    after HTTP/1.0; after a body that the close delimits; after faulty framing, a cut body, a 408.
//!    Nor a connection on which an end of stream, an error or a byte that nobody asked for arrived
//!    while it was idle. A plain TCP socket that has idled is looked at once more before it is used,
//!    so that what only the kernel knows counts.
//! 5. **The end of an exchange** is the end of the response body, and not before hyper is done with
//!    the request body. A body that is dropped is read to its end if that is small and quick, else
//!    its connection is closed. A response that ends while its request body is still being sent gets
//!    the same time, then the connection is closed (hyper issue 4176).
//! 6. **HTTP/2**, by ALPN or prior knowledge, shares one connection for each origin, and opens another
//!    when as many streams are open on it as the server allows; up to the limits, then requests wait in
//!    the queue. The last allowance of an origin applies to its new connections. After a GOAWAY a
//!    connection takes no new requests and finishes the old ones; those it hands back go to a new one.
//! 7. **Pipelining**, with [`pipeline_depth`](PoolBuilder::pipeline_depth): where the limits leave no room
//!    for another connection, GETs go out behind others that are not answered yet. Whoever needs a
//!    connection for itself, a POST or an upgrade, is not starved: one fills no further until it is empty.
//! 8. **Upgrades.** A connection that has switched protocols (101, CONNECT) leaves the pool and keeps
//!    its place in the limits until the tunnel ends: limits count sockets.
//!
//! # Evidence
//!
//! The extensions of every response hold its [`Connection`] and a [`ConnectionUse`]: new or used
//! before, how often, idle for how long. A [`PoolError`] holds them too, says by
//! [`delivery`](PoolError::delivery) how far the request came, and gives it back whole if it was never
//! written. A request that a *used* connection hands back unwritten has already been tried on others,
//! at last on a new one. Nothing that may have been written is sent again here: that is for a retry
//! layer, which asks for a [`FreshConnection`].
//!
//! # Example
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Full};
//! use tower::ServiceExt;
//! use tower_conn_pool::{ConnectionUse, Pool, connector};
//! # use tower_conn_testkit::peer::ScriptedPeer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let server = ScriptedPeer::start(|mut exchange| async move { exchange.ok("hi").await.unwrap() }).await;
//! let pool: Pool<_, Full<Bytes>> = Pool::builder().build(connector());
//! for used_before in [0, 1] {
//!     let request = Request::get(server.uri("/")).body(Full::default()).unwrap();
//!     let response = pool.clone().oneshot(request).await.unwrap();
//!     let usage = *response.extensions().get::<ConnectionUse>().unwrap();
//!     assert_eq!(usage.exchanges_before, used_before);
//!     assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi");
//! }
//! assert_eq!(pool.stats().open, 1);
//! # }
//! ```
//!
//! # https
//!
//! A connector of hyper-rustls, over the TCP connector that is told to take https URIs:
//!
//! ```
//! # use bytes::Bytes;
//! # use http::Request;
//! # use http_body_util::{BodyExt, Full};
//! # use rustls::RootCertStore;
//! # use tower::ServiceExt;
//! # use tower_conn_testkit::peer::ScriptedPeer;
//! use hyper_rustls::HttpsConnectorBuilder;
//! use rustls::ClientConfig;
//! use tower_conn_pool::{Pool, connector};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let server = ScriptedPeer::start(|mut exchange| async move { exchange.ok("hi").await.unwrap() }).await;
//! # let roots = RootCertStore::empty();
//! let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! let mut tcp = connector();
//! tcp.enforce_http(false);
//! // HTTP/2 where ALPN chooses it.
//! let https = HttpsConnectorBuilder::new()
//!     .with_tls_config(tls)
//!     .https_or_http()
//!     .enable_all_versions()
//!     .wrap_connector(tcp);
//! let pool: Pool<_, Full<Bytes>> = Pool::new(https);
//!
//! // The same pool takes http and https.
//! let request = Request::get(server.uri("/")).body(Full::default()).unwrap();
//! let response = pool.clone().oneshot(request).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi");
//! # }
//! ```
//!
//! # Defaults
//!
//! 64 connections to an origin and 512 in all: few enough for a server to bear (RFC 9112 section 9.4)
//! and for connections to stay warm, enough for 3 200 requests a second of 20 ms each to one origin;
//! above that requests queue, in order, and a timeout belongs around the pool. Idle for 45 seconds,
//! less than load balancers (60) and nginx (75) wait; what closes earlier often
//! announces it, and an announced time is used up to 2 seconds before its end. Node announces it unasked;
//! Apache, and tower-keep-alive by default, only to clients that send `Connection: keep-alive`, which is
//! left to the request. See [`PoolBuilder`].
//!
//! # Local ports
//!
//! Whoever closes first keeps the local port in TIME_WAIT. A pool closes first on purpose, so its
//! [`PortBudget`] counts: when ports towards a destination run low, requests wait for the connections
//! that there are; when none is left and there is nothing to wait for, they fail with
//! [`PortsExhausted`](PoolErrorKind::PortsExhausted) instead of EADDRNOTAVAIL.
//!
//! # Differences from hyper-util
//!
//! The legacy client has no limit of connections and no queue, does not read `Keep-Alive`, and hands
//! up neither reuse nor idle time. Where a server announces one second and its close takes 20 ms to
//! arrive, the legacy client loses about half of the GETs sent around that second and this pool none
//! (`tests/stale.rs`: 0 of 60, and 24 to 33 of 60).
//!
//! A request that is handed to hyper at the very moment at which its connection ends can stay in hyper's
//! channel for as long as a sender of that channel lives; the legacy client keeps one until the response
//! comes, so that about one request in ten thousand of such a race is never answered. Here the sender goes
//! with the connection, and the request comes back unwritten.
//!
//! On loopback, on two cores, medians; `benches/pool.rs` prints the whole table. The first row is from one such
//! run, in which the two are level. The others are runs of 30 000 and of 100 000 requests, each in a process of
//! its own, in turns (`POOL_BENCH_PROFILE="pool 256 100000 2"`). Single runs spread: those of the last row from
//! 13.8 to 18.8, 17.4 to 25.7 and 9.4 to 16.1:
//!
//! | Requests at once | CPU us each, pool | legacy | pipelined | Requests a second, pool | legacy | pipelined |
//! |---|---|---|---|---|---|---|
//! | 1 | 86.6 | 83.5 | 100.0 | 5 800 | 5 500 | 6 300 |
//! | 32 | 16.5 | 17.9 | 17.9 | 62 400 | 55 600 | 58 700 |
//! | 256, the pool on 64 connections | 14.8 | 18.0 | 10.1 | 71 500 | 58 500 | 103 600 |
//!
//! "Pipelined" is the pool with a depth of 8. In instructions on one thread, which other work does not disturb,
//! the pool takes 24 000 against 28 600 at 32, and 27 500 against 29 400 at 256, the hand-over from task to task
//! in the queue included. An idle connection takes about 19 KiB with either, nearly all of it hyper's.
//!
//! The parts in `hyper_util::client::pool` are not used: `Cache` has no time, no
//! count, no fair queue across origins and no way to learn that a connection became idle, and its
//! `Cached` returns a connection when it is dropped, which for HTTP/1.1 is before its response is
//! read. What would be left of them is a `Vec`.
//!
//! # Caveats
//!
//! - Limits bound waiting, too: a request that needs a second one to the same origin before it ends
//!   can wait for itself at a limit of one.
//! - Tunnels in HTTP/2 (extended CONNECT) do not count as open exchanges, nor against the limit of streams.
//! - A TLS transport cannot be looked at from outside: before reuse after a pause the runtime polls
//!   once, and what only the kernel knows by then can still be lost, as an
//!   [`Ambiguous`](Delivery::Ambiguous) error.
//! - A cold burst waits for its turn: of 200 requests of 2 ms each, the last one is answered after 120 ms
//!   with six connections and after 16 ms with 64; without a limit it is 15.
//! - The transport of an upgraded connection is the pool's own wrapper: `Upgraded::downcast` to the
//!   connector's type fails.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod builder;
mod conn;
mod driver;
mod error;
mod exchange;
mod incoming;
mod io;
mod observe;
mod origin;
mod policy;
mod ports;
mod service;
mod shared;
mod timer;

pub use self::body::PoolBody;
pub use self::builder::{PoolBuilder, Protocol, connector};
pub use self::error::{Delivery, PoolError, PoolErrorKind};
pub use self::observe::{CloseDelimited, ConnectionUse, PoolEvent, PoolObserver};
pub use self::origin::Origin;
pub use self::ports::PortBudget;
pub use self::service::{Pool, ResponseFuture};
pub use self::shared::Stats;
#[doc(no_inline)]
pub use tower_conn_core::{CloseReason, Connection, FreshConnection};
#[doc(no_inline)]
pub use tower_keep_alive::KeepAliveHint;

//! HTTP persistence for tower services: whether a connection is kept after a response, and what the
//! response says about it.
//!
//! On the server side, [`KeepAliveLayer`] decides after each exchange, writes one consistent set of
//! `Connection` and `Keep-Alive` fields, and deals with request bodies that the handler left unread.
//! On the client side, [`Expiring`] and [`KeepAliveHintLayer`](#features) give up a connection before
//! its server does. Both stand on pure functions, [`decide`], [`render`] and [`decide_reuse`].
//!
//! # Server
//!
//! What happens on the wire:
//!
//! 1. A connection persists after HTTP/1.1, and after HTTP/1.0 if the client sent
//!    `Connection: keep-alive` (RFC 9112 section 9.3). `close` wins over `keep-alive`, on any line, from
//!    either side.
//! 2. It closes, and the response says so, when the response has no length that an HTTP/1.0 client
//!    could know; when the framing of the request was faulty or ambiguous (section 6.1); when the
//!    connection was [asked to close](Connection::request_close), is being
//!    [drained](DrainSignal), has carried its [maximum of requests](KeepAliveLayer::max_requests) or is
//!    [too old](KeepAliveLayer::max_age); and after a [status](KeepAliveLayer::close_on) such as 408.
//! 3. An HTTP/1.0 client has `keep-alive` confirmed if the connection really persists, and never through
//!    a proxy that might not know of it: not by a server in the [role of a proxy](Role::Proxy), and not
//!    where `Via` or `Proxy-Connection` shows one on the way. `Proxy-Connection` asks for nothing
//!    (RFC 9112 appendix C.2.2).
//! 4. `Keep-Alive: timeout=, max=` is announced [on request, always or never](Advertise), with a time
//!    below what is enforced and the number of requests left.
//! 5. An unread request body is [read to its end](KeepAliveLayer::drain_unread) within bounds before the
//!    response head is released, or else the connection closes. A body whose `Expect: 100-continue`
//!    was not answered is not polled, since that would have it sent: the connection closes (RFC 9110
//!    section 10.1.1). A body that something else still reads is left alone, unless the response
//!    is an error: then it is waited for, within the same time.
//! 6. HTTP/2 and HTTP/3 carry none of these fields, and get none. A 101 and a 2xx to CONNECT are not
//!    touched.
//! 7. A decision to close is also given to the [`Connection`] handle, with its reason, so that whoever
//!    drives the connection knows. In HTTP/2 that is all there is: a driver turns it into a GOAWAY.
//!
//! Requests and age are counted on the [`Connection`] that the request carries. Without one the layer
//! still negotiates, request by request, and neither counts nor announces `max`.
//!
//! Under `axum::serve` (feature `axum`):
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_keep_alive::{Connection, KeepAliveLayer};
//!
//! async fn serve(listener: TcpListener) -> std::io::Result<()> {
//!     let app = Router::new()
//!         .route("/", get(|| async { "hello" }))
//!         .layer(
//!             KeepAliveLayer::new()
//!                 .max_requests(NonZeroU32::new(1000))
//!                 .max_age(Duration::from_secs(600))
//!                 .max_age_jitter(Duration::from_secs(60)),
//!         );
//!     axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await
//! }
//! # let _ = serve;
//! # }
//! ```
//!
//! In an accept loop over hyper:
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use hyper::server::conn::http1;
//! use hyper_util::rt::{TokioIo, TokioTimer};
//! use hyper_util::service::TowerToHyperService;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_keep_alive::{Connection, KeepAliveLayer, RequestBody};
//!
//! async fn hello(_: Request<RequestBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! async fn serve(listener: TcpListener) -> std::io::Result<()> {
//!     let idle = Duration::from_secs(75);
//!     // Announced is 74 s; hyper enforces 75 s.
//!     let app = KeepAliveLayer::new().idle_timeout(idle).layer(service_fn(hello));
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         let (app, connection) = (app.clone(), Connection::server());
//!         let service = service_fn(move |mut request: Request<Incoming>| {
//!             request.extensions_mut().insert(connection.clone());
//!             app.clone().oneshot(request)
//!         });
//!         tokio::spawn(
//!             http1::Builder::new()
//!                 .timer(TokioTimer::new())
//!                 .header_read_timeout(idle)
//!                 .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)),
//!         );
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut client = TcpStream::connect(listener.local_addr()?).await?;
//! tokio::spawn(serve(listener));
//!
//! client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await?;
//! let mut head = [0; 128];
//! let read = client.read(&mut head).await?;
//! let head = String::from_utf8_lossy(&head[..read]);
//! assert!(head.contains("connection: keep-alive\r\nkeep-alive: timeout=74\r\n"));
//! # Ok(()) }
//! ```
//!
//! The layer announces and does not enforce: an idle connection is closed by whoever drives it. `axum::serve`
//! 0.8 closes none, so there is nothing to announce there, unless its listener brings a limit.
//!
//! # Client
//!
//! A client that reuses a connection at the moment when its server gives it up loses the request, and
//! may not repeat it. A [`ReusePolicy`] has it give up first: at the time the server has announced
//! less a margin, at a ceiling, after the announced number of requests, at an age. And a connection on
//! which an HTTP/1.0 response came back is not reused: hyper's client would send the next body of
//! unknown length on it as no body at all, without an error.
//!
//! - [`Expiring`] wraps the service of one connection, for pools: `hyper_util::client::pool::cache`, or
//!   your own. [`Lifetime`] is its pure heart.
//! - `KeepAliveHintLayer` (feature `hyper-util`) does the same for all connections of
//!   `hyper_util::client::legacy::Client`.
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use http::{Request, Response};
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_keep_alive::{CloseReason, Expiring, ReusePolicy};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! // Stands for the service of a connection whose server waits 5 s for the next request.
//! let connection = service_fn(|_: Request<()>| async {
//!     let response = Response::builder().header("keep-alive", "timeout=5");
//!     Ok::<_, Infallible>(response.header("content-length", "0").body(()).unwrap())
//! });
//! let mut connection = Expiring::new(connection, ReusePolicy::new());
//! connection.ready().await.unwrap().call(Request::new(())).await.unwrap();
//!
//! tokio::time::advance(Duration::from_secs(2)).await;
//! assert!(connection.ready().await.is_ok());
//! tokio::time::advance(Duration::from_secs(1)).await;
//! assert_eq!(connection.expired(), Some(CloseReason::HintExpired));
//! assert!(connection.ready().await.is_err());
//! # }
//! ```
//!
//! # Differences from hyper
//!
//! hyper decides persistence by itself, from the version and the `Connection` fields. What it does not
//! do, or does differently between its versions, is done here, the same on all of them:
//!
//! - `close` from a service did not close an HTTP/1.0 connection before hyper 1.12. Here the version of
//!   such a response is set to HTTP/1.0, which does; hyper puts the right version on the wire anyway.
//! - A response of unknown length to an HTTP/1.0 client is announced as `keep-alive` by hyper, and then
//!   closed. Here it is announced as what it is.
//! - hyper makes one attempt to read a request body that the handler dropped, mostly after the head has
//!   gone out, and then closes the connection without notice.
//! - `Keep-Alive` is not known to hyper, in either direction.
//!
//! # Deviations from other servers and clients
//!
//! The rules are tested against behaviour collected from other implementations. Where those differ
//! from each other or from the RFCs, this crate deviates from one of them:
//!
//! - An HTTP/1.0 client that asked for `keep-alive` and does not get it is told `close`, as nginx and
//!   Apache httpd do; Go says nothing.
//! - The version of a response is not taken as a wish to close, as hyper takes it: it may be that of an
//!   upstream. Say `Connection: close`, which works for HTTP/1.0 here.
//! - There is no list of browsers that cannot keep a connection, such as nginx has for MSIE 5.
//! - No status closes by default but 408. nginx and Apache close after 400, 500 and others; see
//!   [`close_on`](KeepAliveLayer::close_on).
//! - The client does not use a connection once more when it is over its maximum age; nginx does.
//! - Apache counts the requests after the first; [`max_requests`](KeepAliveLayer::max_requests) counts all.
//!
//! # Caveats
//!
//! - When hyper itself disables keep-alive without telling the handler (its `graceful_shutdown` with a
//!   request in flight, or its `keep_alive(false)`), it adds `close` beside what was announced. `close`
//!   wins for every recipient; to have it consistent, give a [`DrainSignal`] first, or an idle timeout
//!   of zero.
//! - A request body that comes back only after the response head has gone out is not drained; hyper
//!   closes then, without notice.
//! - The bounds on draining use tokio's timer. The layer belongs inside anything that reads request bodies
//!   on behalf of the handler, and outside anything that sets `Connection`.
//! - How the socket is closed, with a half-close and a last read or with a reset, is up to the driver.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `axum` | [`Connection`] as connect info of `axum::serve` | No |
//! | `hyper-util` | `KeepAliveHintLayer` for `hyper_util::client::legacy` | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod client;
mod facts;
mod future;
mod hint;
mod layer;
mod limits;
mod observe;
mod persistence;
mod render;
mod service;

pub use self::body::RequestBody;
pub use self::client::{
    Expired, Expiring, ExpiringFuture, ExpiringLayer, Lifetime, MakeExpiring, MakeExpiringFuture,
    ReusePolicy, decide_reuse,
};
#[cfg(feature = "hyper-util")]
pub use self::client::{HonorHints, HonorHintsFuture, KeepAliveHintLayer};
pub use self::facts::{BodyOutcome, RequestFacts, ResponseFacts};
pub use self::future::ResponseFuture;
pub use self::hint::KeepAliveHint;
pub use self::layer::{DrainSignal, KeepAliveLayer};
pub use self::limits::{Advertise, ConnectionSnapshot, Limits, Role};
pub use self::observe::OnDecision;
pub use self::persistence::{Persistence, decide};
pub use self::render::render;
pub use self::service::KeepAlive;
#[doc(inline)]
pub use tower_conn_core::{CloseReason, Connection};

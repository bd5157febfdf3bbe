//! HTTP/1.1 pipelining that keeps its order.
//!
//! A client may send requests without waiting for the answers, and a server must answer them in the
//! order in which they came (RFC 9112 section 9.3.2). hyper does that by running one handler at a time
//! and writing each response by itself. This crate keeps the order and the parser, and adds what is
//! missing around an unmodified hyper or axum.
//!
//! # Server
//!
//! [`Pipeline::wrap`] turns the transport of a connection into a [`LookaheadIo`] and a
//! [`PipelineGuardLayer`] for its service. Then:
//!
//! 1. A burst of responses leaves in one write (up to [`Pipeline::coalesce`] bytes). A finished
//!    response is never held back behind a handler that works, a body that streams, an empty line or
//!    half of the next head.
//! 2. With [`Pipeline::parallel`], consecutive GET, HEAD and OPTIONS requests run at once. A request
//!    with a body, `Upgrade`, `Expect`, `TE`, a connection option other than `keep-alive`, no `Host` or
//!    two, another method, or another version is a barrier: it waits for all before it, and all
//!    behind it wait for it. Response bodies are not polled before their turn. A request that starts
//!    early has [`RunsAhead`] in its extensions, and an [`OnAhead`] hook is told of it and of what became
//!    of it.
//! 3. Between messages at most [`Pipeline::read_ahead`] bytes are read at once, and with
//!    [`Pipeline::max_buffered`] no more than a number of requests, so a client that pipelines
//!    thousands of requests waits in its socket. With [`Pipeline::max_requests`] the last response of a
//!    connection says `Connection: close`, and nothing behind it is run.
//! 4. The handler of a client that has gone away is dropped, also when further requests are buffered,
//!    and none of those is run. With [`Pipeline::half_close`] a client that only finished sending is
//!    answered.
//!
//! hyper's parser is the only one that counts. What was read ahead is used for nothing but starting
//! calls; when hyper dispatches a request, a running call is taken over only if method, target, version
//! and every field are the same, and if they ever differ, looking ahead is off for the rest of the
//! connection. Off is also what it goes after a chunked request body, a request to upgrade, CONNECT and
//! line ends without CR; then requests run one after the other, as without this crate.
//!
//! A call that was started and is never due, because the connection closes first, is dropped: that is
//! what makes it right for safe methods only.
//!
//! ## With hyper
//!
//! The layer goes outermost: requests that run ahead start there. The service behind it takes
//! `Request<RequestBody<Incoming>>`, and has to be `Clone`.
//!
//! ```
//! use std::convert::Infallible;
//! use std::num::NonZeroUsize;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tower::ServiceBuilder;
//! use tower_pipeline_guard::{Pipeline, RequestBody};
//!
//! async fn handle(request: Request<RequestBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from(request.uri().path().to_owned())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let pipeline = Pipeline::new().parallel(NonZeroUsize::new(8).unwrap());
//!
//! // For each accepted connection:
//! # let (mut client, stream) = tokio::io::duplex(4096);
//! let (io, guard) = pipeline.wrap(stream);
//! let service = ServiceBuilder::new().layer(guard).service_fn(handle);
//! tokio::spawn(async move {
//!     auto::Builder::new(TokioExecutor::new())
//!         .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
//!         .await
//! });
//!
//! client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
//! let mut answers = String::new();
//! client.read_to_string(&mut answers).await.unwrap();
//! assert!(answers.find("/a").unwrap() < answers.find("/b").unwrap());
//! # }
//! ```
//!
//! A service whose type is fixed to `Request<Incoming>` cannot be called ahead, because an `Incoming`
//! cannot be made; [`RequestBody`] is a [`Body`](http_body::Body) and goes wherever one does.
//!
//! ## With axum
//!
//! Feature `axum`: [`LookaheadListener`] around the listener, [`GuardedMakeService`] around the
//! `Router` (or around what its `into_make_service_with_connect_info` returns).
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use std::num::NonZeroUsize;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_pipeline_guard::{GuardedMakeService, LookaheadListener, Pipeline};
//!
//! # async fn serve() -> std::io::Result<()> {
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! let pipeline = Pipeline::new().parallel(NonZeroUsize::new(8).unwrap());
//! let listener = LookaheadListener::new(TcpListener::bind("127.0.0.1:8080").await?, pipeline);
//! axum::serve(listener, GuardedMakeService::new(app)).await
//! # }
//! ```
//!
//! # Client
//!
//! [`PipelinedConnection`] is a tower service over any transport that sends several safe requests at
//! once and gives each its response; what it sends when, and what becomes of requests when the connection
//! ends, is in the docs of [`client`]. The encoder and the strict decoder under it are in [`h1`], without
//! IO. [`EchoGuardLayer`] compares a request id, on this connection or on any other.
//!
//! # What it costs, and what it gives
//!
//! Without pipelined requests: one look at the bytes for the end of the head, one at the fields, and a
//! copy of the head; no system call, and no allocation for each request. On one connection with small
//! responses, one core for the server (`benches/pipeline.rs`):
//!
//! | requests at once | 1 | 4 | 16 | 64 | 256 |
//! |---|---|---|---|---|---|
//! | throughput, to stock hyper's | 0.96 | 2.3 | 4.4 | 5.9 | 6.0 |
//! | CPU for each request, µs (stock hyper) | 4.1 (3.9) | 1.5 (2.9) | 0.86 (2.6) | 0.68 (2.5) | 0.63 (2.2) |
//!
//! Memory stays as it is, also while a client asks for much and reads nothing. Eight pipelined requests
//! whose handlers take 100 ms each are answered in 102 ms with [`Pipeline::parallel`], in 820 to 850 ms
//! without.
//!
//! # Why not hyper's `pipeline_flush`
//!
//! hyper's `http1::Builder::pipeline_flush` also joins responses, by not flushing while any byte is left
//! in the read buffer. A finished response then waits for the next one, however long its handler takes;
//! behind a request follow an empty line or half a head, and the response is not sent at all until more
//! arrives; and the limit of the write buffer is lifted, so that a client which sends small requests for
//! large responses and reads nothing makes the server buffer all of them. It is never needed
//! with this crate, and should stay off.
//!
//! # Caveats
//!
//! - Layers and handlers see a request when it starts. Access logs, rate limiters and metrics count
//!   calls that run ahead and are then dropped.
//! - Extensions that a layer *outside* the guard puts on a request are copied from the first request of
//!   the connection to those that run ahead. What differs from request to request belongs inside.
//! - Closing without loss of the last response, while the client still sends, is the business of
//!   `tower-idle-reaper`: put its transport under [`LookaheadIo`].
//! - The guard refuses no request. hyper answers 400 to those that it cannot frame, but hands up those
//!   without `Host` or with two, and bodies in codings other than chunked, where RFC 9112 asks for 400
//!   (section 3.2) and suggests 501 (section 6.1); that is left to the service. They run alone.
//! - A call that runs ahead is polled with the connection, while the response that is due is waited for
//!   or streams; not while the client does not read.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `axum` | [`LookaheadListener`] and [`GuardedMakeService`] for `axum::serve` | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod echo;
pub mod h1;
mod server;

#[doc(inline)]
pub use self::client::PipelinedConnection;
pub use self::echo::{EchoFuture, EchoGuard, EchoGuardLayer, EchoMismatch};
pub use self::server::{
    AheadEvent, LookaheadIo, OnAhead, Pipeline, PipelineGuard, PipelineGuardLayer, RequestBody,
    ResponseBody, ResponseFuture, RunsAhead,
};
#[cfg(feature = "axum")]
pub use self::server::{
    GuardedFuture, GuardedMakeFuture, GuardedMakeService, GuardedService, LookaheadListener,
    PipelineTransport,
};

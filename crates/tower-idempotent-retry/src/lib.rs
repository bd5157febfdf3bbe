//! Sends an HTTP request again only when that is safe.
//!
//! A kept connection can close at the moment a request is sent on it, and the client sees an error although
//! nothing is wrong (hyperium/hyper#2136). A load balancer answers 503 for a second while a server restarts. Sending the
//! request again repairs both, and is harmless for a GET; a payment sent again is paid twice. This crate decides between
//! the two by what is known, never by guess.
//!
//! # Rules
//!
//! Three things decide, and a retry needs all of them.
//!
//! 1. **Evidence**: what is known of the attempt ([`Evidence`]). A request that was not sent, or that the peer
//!    proves it did not process (`REFUSED_STREAM`, GOAWAY below the stream: RFC 9113 section 8.7; 421: RFC 9110 section
//!    15.5.20; 425: RFC 8470 section 5.2), is sent again whatever its method. A request that got no response, or one of
//!    the retried statuses, may have been applied: it is sent again only if that does no harm. Once the head of
//!    an accepted response is handed up, nothing is repeated.
//! 2. **Replay safety**: whether repeating the request does harm ([`ReplaySafety`]). Safe and idempotent methods do not
//!    (RFC 9110 section 9.2); a client may also go by an `Idempotency-Key` or by [`MarkIdempotent`]. A proxy must
//!    not repeat others (RFC 9110 section 9.2.2), and a key from downstream is no knowledge of its own. A request that asks for an upgrade, and
//!    CONNECT, hand the connection over and count as unsafe.
//! 3. **The body**: whether it can be sent again ([`ReplayBody`]). It is kept as it passes, up to 64 KiB; a longer
//!    one is sent once. Nothing is kept of a request that may be sent only once ([`NoRetry`], one attempt).
//!
//! Then the bounds: the number of attempts, the total time, and a [`Budget`] for each destination, which
//! keeps a failing server from being sent a multiple of its load. Waits have full jitter ([`Backoff`]); `Retry-After` is
//! waited for in seconds and all three date forms, up to a cap, and never past the deadline: then the response is handed on at
//! once. The second attempt asks for a [`FreshConnection`], because the next kept connection is likely to be as stale as the
//! last. A small failed response is read to its end, so that its connection survives.
//!
//! A request that is not retried is transparent: the response or the error of the last attempt is the result. Attempts begin from
//! the caller's head, extensions included; [`RetryInfo`] in the response, or in the [`RetryError`], says what
//! happened.
//!
//! # Client
//!
//! Outermost first: the key, then the retries, then the client.
//!
//! ```
//! # use std::convert::Infallible;
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_idempotent_retry::{IdempotencyKeyLayer, ReplayBody, RetryInfo, RetryLayer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let client = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
//! #     let mut response = Response::new(Full::<Bytes>::default());
//! #     if CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
//! #         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//! #     }
//! #     Ok::<_, Infallible>(response)
//! # });
//! let client = ServiceBuilder::new()
//!     .layer(IdempotencyKeyLayer::new())
//!     .layer(RetryLayer::client())
//!     .service(client);
//!
//! // The server is busy once.
//! let request = Request::post("http://pay.example/").body(Full::from("{}")).unwrap();
//! let response = client.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(RetryInfo::of(response.extensions()).attempts, 2);
//! # }
//! ```
//!
//! # Proxy
//!
//! Over hyper-util's legacy client, with evidence of reuse and fresh connections for retries:
//!
//! ```
//! # #[cfg(feature = "hyper-util")] {
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::client::legacy::{Client, connect::HttpConnector};
//! use hyper_util::rt::TokioExecutor;
//! use tower::ServiceBuilder;
//! use tower_idempotent_retry::{FreshConnections, ReplayBody, RetryLayer, ReuseConnector};
//!
//! type Body = Full<Bytes>;
//!
//! let connector = ReuseConnector::new(HttpConnector::new());
//! let pooled: Client<_, ReplayBody<Body>> =
//!     Client::builder(TokioExecutor::new()).build(connector.clone());
//! let fresh = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
//! let upstream = ServiceBuilder::new()
//!     .layer(RetryLayer::proxy().total_timeout(Duration::from_secs(60)))
//!     .service(FreshConnections::new(pooled, fresh));
//! # let _ = upstream; }
//! ```
//!
//! The inner service takes `Request<ReplayBody<B>>`, for any `B` whose error converts to a boxed one. The
//! response body is [`ResponseBody<B>`](ResponseBody), with the data and the error type of the client's. The error is a boxed
//! [`RetryError`] whose source is the client's.
//!
//! # Measured
//!
//! A server that closes idle connections after 20 ms, and clients that send from 4 ms before to 2 ms after that:
//! `tests/stale_race.rs`, ten thousand requests each over hyper-util's legacy client (hyper 1.12, hyper-util 0.1.21).
//!
//! | | Failed | Retried | Executed twice |
//! |---|---|---|---|
//! | GET, bare | 1198 | | |
//! | GET, [`client`](RetryLayer::client) | 0 | 1589 | |
//! | POST, bare | 468 | | 0 |
//! | POST, [`client`](RetryLayer::client) | 1002 | 0 | 0 |
//! | POST, [`fresh_if_unsafe`](RetryLayer::fresh_if_unsafe) | 0 | 0 | 0 |
//!
//! How often the race is lost differs from run to run (from 5 to 16 per cent of the requests on a busy machine of two
//! cores); that no GET fails and no POST is executed twice does not. A plain POST is as exposed with the layer as without.
//! In some of the runs one request was never answered, with the bare client too, so give requests a time: an
//! [`attempt_timeout`](RetryLayer::attempt_timeout) was set. The cause is below hyper: what is sent on a channel of tokio at the
//! moment its receiver is dropped may be neither received nor dropped while a sender lives (1 of 20 000 tries that do
//! nothing else), and hyper-util's client keeps hyper's sender until the response comes. tower-conn-pool does not.
//!
//! # Differences from alternatives
//!
//! - `tower::retry` is a mechanism without a policy: it cannot read a response before it drops it, its budget is not exact and its
//!   backoff repeats one sequence for every session. Use it for what is not HTTP; [`RetryBudget`] fits it (feature `tower`).
//! - hyper-util's legacy client repeats what hyper hands back unsent, and nothing else. Both together do no harm.
//! - Layers that look at the status alone repeat a POST.
//!
//! # Caveats
//!
//! - **Order.** A timeout for all attempts goes outside, or is [`total_timeout`](RetryLayer::total_timeout). Whatever
//!   signs requests with a date goes inside, and must sign each attempt. Load shedding and concurrency limits go inside, so that a waiting retry holds no
//!   permit. [`IdempotencyKeyLayer`] goes outside: inside, each attempt would get another key. One retry
//!   layer is enough: two multiply.
//! - **Repeating can answer differently**: a DELETE answered 404, a conditional PUT answered 412 by what the first attempt did.
//!   [`RetryInfo::earlier_attempt_may_have_applied`] tells.
//! - 503 does not prove that a request was not processed; that is why a POST is not repeated after it.
//! - 401 and 407 are for an authentication layer, redirects for another.
//! - Giving up a slow attempt closes its HTTP/1 connection.
//! - A response is final once its head is accepted: a body that breaks off reaches the reader as an error.
//! - Bodies of unsafe requests are kept up to the limit, too, because a peer can prove after the fact that it did not process
//!   them. [`NoRetry`] keeps nothing.
//! - While a retry waits, a failed response too large to be read (4 KiB) keeps its connection until the next
//!   attempt begins, so that it can still be handed on if the inner service is not ready.
//! - Evidence from hyper and h2 rests on error types that hyper does not promise to keep as sources; without the features of
//!   their names every failure but a refused connection is ambiguous.
//! - hyper's client does not wait for `100 Continue`, so a body with `Expect` is sent with the first attempt.
//!
//! ## Behaviour vectors
//!
//! `tests/vectors/retry.jsonl` has the cases that this crate is held to, all of which hold. Three are read in a certain way:
//! that a request which cannot be retried is not buffered is true of [`NoRetry`] and of one attempt, and not of a
//! plain POST (see above); options that a vector switches on although they are the default here (413 with `Retry-After`, one retry after
//! 408) stay so; and [`stale_only`](RetryLayer::stale_only) also repeats what was not sent or not processed.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `hyper` | Evidence from hyper's errors | No |
//! | `hyper-util` | Evidence from the legacy client's errors; `ReuseConnector` | No |
//! | `h2` | Evidence from HTTP/2 errors | No |
//! | `pool` | Evidence from tower-conn-pool's errors | No |
//! | `tower` | Evidence from tower's errors; [`RetryBudget`] as a `tower::retry::budget::Budget` | No |
//! | `tracing` | An observer that records decisions | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod body;
mod budget;
mod classify;
mod decide;
mod evidence;
mod extensions;
mod fresh;
mod future;
mod idempotency_key;
mod info;
mod layer;
mod observe;
mod policy;
mod replay;
mod retry_after;
mod rng;
mod safety;
mod service;
mod session;
mod status;

pub use self::backoff::Backoff;
pub use self::body::ResponseBody;
pub use self::budget::{Budget, RetryBudget};
#[cfg(feature = "hyper-util")]
pub use self::classify::reuse::{ConnectFuture, ReuseConnector, ReuseIo};
pub use self::classify::{Classify, DefaultClassify};
pub use self::decide::{Decision, Retry as RetryDecision, RetryReason, StopReason};
pub use self::evidence::{Evidence, Failure};
pub use self::extensions::{Attempt, Deadline, MarkIdempotent, MaxAttempts, NoRetry};
pub use self::fresh::FreshConnections;
pub use self::future::ResponseFuture;
pub use self::idempotency_key::{IdempotencyKey, IdempotencyKeyLayer};
pub use self::info::{RetryError, RetryInfo};
pub use self::layer::RetryLayer;
#[cfg(feature = "tracing")]
pub use self::observe::TraceDecisions;
pub use self::observe::{Event, Observe};
pub use self::policy::{AttemptHeader, OverCap};
pub use self::replay::{NotReplayable, Replay, ReplayBody, ReplayError};
pub use self::retry_after::RetryAfter;
pub use self::safety::ReplaySafety;
pub use self::service::Retry;
#[doc(inline)]
pub use tower_conn_core::FreshConnection;

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

//! Tower layers for HTTP intermediaries: what belongs to one hop stays on it.
//!
//! A proxy or gateway that copies header fields from one connection to the next leaks what was meant
//! for the first one only: `Connection: close` closes the wrong connection, `Upgrade: h2,h2c` makes
//! HTTP/2 clients fail, credentials for the proxy reach the origin, and a client can have fields
//! deleted that a proxy relies on. This crate removes exactly what RFC 9110 section 7.6.1 says, in both
//! directions and in trailers, and keeps what it takes for gRPC, WebSocket and trailers to work.
//!
//! - [`HopByHopLayer`] strips requests and responses; [`StripRequestLayer`] and [`StripResponseLayer`]
//!   one of them.
//! - [`ViaLayer`] adds this hop to `Via`; [`LoopGuardLayer`] answers what has been here before with 508.
//! - [`MaxForwardsLayer`] counts `Max-Forwards` down and answers OPTIONS and TRACE at 0.
//! - [`strip_request`], [`strip_response`], [`strip_trailers`], [`strip_interim`] are the rules as pure
//!   functions over [`http::HeaderMap`], for use without tower.
//!
//! # What happens to a message
//!
//! 1. Every line of `Connection` is read, as bytes and in any case; a member that is not a token hides
//!    none of the others. More members than [`Policy::max_options`] (64) are refused (RFC 9110 sections
//!    5.6.1.2 and 7.6.1).
//! 2. Each field that an option names goes, all its lines, and later any trailer of that name. An option
//!    that names a [protected](ProtectedNames) field (framing, routing, credentials, content, caching,
//!    forwarding) is ignored and reported: no honest sender has a reason for it, and honouring it is how
//!    forwarding and authentication fields have been deleted in attacks.
//! 3. `Connection`, `Proxy-Connection`, `Keep-Alive`, `TE`, `Transfer-Encoding`, `Upgrade` and
//!    `HTTP2-Settings` go, nominated or not; `Proxy-Authorization`, `Proxy-Authenticate` and
//!    `Proxy-Authentication-Info` unless [relayed](ProxyAuth::Relay); [`Policy::extra`] names too.
//! 4. Framing is left to the HTTP library: `Content-Length` goes where `Transfer-Encoding` came with it,
//!    and from 1xx, 204 and a successful CONNECT (RFC 9112 section 6.3, RFC 9110 section 8.6). A transfer
//!    coding other than chunked is refused, 501 or 502: it would stay in the body without its label.
//! 5. A request's `TE: trailers` comes back, as exactly that, with `Connection: te` on HTTP/1.1 (RFC 9110
//!    section 10.1.4). `Trailer` is kept: hyper's HTTP/1 side sends announced trailers only.
//! 6. An upgrade that the [policy](Upgrades) allows is offered anew as `Connection: upgrade` and the
//!    accepted protocols, never `h2c`, `h2` or `HTTP`; the offer is remembered. A 101 is stripped like any
//!    response and rebuilt if it names what was offered, and is a 502 otherwise (RFC 9110 section 7.8).
//! 7. Several `Cookie` lines of HTTP/2 become one in HTTP/1 (RFC 9113 section 8.2.3). Connection-specific
//!    fields in an HTTP/2 request are refused (section 8.2.2).
//! 8. A GET, HEAD or CONNECT request with a body of unknown length keeps `Transfer-Encoding: chunked`:
//!    hyper's HTTP/1 client sends no body for them otherwise.
//! 9. Trailers lose what may not be a trailer (RFC 9110 section 6.5.1) and what the head nominated; an
//!    HTTP/1.0 receiver gets none.
//!
//! A refused message is answered with the status of the [`Rejection`], an empty body
//! (`ResBody: Default`), and the `Rejection` in the response's extensions. The inner service's error type
//! is not touched.
//!
//! # Example: a gateway
//!
//! Strip first, then add: fields that the gateway adds itself belong inside the layer, where no
//! client's nomination reaches them.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_hop_by_hop::{HopByHopBody, HopByHopLayer, MaxForwardsLayer, ViaLayer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # type Body = http_body_util::Full<bytes::Bytes>;
//! let gateway = ServiceBuilder::new()
//!     .layer(MaxForwardsLayer::new())
//!     .layer(HopByHopLayer::gateway())
//!     .layer(ViaLayer::new("gateway").unwrap())
//!     .service(service_fn(async |request: Request<HopByHopBody<Body>>| {
//!         // Sent to an upstream, which sees:
//!         assert!(!request.headers().contains_key("x-trace"));
//!         assert_eq!(request.headers()["te"], "trailers");
//!         assert_eq!(request.headers()["connection"], "te");
//!         assert_eq!(request.headers()["via"], "1.1 gateway");
//!         Response::builder().header("connection", "close").body(Body::default())
//!     }));
//!
//! let request = Request::builder()
//!     .header("connection", "close, TE, X-Trace")
//!     .header("te", "gzip, trailers")
//!     .header("x-trace", "1")
//!     .body(Body::default())
//!     .unwrap();
//! let response = gateway.oneshot(request).await.unwrap();
//! assert!(!response.headers().contains_key("connection"));
//! # }
//! ```
//!
//! # Example: around a client
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_hop_by_hop::StripResponseLayer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! # let client = service_fn(async |_: Request<Body>| {
//! #     Response::builder().header("keep-alive", "timeout=5").body(Body::new())
//! # });
//! let client = ServiceBuilder::new().layer(StripResponseLayer::gateway()).service(client);
//! let response = client.oneshot(Request::new(Body::new())).await.unwrap();
//! assert!(response.headers().is_empty());
//! # }
//! ```
//!
//! # Where it goes
//!
//! Outermost first: keep-alive, `MaxForwardsLayer`, `HopByHopLayer`, `ViaLayer`, fields of your own,
//! client. Outside it: what speaks about the *client's* connection (`Connection: close`, `Keep-Alive`) and
//! what authenticates proxy users. A field of your own that has to be added outside must be
//! [protected](Policy::protect).
//!
//! The inner service receives [`HopByHopBody<B>`] and the layer answers with `HopByHopBody<ResBody>`: one
//! type for every message, as cheap as the body inside it, which filters trailers.
//!
//! A layer cannot see which version a pooled client will speak. With an HTTP/2 upstream say so by
//! [`Policy::outbound`], since hyper's HTTP/2 encoder takes `Connection: te` for a nomination and drops
//! `TE`.
//!
//! # Observation
//!
//! [`HopByHopLayer::on_strip`] takes a [hook](OnStrip) that sees each message which was changed or
//! refused. A [`StripReport`] is put into the extensions of a request or response only if its sender
//! nominated something of its own or something protected, so that an ordinary message allocates nothing.
//! Names are reported, values never.
//!
//! # Differences from alternatives
//!
//! - Removing a fixed list of names misses the fields that `Connection` nominates, breaks gRPC (`TE`) and
//!   trailers (`Trailer`), and breaks WebSocket or leaves it unchecked (`Upgrade`).
//! - [hyper](https://docs.rs/hyper) strips only what it encodes for HTTP/2, by the first `Connection`
//!   line, and only if that line is ASCII.
//! - [`axum-reverse-proxy`](https://docs.rs/axum-reverse-proxy) has a layer for axum bodies (deprecated since
//!   its version 2), which reads one `Connection` line, boxes its future, and drops trailers.
//! - Go's `ReverseProxy` honours every nomination, and forwards 1xx and 101 unstripped.
//!
//! # Deviations
//!
//! From RFC 9110 section 7.6.1, on purpose: options that name protected fields are not honoured
//! ([`Policy::rfc_literal`] honours them); a lone `TE: trailers` without its option is honoured, since
//! deployed clients leave the option out.
//!
//! The crate is tested by 105 recorded cases of what proxies do and reports demand. All of them come out
//! of the pure functions as recorded. Through the layers two kinds cannot: a malformed HTTP/2 request is a
//! 400 and not a stream error, and an interim response that the client may not have is a 502 and not
//! dropped, since to a service it is the only response. hyper lets neither come so far.
//!
//! # Caveats
//!
//! - Interim responses (1xx) do not pass through services: filter them with [`strip_interim`].
//! - An upgrade from HTTP/2 (extended CONNECT) is not translated to an HTTP/1.1 upgrade.
//! - Trailers that an HTTP/2 upstream does not announce do not reach an HTTP/1 client: hyper sends only
//!   announced ones, and only if the client sent `TE: trailers`.
//! - Hooks are not told about trailers.
//! - A 407 whose challenge is stripped is still a 407.
//! - The order among *different* names may change, as whenever a `HeaderMap` loses a name.
//! - A nomination costs allocations: the names are kept for the trailers and for the report.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `tracing` | `TracingHook`, which logs names and counts | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod error;
mod fields;
mod future;
mod layer;
mod max_forwards;
mod nominations;
mod observe;
mod policy;
mod rejection;
mod report;
mod request;
mod response;
mod service;
mod trailers;
mod upgrade;
mod via;

pub use self::body::HopByHopBody;
pub use self::error::ConfigError;
pub use self::fields::FieldSet;
pub use self::future::{RequestFuture, ResponseFuture};
pub use self::layer::{HopByHopLayer, StripRequestLayer, StripResponseLayer};
pub use self::max_forwards::{
    Forwarding, MaxForwards, MaxForwardsFuture, MaxForwardsLayer, count_forward, trace_echo,
};
pub use self::nominations::Nominations;
#[cfg(feature = "tracing")]
pub use self::observe::TracingHook;
pub use self::observe::{OnStrip, StripEvent};
pub use self::policy::{
    MalformedOptions, Policy, ProtectedNames, ProxyAuth, Te, Trailers, TransferCodings, Upgrades,
};
pub use self::rejection::{Message, RejectReason, Rejection};
pub use self::report::StripReport;
pub use self::request::{Stripped, strip_request};
pub use self::response::{RequestContext, strip_interim, strip_response};
pub use self::service::{HopByHop, StripRequest, StripResponse};
pub use self::trailers::strip_trailers;
pub use self::upgrade::UpgradeOffer;
pub use self::via::{
    LoopGuard, LoopGuardFuture, LoopGuardLayer, Via, ViaEntry, ViaFuture, ViaLayer,
};

//! Sends a request where it says, and turns failures into responses.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body as ProxyBody;
use bytes::Bytes;
use http::header::{HOST, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tower::{Layer, ServiceExt};
use tower_conn_pool::{Origin, Pool, PoolError, PoolErrorKind, connector};
use tower_idempotent_retry::{ReplayBody, Retry, RetryError, RetryLayer};

use crate::args::{Args, Ports};
use crate::limit::Limit;
use crate::tunnel;

type BoxError = Box<dyn Error + Send + Sync>;

/// The handler at the inside of the stack.
pub(crate) struct Forward<B> {
    client: Retry<Pool<HttpConnector, ReplayBody<B>>>,
    ports: Ports,
    connect_timeout: Limit,
}

impl<B> Forward<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(crate) fn new(args: &Args) -> Arc<Self> {
        let pool = Pool::builder()
            .max_per_origin(args.origin_connections)
            .idle_timeout(args.origin_idle_timeout.0)
            .connect_timeout(args.connect_timeout.0)
            .build(connector());
        let mut retry =
            RetryLayer::proxy().max_attempts(NonZeroU32::MIN.saturating_add(args.retries));
        if let Some(limit) = args.request_timeout.0 {
            retry = retry.total_timeout(limit);
        }
        Arc::new(Self {
            client: retry.layer(pool),
            ports: args.connect_ports.clone(),
            connect_timeout: args.connect_timeout,
        })
    }

    pub(crate) async fn call(&self, request: Request<B>) -> Response<ProxyBody> {
        if request.method() == Method::CONNECT {
            return self.connect(request).await;
        }
        match request.uri().scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => self.forward(request).await,
            Some(_) => plain(
                StatusCode::NOT_IMPLEMENTED,
                "this proxy fetches http URIs; for https ask for a tunnel with CONNECT",
            ),
            None => plain(
                StatusCode::BAD_REQUEST,
                "this is a proxy: the request target has to be an absolute URI",
            ),
        }
    }

    /// Opens a tunnel (RFC 9110 section 9.3.6).
    async fn connect(&self, mut request: Request<B>) -> Response<ProxyBody> {
        let Some((target, port)) = destination(&request) else {
            return plain(
                StatusCode::BAD_REQUEST,
                "the target of CONNECT has to be HOST:PORT",
            );
        };
        if !self.ports.allow(port) {
            return plain(
                StatusCode::FORBIDDEN,
                "this proxy makes no tunnels to that port",
            );
        }
        match tunnel::connect(&target, port, self.connect_timeout.0).await {
            Ok(stream) => {
                let client = hyper::upgrade::on(&mut request);
                tunnel::join(client, async move { Some(stream) });
                Response::default()
            }
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => plain(
                StatusCode::GATEWAY_TIMEOUT,
                &format!("{target} could not be reached in time"),
            ),
            Err(error) => plain(
                StatusCode::BAD_GATEWAY,
                &format!("{target} could not be reached: {error}"),
            ),
        }
    }

    async fn forward(&self, mut request: Request<B>) -> Response<ProxyBody> {
        let Some(origin) = Origin::of(request.uri()) else {
            return plain(StatusCode::BAD_REQUEST, "the request target has no host");
        };
        // RFC 9112 section 3.2.2: what the target says replaces Host.
        match HeaderValue::from_str(origin.authority().as_str()) {
            Ok(host) => request.headers_mut().insert(HOST, host),
            Err(_) => return plain(StatusCode::BAD_REQUEST, "the host is not valid"),
        };
        let client_upgrade = request
            .headers()
            .contains_key(UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        request.extensions_mut().clear();
        *request.version_mut() = Version::HTTP_11;
        match self.client.clone().oneshot(request).await {
            Ok(mut response) => {
                if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) =
                    (response.status(), client_upgrade)
                {
                    let far = hyper::upgrade::on(&mut response);
                    tunnel::join(client, async { far.await.ok().map(TokioIo::new) });
                }
                response.map(ProxyBody::new)
            }
            Err(error) => failed(&origin, &*error),
        }
    }
}

/// The host and the port of a CONNECT request, which has no default for the latter.
fn destination<B>(request: &Request<B>) -> Option<(Authority, u16)> {
    let authority = request.uri().authority()?;
    let port = authority.port_u16().filter(|port| *port > 0)?;
    (!authority.host().is_empty() && !authority.as_str().contains('@'))
        .then(|| (authority.clone(), port))
}

/// The response for a request that got none.
fn failed(origin: &Origin, error: &(dyn Error + 'static)) -> Response<ProxyBody> {
    let kind = find::<PoolError>(error).map(PoolError::kind);
    let timed_out = find::<RetryError>(error).is_some_and(RetryError::is_timeout);
    match kind {
        Some(PoolErrorKind::ConnectTimeout) => plain(
            StatusCode::GATEWAY_TIMEOUT,
            &format!("{origin} could not be reached in time"),
        ),
        _ if timed_out => plain(
            StatusCode::GATEWAY_TIMEOUT,
            &format!("{origin} did not answer in time"),
        ),
        Some(PoolErrorKind::Connect) => plain(
            StatusCode::BAD_GATEWAY,
            &format!("{origin} could not be reached"),
        ),
        Some(PoolErrorKind::PortsExhausted | PoolErrorKind::QueueFull) => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("there are too many connections to {origin}"),
        ),
        _ => plain(
            StatusCode::BAD_GATEWAY,
            &format!("{origin} failed before it answered"),
        ),
    }
}

/// The first error of this type among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error
        .downcast_ref()
        .or_else(|| error.source().and_then(find))
}

/// A response of the proxy's own, with a reason in plain text.
fn plain(status: StatusCode, reason: &str) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::from(format!("{reason}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

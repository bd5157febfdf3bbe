//! Sends a request to the upstream and turns failures into 502 and 504.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::{LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::util::Oneshot;
use tower::{Layer, ServiceExt};
use tower_conn_pool::{Pool, PoolError, Protocol, Stats, connector};
use tower_idempotent_retry::{DefaultClassify, ReplayBody, Retry, RetryError, RetryLayer};

use crate::admin::{Note, NoteLayer, Watch};
use crate::args::Args;
use crate::body::{GatewayBody, plain};
use crate::tunnel;

type BoxError = Box<dyn Error + Send + Sync>;

/// The largest request body that is kept in case it must be sent again.
const REPLAYABLE: usize = 256 * 1024;

/// Where requests go, and in which protocol.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    authority: Authority,
    protocol: Protocol,
}

impl Upstream {
    pub(crate) fn at(addr: SocketAddr) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self {
            authority: addr.to_string().parse()?,
            protocol: Protocol::Auto,
        })
    }

    fn is_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// The version of the requests that it is sent.
    pub(crate) fn version(&self) -> Version {
        if self.is_http2() {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        }
    }

    /// The URI at the upstream of a request target.
    fn uri(&self, target: &Uri) -> Result<Uri, http::uri::InvalidUriParts> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(
            target
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        );
        Uri::from_parts(parts)
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        match (
            uri.scheme_str(),
            uri.authority(),
            uri.path_and_query().map_or("/", |p| p.as_str()),
        ) {
            (Some(scheme @ ("http" | "h2c")), Some(authority), "/")
                if !authority.as_str().ends_with(':') =>
            {
                Ok(Self {
                    authority: authority.clone(),
                    protocol: if scheme == "h2c" {
                        Protocol::Http2
                    } else {
                        Protocol::Auto
                    },
                })
            }
            _ => Err("expected http://HOST:PORT or h2c://HOST:PORT".to_owned()),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_http2() { "h2c" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

type UpstreamPool<B> = Pool<HttpConnector, ReplayBody<Limited<B>>, Watch>;

type Client<B> = Retry<Note<UpstreamPool<B>>, DefaultClassify, Watch>;

type Sent<B> = (
    Pin<Box<Oneshot<Client<B>, Request<Limited<B>>>>>,
    Option<OnUpgrade>,
);

/// The handler at the inside of the gateway's stack.
pub(crate) struct Forward<B> {
    client: Client<B>,
    upstream: Upstream,
    max_body: Option<u64>,
}

impl<B> Forward<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(crate) fn new(args: &Args, upstream: Upstream, watch: &Watch) -> Arc<Self> {
        let max = NonZeroUsize::new(args.upstream_connections).unwrap_or(NonZeroUsize::MAX);
        let depth = NonZeroUsize::new(args.pipeline_depth).unwrap_or(NonZeroUsize::MIN);
        let mut pool = Pool::builder()
            .pipeline_depth(depth)
            .max_per_origin(max)
            .max_total(max)
            .max_idle_per_origin(max)
            .max_idle(max)
            .idle_timeout(args.upstream_idle_timeout.0)
            .protocol(upstream.protocol)
            .observer(watch.clone());
        let mut retry = RetryLayer::proxy()
            .observe(watch.clone())
            .body_limit(REPLAYABLE)
            .max_attempts(NonZeroU32::MIN.saturating_add(args.retries));
        if let Some(limit) = args.request_timeout.0 {
            retry = retry.total_timeout(limit);
        }
        if let Some(limit) = args.attempt_timeout.0 {
            retry = retry.attempt_timeout(limit);
        }
        if let Some(board) = watch.get() {
            pool = pool
                .on_exchange(watch.clone())
                .port_budget(board.ports.clone());
            retry = retry.shared_budget(board.budget.clone());
        }
        let pool = NoteLayer::new(watch.clone()).layer(pool.build(connector()));
        Arc::new(Self {
            client: retry.layer(pool),
            upstream,
            max_body: (args.max_body > 0).then_some(args.max_body),
        })
    }

    /// How the pool of upstream connections is doing.
    pub(crate) fn stats(&self) -> Stats {
        self.client.get_ref().get_ref().stats()
    }

    /// Sends the request at once; the future is that of the response, and small: it moves through
    /// every layer outside.
    pub(crate) fn call(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<GatewayBody>> + use<B> {
        let sent = self.send(request);
        async move {
            let (sending, client_upgrade) = match sent {
                Ok(sent) => sent,
                Err(response) => return *response,
            };
            match sending.await {
                Ok(mut response) => {
                    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) =
                        (response.status(), client_upgrade)
                    {
                        tunnel::join(client, &mut response);
                    }
                    response.map(GatewayBody::from)
                }
                Err(error) => failed(&*error),
            }
        }
    }

    /// The exchange with the upstream and the client's side of an upgrade, or the answer that needs no
    /// upstream.
    fn send(&self, mut request: Request<B>) -> Result<Sent<B>, Box<Response<GatewayBody>>> {
        if request.method() == Method::CONNECT {
            return Err(Box::new(plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "this gateway makes no tunnels",
            )));
        }
        if self
            .max_body
            .is_some_and(|max| request.body().size_hint().lower() > max)
        {
            return Err(Box::new(too_large()));
        }
        let client_upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let request = self
            .outbound(request)
            .map_err(|error| plain(StatusCode::BAD_REQUEST, &error.to_string()))?;
        Ok((
            Box::pin(self.client.clone().oneshot(request)),
            client_upgrade,
        ))
    }

    /// The request as it goes to the upstream: its URI, its Host, its version.
    fn outbound(&self, request: Request<B>) -> Result<Request<Limited<B>>, BoxError> {
        let (mut parts, body) = request.into_parts();
        if self.upstream.is_http2() {
            // RFC 9113 section 8.3.1: what :authority says is the Host, and here it is the upstream's.
            parts.headers.remove(header::HOST);
        } else if let Some(authority) = parts.uri.authority() {
            // RFC 9112 section 3.2.2: the authority of an absolute target, or of HTTP/2, is the Host.
            let host = HeaderValue::from_str(authority.as_str())?;
            parts.headers.insert(header::HOST, host);
        }
        parts.uri = self.upstream.uri(&parts.uri)?;
        parts.version = self.upstream.version();
        parts.extensions = http::Extensions::new();
        let limit = self
            .max_body
            .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        Ok(Request::from_parts(parts, Limited::new(body, limit)))
    }
}

fn too_large() -> Response<GatewayBody> {
    plain(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the request body is larger than this gateway takes",
    )
}

/// The response for a request that got none from the upstream.
fn failed(error: &(dyn Error + 'static)) -> Response<GatewayBody> {
    if find::<LengthLimitError>(error).is_some() {
        too_large()
    } else if find::<RetryError>(error).is_some_and(RetryError::is_timeout) {
        plain(
            StatusCode::GATEWAY_TIMEOUT,
            "the upstream did not answer in time",
        )
    } else if find::<PoolError>(error).is_some_and(PoolError::is_connect) {
        plain(StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
    } else {
        plain(
            StatusCode::BAD_GATEWAY,
            "the upstream failed before it answered",
        )
    }
}

/// The first error of this type among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error
        .downcast_ref()
        .or_else(|| error.source().and_then(find))
}

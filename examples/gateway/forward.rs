//! Sends a request to the upstream and turns failures into 502 and 504.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::{LengthLimitError, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt;
use tower_conn_pool::{Pool, PoolError, connector};

use crate::args::Args;
use crate::body::{GatewayBody, plain};
use crate::tunnel;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Upstream(Authority);

impl Upstream {
    pub(crate) fn at(addr: SocketAddr) -> Result<Self, http::uri::InvalidUri> {
        addr.to_string().parse().map(Self)
    }

    /// The URI at the upstream of a request target.
    fn uri(&self, target: &Uri) -> Result<Uri, http::uri::InvalidUriParts> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.0.clone());
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
            (Some("http"), Some(authority), "/") => Ok(Self(authority.clone())),
            _ => Err("expected http://HOST:PORT".to_owned()),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// The handler at the inside of the gateway's stack.
pub(crate) struct Forward<B> {
    pool: Pool<HttpConnector, Limited<B>>,
    upstream: Upstream,
    max_body: Option<u64>,
    timeout: Option<Duration>,
}

impl<B> Forward<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(crate) fn new(args: &Args, upstream: Upstream) -> Arc<Self> {
        let mut pool = Pool::builder().idle_timeout(args.upstream_idle_timeout.0);
        if let Some(max) = NonZeroUsize::new(args.upstream_connections) {
            pool = pool.max_per_origin(max);
        }
        Arc::new(Self {
            pool: pool.build(connector()),
            upstream,
            max_body: (args.max_body > 0).then_some(args.max_body),
            timeout: args.request_timeout.0,
        })
    }

    pub(crate) async fn call(&self, mut request: Request<B>) -> Response<GatewayBody> {
        if request.method() == Method::CONNECT {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "this gateway makes no tunnels",
            );
        }
        if self
            .max_body
            .is_some_and(|max| request.body().size_hint().lower() > max)
        {
            return too_large();
        }
        let client_upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let request = match self.outbound(request) {
            Ok(request) => request,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let sent = self.pool.clone().oneshot(request);
        let result = match self.timeout {
            Some(limit) => match tokio::time::timeout(limit, sent).await {
                Ok(result) => result,
                Err(_) => {
                    return plain(
                        StatusCode::GATEWAY_TIMEOUT,
                        "the upstream did not answer in time",
                    );
                }
            },
            None => sent.await,
        };
        match result {
            Ok(mut response) => {
                if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) =
                    (response.status(), client_upgrade)
                {
                    tunnel::join(client, &mut response);
                }
                response.map(GatewayBody::from)
            }
            Err(error) if is_too_large(&error) => too_large(),
            Err(error) if PoolError::is_connect(&error) => {
                plain(StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
            }
            Err(_) => plain(
                StatusCode::BAD_GATEWAY,
                "the upstream failed before it answered",
            ),
        }
    }

    /// The request as it goes to the upstream: its URI, its Host, HTTP/1.1.
    fn outbound(&self, request: Request<B>) -> Result<Request<Limited<B>>, BoxError> {
        let (mut parts, body) = request.into_parts();
        // RFC 9112 section 3.2.2: the authority of an absolute target, or of HTTP/2, is the Host.
        if let Some(authority) = parts.uri.authority() {
            let host = HeaderValue::from_str(authority.as_str())?;
            parts.headers.insert(header::HOST, host);
        }
        parts.uri = self.upstream.uri(&parts.uri)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
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

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_large)
}

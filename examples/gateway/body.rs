//! The response body of the gateway: the upstream's, or a few words of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower_conn_pool::{PoolBody, PoolError};
use tower_idempotent_retry::ResponseBody;

/// A body from the pool, through the retry layer.
pub(crate) type UpstreamBody = ResponseBody<PoolBody>;

pin_project_lite::pin_project! {
    #[project = BodyProj]
    pub(crate) enum GatewayBody {
        Own { #[pin] body: Full<Bytes> },
        Upstream { #[pin] body: UpstreamBody },
    }
}

impl Default for GatewayBody {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for GatewayBody {
    fn from(bytes: Bytes) -> Self {
        Self::Own {
            body: Full::new(bytes),
        }
    }
}

impl From<UpstreamBody> for GatewayBody {
    fn from(body: UpstreamBody) -> Self {
        Self::Upstream { body }
    }
}

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = PoolError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PoolError>>> {
        match self.project() {
            BodyProj::Own { body } => body.poll_frame(cx).map_err(|never| match never {}),
            BodyProj::Upstream { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { body } => body.is_end_stream(),
            Self::Upstream { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { body } => body.size_hint(),
            Self::Upstream { body } => body.size_hint(),
        }
    }
}

/// A response of the gateway's own, with a short reason in plain text.
pub(crate) fn plain(status: StatusCode, reason: &str) -> Response<GatewayBody> {
    let mut response = Response::new(Bytes::from(format!("{reason}\n")).into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tower_layer::Layer;

use super::MaxForwards;

/// Counts `Max-Forwards` down, and answers where it has reached 0.
///
/// Only OPTIONS and TRACE are counted; the field of any other request passes unchanged. At 0:
///
/// - OPTIONS gets 200 without content, and `Allow` if one is [given](Self::allow).
/// - TRACE gets 200 with the request as `message/http`, without what could be a secret (see
///   [`trace_echo`](crate::trace_echo)), or 405 if [TRACE is off](Self::trace).
/// - A field that is not one decimal number gets 400.
///
/// The inner service's response body has to be constructible from `Bytes`, as `axum::body::Body`,
/// `http_body_util::Full<Bytes>` and [`HopByHopBody`](crate::HopByHopBody) over them are.
///
/// ```
/// use bytes::Bytes;
/// use http::{Method, Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_hop_by_hop::MaxForwardsLayer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(MaxForwardsLayer::new())
///     .service(service_fn(async |_: Request<()>| {
///         Ok::<_, std::convert::Infallible>(Response::<Full<Bytes>>::default())
///     }));
/// let request = Request::builder()
///     .method(Method::TRACE)
///     .uri("/x")
///     .header("max-forwards", "0")
///     .header("authorization", "Basic secret")
///     .body(())
///     .unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// assert_eq!(response.status(), StatusCode::OK);
/// assert_eq!(response.headers()["content-type"], "message/http");
/// # use http_body_util::BodyExt;
/// let echo = response.into_body().collect().await.unwrap().to_bytes();
/// assert_eq!(echo, "TRACE /x HTTP/1.1\r\nmax-forwards: 0\r\n\r\n");
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MaxForwardsLayer {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) max: Option<u64>,
    pub(super) trace: bool,
    pub(super) hidden: Vec<HeaderName>,
    pub(super) allow: Option<HeaderValue>,
}

impl MaxForwardsLayer {
    /// No maximum of its own, TRACE on.
    pub fn new() -> Self {
        Self {
            rules: Arc::new(Rules {
                max: None,
                trace: true,
                hidden: Vec::new(),
                allow: None,
            }),
        }
    }

    /// The largest value that is forwarded: larger ones are lowered to it. Default: none.
    pub fn max(mut self, max: u64) -> Self {
        Arc::make_mut(&mut self.rules).max = Some(max);
        self
    }

    /// Whether TRACE is answered with the request. Default: yes.
    pub fn trace(mut self, echo: bool) -> Self {
        Arc::make_mut(&mut self.rules).trace = echo;
        self
    }

    /// Leaves one more field out of the answer to TRACE.
    pub fn hide(mut self, name: HeaderName) -> Self {
        Arc::make_mut(&mut self.rules).hidden.push(name);
        self
    }

    /// The value of `Allow` in answers to OPTIONS. Default: none is sent.
    pub fn allow(mut self, methods: HeaderValue) -> Self {
        Arc::make_mut(&mut self.rules).allow = Some(methods);
        self
    }
}

impl Default for MaxForwardsLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for MaxForwardsLayer {
    type Service = MaxForwards<S>;

    fn layer(&self, inner: S) -> MaxForwards<S> {
        MaxForwards::new(inner, Arc::clone(&self.rules))
    }
}

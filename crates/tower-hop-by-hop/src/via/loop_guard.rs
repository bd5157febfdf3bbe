use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::ViaEntry;
use crate::error::ConfigError;

/// Answers requests that have been here before with 508 (Loop Detected), by the entries in `Via`.
///
/// An intermediary must not forward to itself (RFC 9110 section 7.6), and a chain that leads back to
/// its beginning would go round until every hop has run out of connections. `Via` is meant for
/// telling (section 7.6.3): a request that names this hop has passed it. Intermediaries that share a
/// name are one to this layer; where they may stand in a row, [let a request pass](Self::passes)
/// as often as there are.
///
/// Put it outside of [`ViaLayer`](crate::ViaLayer), with the same name, and inside
/// [`HopByHopLayer`](crate::HopByHopLayer). The 508 is registered by RFC 5842 section 7.2; its body is the
/// default one of the response body type.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_hop_by_hop::{LoopGuardLayer, ViaLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(LoopGuardLayer::new("edge").unwrap())
///     .layer(ViaLayer::new("edge").unwrap())
///     .service(service_fn(async |_: Request<()>| {
///         Ok::<_, std::convert::Infallible>(Response::new(()))
///     }));
/// let request = Request::builder().header("via", "1.1 edge, 1.1 other").body(()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LoopGuardLayer {
    entry: Arc<ViaEntry>,
    passes: NonZeroUsize,
}

impl LoopGuardLayer {
    /// A request passes the hop of this name once.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidPseudonym`] if it is neither a pseudonym nor `host[:port]`.
    pub fn new(received_by: &str) -> Result<Self, ConfigError> {
        ViaEntry::new(received_by).map(Self::from)
    }

    /// How often a request may pass. Default: once.
    pub const fn passes(mut self, passes: NonZeroUsize) -> Self {
        self.passes = passes;
        self
    }
}

impl From<ViaEntry> for LoopGuardLayer {
    fn from(entry: ViaEntry) -> Self {
        Self {
            entry: Arc::new(entry),
            passes: NonZeroUsize::MIN,
        }
    }
}

impl<S> Layer<S> for LoopGuardLayer {
    type Service = LoopGuard<S>;

    fn layer(&self, inner: S) -> LoopGuard<S> {
        LoopGuard {
            inner,
            entry: Arc::clone(&self.entry),
            passes: self.passes,
        }
    }
}

/// The service of [`LoopGuardLayer`].
#[derive(Clone, Debug)]
pub struct LoopGuard<S> {
    inner: S,
    entry: Arc<ViaEntry>,
    passes: NonZeroUsize,
}

pin_project! {
    /// The response of [`LoopGuard`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct LoopGuardFuture<F> {
        // Without one, the request has been here before.
        #[pin]
        forwarded: Option<F>,
    }
}

// ===== impl LoopGuard =====

impl<S> LoopGuard<S> {
    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for LoopGuard<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = LoopGuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let passed = self.entry.count_in(request.headers());
        LoopGuardFuture {
            forwarded: (passed < self.passes.get()).then(|| self.inner.call(request)),
        }
    }
}

// ===== impl LoopGuardFuture =====

impl<F, B, E> Future for LoopGuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().forwarded.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => {
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::LOOP_DETECTED;
                Poll::Ready(Ok(response))
            }
        }
    }
}

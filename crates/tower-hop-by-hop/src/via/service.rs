use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::ViaEntry;

/// The service of [`ViaLayer`](super::ViaLayer).
#[derive(Clone, Debug)]
pub struct Via<S> {
    inner: S,
    entry: Arc<ViaEntry>,
    responses: bool,
}

pin_project! {
    /// The response of [`Via`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ViaFuture<F> {
        #[pin]
        inner: F,
        entry: Option<Arc<ViaEntry>>,
    }
}

// ===== impl Via =====

impl<S> Via<S> {
    pub(super) fn new(inner: S, entry: ViaEntry, responses: bool) -> Self {
        Self {
            inner,
            entry: Arc::new(entry),
            responses,
        }
    }

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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Via<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ViaFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let received = request.version();
        self.entry.add_to(request.headers_mut(), received);
        ViaFuture {
            inner: self.inner.call(request),
            entry: self.responses.then(|| Arc::clone(&self.entry)),
        }
    }
}

// ===== impl ViaFuture =====

impl<F, B, E> Future for ViaFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(entry) = this.entry.take() {
            let received = response.version();
            entry.add_to(response.headers_mut(), received);
        }
        Poll::Ready(Ok(response))
    }
}

//! The service of one connection.

use std::any::Any;
use std::task::{Context, Poll, ready};

use http::{Request, Response, Version};
use http_body::Body;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::future::{Oneshot, ResponseFuture};
use super::handle::{AheadCall, Dispatched, Handle, InFlight};

/// Runs pipelined safe requests of one connection in parallel; see the [crate docs](crate).
///
/// The inner service is called with a [`RequestBody`]: what the server received, or nothing, for a
/// call that runs ahead of its turn.
#[derive(Debug)]
pub struct PipelineGuard<S> {
    inner: S,
    handle: Handle,
    /// `inner` has said that it is ready, and has not been called since.
    ready: bool,
}

impl<S> PipelineGuard<S> {
    pub(super) const fn new(inner: S, handle: Handle) -> Self {
        Self {
            inner,
            handle,
            ready: false,
        }
    }

    /// The wrapped service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> Clone for PipelineGuard<S> {
    fn clone(&self) -> Self {
        // Readiness is this clone's own.
        Self::new(self.inner.clone(), self.handle.clone())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for PipelineGuard<S>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqBody: Body + Send + 'static,
    ResBody: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A call that runs ahead may be what the inner service waits for.
        if !self.ready && !self.handle.has_calls() {
            ready!(self.inner.poll_ready(cx))?;
            self.ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if request.version() >= Version::HTTP_2 {
            self.handle.not_http1();
            return self.run(request, None);
        }
        if self.handle.wants_starter() {
            let inner = self.inner.clone();
            self.handle
                .provide_starter(Box::new(move |head: Request<()>| {
                    let request = head.map(|()| RequestBody::empty());
                    Box::new(Call::new(Oneshot::new(inner.clone(), request)))
                }));
        }
        let has_body = !request.body().is_end_stream();
        let Dispatched { ahead, last } = self.handle.dispatch(&request, has_body);
        let flight = InFlight(self.handle.clone());
        let version = request.version();
        let future = match ahead.map(|call| {
            call.into_any()
                .downcast::<Call<Oneshot<S, Request<RequestBody<ReqBody>>>>>()
        }) {
            Some(Ok(call)) => ResponseFuture::ahead(*call, flight),
            // One service, one type of call.
            Some(Err(_)) | None => self.run(request, Some(flight)),
        };
        if last { future.last(version) } else { future }
    }
}

impl<S> PipelineGuard<S> {
    fn run<B>(&mut self, request: Request<B>, flight: Option<InFlight>) -> ResponseFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>> + Clone,
    {
        let request = request.map(RequestBody::received);
        if std::mem::take(&mut self.ready) {
            ResponseFuture::direct(self.inner.call(request), flight)
        } else {
            ResponseFuture::oneshot(Oneshot::new(self.inner.clone(), request), flight)
        }
    }
}

/// A call that runs ahead, and its outcome until it is asked for.
#[derive(Debug)]
pub(super) struct Call<F: Future> {
    pub(super) future: std::pin::Pin<Box<F>>,
    pub(super) output: Option<F::Output>,
}

impl<F: Future> Call<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            output: None,
        }
    }
}

impl<F> AheadCall for Call<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.is_none() {
            if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
                self.output = Some(output);
            }
        }
        self.output.is_some()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

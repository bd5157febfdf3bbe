//! An inner service that catches misuse, and a handle that steers and watches it.
//!
//! A [`ProbeService`] panics when it is called without a preceding `Ready(Ok)`, or twice on one; its clones start
//! unready. Its readiness and its answers are set at any time through the [`ServiceProbe`].
//!
//! Nothing about it is more comfortable than it must be: its future is `!Unpin`, its default error [`ProbeError`] implements
//! no trait at all, and [`NotClone`] takes `Clone` and `Debug` away.
//!
//! ```
//! use http::{Request, Response};
//! use tower::{Service, ServiceExt};
//! use tower_conn_testkit::service::{Outcome, ProbeService, TestError};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (service, probe) = ProbeService::new(|request: Request<()>| Response::new(request.uri().path().len()));
//!
//! let Ok(response) = service.clone().oneshot(Request::new(())).await else { panic!() };
//! assert_eq!(*response.body(), 1);
//!
//! probe.set_outcome(Outcome::Fail(7));
//! let Err(error) = service.oneshot(Request::new(())).await else { panic!() };
//! assert_eq!(error.id(), 7);
//! assert_eq!(probe.calls(), 2);
//! # }
//! ```

mod error;
mod future;
mod handle;

use std::{
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use self::handle::Shared;
pub use self::{
    error::{NamedError, ProbeError, TestError},
    future::ProbeFuture,
    handle::{Outcome, Readiness, ServiceProbe},
};

/// What a [`ProbeService`] answers with. Implemented for every `Fn(Request<B>) -> Response<R>`; implement
/// it by hand to answer requests of any body type.
pub trait Handler<B> {
    /// The body of the response.
    type Body;

    /// Answers one request.
    fn handle(&self, request: Request<B>) -> Response<Self::Body>;
}

impl<F, B, R> Handler<B> for F
where
    F: Fn(Request<B>) -> Response<R>,
{
    type Body = R;

    fn handle(&self, request: Request<B>) -> Response<R> {
        self(request)
    }
}

/// A service that panics when it is misused. See the [module docs](self).
pub struct ProbeService<H, E = ProbeError> {
    handler: H,
    instance: usize,
    ready: bool,
    shared: Arc<Shared>,
    error: PhantomData<fn() -> E>,
}

// ===== impl ProbeService =====

impl<H> ProbeService<H> {
    /// A ready service that answers with what `handler` returns, and the handle to steer it.
    pub fn new(handler: H) -> (Self, ServiceProbe) {
        Self::failing_with(handler)
    }
}

impl<H, E: TestError> ProbeService<H, E> {
    /// [`ProbeService::new`] with an error type of choice, for layers that must look into errors.
    pub fn failing_with(handler: H) -> (Self, ServiceProbe) {
        let shared = Arc::new(Shared::default());
        let service = Self {
            handler,
            instance: shared.instance(),
            ready: false,
            shared: Arc::clone(&shared),
            error: PhantomData,
        };
        (service, ServiceProbe(shared))
    }
}

impl<H: Clone, E> Clone for ProbeService<H, E> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            instance: self.shared.instance(),
            // Readiness belongs to one instance.
            ready: false,
            shared: Arc::clone(&self.shared),
            error: PhantomData,
        }
    }
}

impl<H, B, E> Service<Request<B>> for ProbeService<H, E>
where
    H: Handler<B>,
    E: TestError,
{
    type Response = Response<H::Body>;
    type Error = E;
    type Future = ProbeFuture<H::Body, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        match self
            .shared
            .poll_ready(self.instance, self.ready, cx.waker())
        {
            Readiness::Ready => {
                self.ready = true;
                Poll::Ready(Ok(()))
            }
            Readiness::Pending => Poll::Pending,
            Readiness::Fail(id) => {
                self.ready = false;
                Poll::Ready(Err(E::new(id)))
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(
            self.ready,
            "the inner service was called without its readiness: instance {} was {}",
            self.instance,
            self.shared.history(self.instance),
        );
        self.ready = false;
        let outcome = self.shared.call(self.instance);
        ProbeFuture::new(
            self.handler.handle(request),
            outcome,
            Arc::clone(&self.shared),
        )
    }
}

impl<H, E> std::fmt::Debug for ProbeService<H, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeService")
            .field("instance", &self.instance)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// A service without `Clone` and without `Debug`, around any other.
#[expect(missing_debug_implementations, reason = "that is its purpose")]
pub struct NotClone<S>(S);

impl<S> NotClone<S> {
    /// Takes `Clone` and `Debug` away from a service.
    pub fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S, R> Service<R> for NotClone<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

//! A connection service that becomes unready when it should not be reused.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Lifetime, RequestFacts, ReusePolicy};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection service that fails its readiness with [`Expired`] once the connection should not be
/// reused: past the server's hint, its ceiling, its age or its uses, or after a response that ends it.
///
/// A pool that drops a service which is not ready, as `hyper_util::client::pool::cache` does, drops
/// the connection with it. See the [crate docs](crate#client) for an example.
///
/// The error is boxed, because readiness can fail here in a way that the inner service does not know;
/// errors of the inner service are passed on in the box.
pub struct Expiring<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    policy: ReusePolicy,
    lifetime: Mutex<Lifetime>,
}

impl<S> Expiring<S> {
    /// Wraps the service of a connection that has just been opened.
    pub fn new(inner: S, policy: ReusePolicy) -> Self {
        let lifetime = Mutex::new(Lifetime::new(Instant::now()));
        let shared = Arc::new(Shared { policy, lifetime });
        Self { inner, shared }
    }

    /// Why the connection should not be reused; `None` while it may be. For sweeps over idle
    /// connections, such as `Cache::retain`.
    #[must_use]
    pub fn expired(&self) -> Option<CloseReason> {
        self.shared.expired()
    }

    /// Takes the connection out of use.
    pub fn retire(&self, reason: CloseReason) {
        self.shared.lifetime().retire(reason);
    }

    /// How many requests were sent.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.shared.lifetime().uses()
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
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl Shared {
    fn lifetime(&self) -> MutexGuard<'_, Lifetime> {
        // Nothing panics while it holds the lock.
        self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expired(&self) -> Option<CloseReason> {
        self.lifetime().expired(&self.policy, Instant::now())
    }

    fn check(&self) -> Result<(), Expired> {
        match self.expired() {
            Some(reason) => Err(Expired { reason }),
            None => Ok(()),
        }
    }
}

/// Clones are handles of the same connection.
impl<S: Clone> Clone for Expiring<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Expiring<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiring")
            .field("inner", &self.inner)
            .field("lifetime", &*self.shared.lifetime())
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for Expiring<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ExpiringFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.shared.check()?;
        ready!(self.inner.poll_ready(cx)).map_err(Into::into)?;
        // It may have waited for the end of a response.
        Poll::Ready(self.shared.check().map_err(Into::into))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.shared.lifetime().sent();
        ExpiringFuture {
            request: RequestFacts::of(&request),
            inner: self.inner.call(request),
            shared: Arc::clone(&self.shared),
        }
    }
}

pin_project! {
    /// The future of [`Expiring`].
    pub struct ExpiringFuture<F> {
        #[pin]
        inner: F,
        request: RequestFacts,
        shared: Arc<Shared>,
    }
}

impl<F, R, E> Future for ExpiringFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx)).map_err(Into::into)?;
        let policy = &this.shared.policy;
        this.shared
            .lifetime()
            .received(policy, this.request, &response, Instant::now());
        Poll::Ready(Ok(response))
    }
}

impl<F: fmt::Debug> fmt::Debug for ExpiringFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiringFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The connection should not be reused; see [`Expiring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    reason: CloseReason,
}

impl Expired {
    /// Why.
    #[must_use]
    pub const fn reason(&self) -> CloseReason {
        self.reason
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection is not reused ({})", self.reason)
    }
}

impl std::error::Error for Expired {}

// ===== making =====

/// Wraps each connection that a connector makes in [`Expiring`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ExpiringLayer {
    policy: ReusePolicy,
}

impl ExpiringLayer {
    /// With this policy for each connection.
    pub const fn new(policy: ReusePolicy) -> Self {
        Self { policy }
    }
}

impl<M> Layer<M> for ExpiringLayer {
    type Service = MakeExpiring<M>;

    fn layer(&self, inner: M) -> Self::Service {
        MakeExpiring {
            inner,
            policy: self.policy,
        }
    }
}

/// A connector whose connections are [`Expiring`]; made by [`ExpiringLayer`].
#[derive(Clone, Copy, Debug)]
pub struct MakeExpiring<M> {
    inner: M,
    policy: ReusePolicy,
}

impl<M, Dst> Service<Dst> for MakeExpiring<M>
where
    M: Service<Dst>,
{
    type Response = Expiring<M::Response>;
    type Error = M::Error;
    type Future = MakeExpiringFuture<M::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Dst) -> Self::Future {
        MakeExpiringFuture {
            inner: self.inner.call(target),
            policy: self.policy,
        }
    }
}

pin_project! {
    /// The future of [`MakeExpiring`].
    #[derive(Debug)]
    pub struct MakeExpiringFuture<F> {
        #[pin]
        inner: F,
        policy: ReusePolicy,
    }
}

impl<F, S, E> Future for MakeExpiringFuture<F>
where
    F: Future<Output = Result<S, E>>,
{
    type Output = Result<Expiring<S>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let connection = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(Expiring::new(connection, *this.policy)))
    }
}

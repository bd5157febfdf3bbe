//! The pool as a tower service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection as Transport;
use tower_service::Service;

use crate::error::BoxError;
use crate::exchange::exchange;
use crate::shared::{Shared, Stats};
use crate::{PoolBody, PoolBuilder, PoolError, PoolObserver};

/// A pool of client connections, as a `Service<Request<B>>`.
///
/// See the [crate docs](crate) for what it does and for an example. Clones share their connections;
/// idle ones are closed when the last clone is dropped.
///
/// It is always ready: limits are per origin, so that only the request says whether it has to wait,
/// and it does so in its future. Dropping the future leaves the queue, or, once the request has been
/// sent over HTTP/1.1, closes its connection.
pub struct Pool<C, B, O = ()> {
    shared: Arc<Shared<C, B, O>>,
}

impl<C, B> Pool<C, B>
where
    C: Send + Sync + 'static,
    B: Send + 'static,
{
    /// A pool over this connector with the default limits.
    pub fn new(connector: C) -> Self {
        PoolBuilder::new().build(connector)
    }
}

impl<C, B, O> Pool<C, B, O> {
    pub(crate) fn from_shared(shared: Arc<Shared<C, B, O>>) -> Self {
        Self { shared }
    }

    /// How many connections are open and idle, and how many requests wait.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl Pool<(), ()> {
    /// Options; the same as [`PoolBuilder::new`].
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl<C, B, O> Clone for Pool<C, B, O> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C, B, O> fmt::Debug for Pool<C, B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.shared.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<C, B, O> Service<Request<B>> for Pool<C, B, O>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Transport + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    O: PoolObserver,
{
    type Response = Response<PoolBody>;
    type Error = PoolError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PoolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.shared.note_runtime();
        // One allocation: hyper's own future, which is in there, has no name.
        ResponseFuture {
            inner: Box::pin(exchange(Arc::clone(&self.shared), request)),
        }
    }
}

/// The future of a response.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    inner: Pin<Box<dyn Future<Output = Result<Response<PoolBody>, PoolError>> + Send>>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<PoolBody>, PoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    /// Each request allocates it; above about a kilobyte allocators are slower.
    #[test]
    fn the_future_of_a_request_is_small() {
        let pool: Pool<_, _> = Pool::new(crate::connector());
        let future = exchange(pool.shared, Request::new(Full::<Bytes>::default()));
        let size = size_of_val(&future);
        assert!(size <= 1024, "{size}");
    }
}

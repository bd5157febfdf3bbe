//! The service in front of a pipelined connection.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use tokio::sync::oneshot;
use tower_conn_core::Connection;
use tower_service::Service;

use super::entry::Entry;
use super::state::Shared;
use super::{Cause, Error, ErrorKind, ResponseBody};

/// A connection that carries several requests at once; see the [module docs](super).
///
/// Clones send on the same connection. It is closed when the last one is dropped and everything
/// outstanding has been answered.
pub struct PipelinedConnection<B> {
    shared: Shared<B>,
    id: usize,
    reserved: bool,
}

impl<B> PipelinedConnection<B> {
    pub(super) fn new(shared: Shared<B>) -> Self {
        let id = shared.enter();
        Self {
            shared,
            id,
            reserved: false,
        }
    }

    /// The handle of the connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.shared.connection()
    }

    /// Whether the connection takes no more requests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed.is_some()
    }

    /// How many requests are accepted and not answered completely.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let state = self.shared.lock();
        state.outstanding + state.waiting()
    }

    /// How many requests the connection takes at once now: 1 until it is proven.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.lock().depth
    }

    /// How many more requests that [may share](super::may_share) the connection it takes now; 0 while
    /// something outstanding lets nothing follow, and once it is closed.
    ///
    /// For whoever chooses among connections; [`poll_ready`](Service::poll_ready) is what reserves.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.lock().room()
    }
}

impl<B: Body> Service<Request<B>> for PipelinedConnection<B> {
    type Response = Response<ResponseBody>;
    type Error = Error<B>;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B>>> {
        if !self.reserved {
            ready!(self.shared.poll_reserve(self.id, cx))
                .map_err(|cause| Error::new(ErrorKind::NotSent, cause, None))?;
            self.reserved = true;
        }
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// When the service is not ready.
    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        assert!(
            std::mem::take(&mut self.reserved),
            "poll_ready must be ready before call"
        );
        let (reply, receiver) = oneshot::channel();
        let head_proven = self.shared.lock().head_proven;
        let entry = Entry::new(request, reply, self.shared.idempotent(), head_proven);
        self.shared.submit(entry);
        ResponseFuture { receiver }
    }
}

impl<B> Clone for PipelinedConnection<B> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<B> Drop for PipelinedConnection<B> {
    fn drop(&mut self) {
        self.shared.leave(self.id, self.reserved);
    }
}

impl<B> fmt::Debug for PipelinedConnection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipelinedConnection")
            .field(&self.shared)
            .finish()
    }
}

/// Response future of [`PipelinedConnection`].
///
/// Dropped before its request is sent, it takes the request back.
#[derive(Debug)]
#[must_use = "the request is taken back when this is dropped"]
pub struct ResponseFuture<B> {
    receiver: oneshot::Receiver<Result<Response<ResponseBody>, Error<B>>>,
}

impl<B> Future for ResponseFuture<B> {
    type Output = Result<Response<ResponseBody>, Error<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.receiver).poll(cx));
        // The driver answers every request it has accepted, also when it is dropped.
        Poll::Ready(
            received
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unanswered, Cause::Aborted, None))),
        )
    }
}

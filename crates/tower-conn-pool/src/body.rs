//! The bodies on both ways: the response's, which carries the exchange, and the request's.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_conn_core::{CloseReason, Connection, Exchange};

use crate::incoming::{Incoming, IncomingError};
use crate::io::IoState;
use crate::{ConnectionUse, Delivery, PoolError, PoolErrorKind};

/// A connection that an exchange is on, whatever its request bodies are.
pub(crate) trait Leased: Send + Sync {
    /// The response body has ended.
    fn finished(self: Arc<Self>, exchange: Exchange, retire: Option<CloseReason>);

    /// The response body was dropped before its end.
    fn dropped(self: Arc<Self>, rest: Incoming, exchange: Exchange, retire: Option<CloseReason>);

    /// The response body failed, for this reason.
    fn failed(self: Arc<Self>, exchange: Exchange, reason: CloseReason);
}

/// The exchange of a response whose body has not ended.
pub(crate) struct Lease {
    pub(crate) conn: Arc<dyn Leased>,
    pub(crate) exchange: Exchange,
    pub(crate) usage: ConnectionUse,
    pub(crate) retire: Option<CloseReason>,
}

/// The response body.
///
/// At its end the connection goes back to the pool. Dropped before, the rest is read and thrown away
/// if it is small and quick, else the connection is closed. A body that ends before its
/// `Content-Length` or its last chunk is an error of kind [`PoolErrorKind::Body`].
///
/// An error comes a turn of the task later than what was received before it. hyper's server throws
/// away what it has not written yet when a response body fails; so a proxy passes on how far the
/// response came, and its client can tell one that was cut from one that never began.
#[derive(Default)]
pub struct PoolBody {
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    failed: Option<PoolError>,
}

impl PoolBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            lease: Some(lease),
            failed: None,
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.conn.finished(lease.exchange, lease.retire);
        }
    }

    fn fail(&mut self, error: IncomingError) -> PoolError {
        let failed = PoolError::new(PoolErrorKind::Body, Delivery::Responded).because(error.source);
        let Some(lease) = self.lease.take() else {
            return failed;
        };
        let connection: Connection = lease.exchange.connection().clone();
        lease.conn.failed(lease.exchange, error.reason);
        failed.on(connection, Some(lease.usage))
    }
}

impl Body for PoolBody {
    type Data = Bytes;
    type Error = PoolError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PoolError>>> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(Pin::new(incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if this.is_end_stream() {
                    this.finish();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.failed = Some(this.fail(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => {
                this.finish();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for PoolBody {
    fn drop(&mut self) {
        let (Some(lease), Some(mut incoming)) = (self.lease.take(), self.incoming.take()) else {
            return;
        };
        // Often only the end is missing: a reader that has seen the last chunk need not ask again.
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut incoming).poll_frame(&mut cx) {
            Poll::Ready(None) => lease.conn.finished(lease.exchange, lease.retire),
            Poll::Ready(Some(Err(error))) => lease.conn.failed(lease.exchange, error.reason),
            Poll::Ready(Some(Ok(_))) if incoming.is_end_stream() => {
                lease.conn.finished(lease.exchange, lease.retire);
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {
                lease.conn.dropped(incoming, lease.exchange, lease.retire);
            }
        }
    }
}

impl fmt::Debug for PoolBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.lease.as_ref().map(|lease| &lease.exchange);
        f.debug_struct("PoolBody")
            .field("incoming", &self.incoming)
            .field("exchange", &exchange)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A request body that says when hyper is done with it.
    pub(crate) struct RequestBody<B> {
        #[pin]
        inner: B,
        done: Done,
    }
}

struct Done(Option<Arc<IoState>>);

impl Done {
    fn now(&mut self) {
        if let Some(state) = self.0.take() {
            state.request_done();
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.now();
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(inner: B, state: Option<Arc<IoState>>) -> Self {
        Self {
            inner,
            done: Done(state),
        }
    }

    pub(crate) fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if !matches!(&frame, Some(Ok(_))) || this.inner.is_end_stream() {
            this.done.now();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tower_conn_testkit::contract::assert_body_forwarding;

    use super::*;

    #[test]
    fn a_request_body_is_forwarded_whole() {
        assert_body_forwarding(|body| RequestBody::new(body, None));
    }

    #[test]
    fn a_request_body_says_when_it_is_done() {
        let state = Arc::new(IoState::new());
        state.request_begins();
        let body = RequestBody::new((), Some(Arc::clone(&state)));
        assert!(!state.is_request_done());
        drop(body);
        assert!(
            state.is_request_done(),
            "at its end, or when it is given up"
        );
    }
}

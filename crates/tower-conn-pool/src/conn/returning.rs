//! The time between the end of a response and the next use of its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body;
use tower_conn_core::{CloseReason, Exchange};

use super::{Conn, Sender, lock};
use crate::incoming::Incoming;

/// A connection whose response is over, or given up, and that is not free yet.
pub(crate) enum Returning {
    /// hyper is not ready for another request: the request body is not done.
    Unready(Exchange),
    /// The rest of a dropped response body, and how many more bytes of it may come.
    Drain(Incoming, u64, Exchange, Option<CloseReason>),
}

impl Returning {
    /// Why the connection closes if it takes too long.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Unready(_) => CloseReason::IncompleteMessage,
            Self::Drain(..) => CloseReason::BodyDropped,
        }
    }
}

impl<B> Conn<B> {
    pub(super) fn is_ready(&self) -> bool {
        self.io.is_request_done()
            && matches!(&lock(&self.inner).sender, Some(Sender::Http1(sender)) if sender.is_ready())
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut lock(&self.inner).sender {
            Some(Sender::Http1(sender)) => sender
                .poll_ready(cx)
                .map(|ready| ready.is_ok() && self.io.is_request_done()),
            _ => Poll::Ready(false),
        }
    }

    pub(super) fn leave_to_driver(&self, returning: Returning) {
        *lock(&self.returning) = Some(returning);
        self.driver.wake();
        if self.io.is_gone() {
            // The driver may have ended before this was left to it.
            self.clear();
        }
    }

    /// Ends what has been left to a driver that is no more.
    pub(crate) fn clear(&self) {
        let left = lock(&self.returning).take();
        drop(left);
        if self.handle.is_idle() {
            self.settle();
        }
    }

    /// For the driver: what has been left to it.
    pub(crate) fn poll_returning(&self, cx: &mut Context<'_>) -> Option<Returning> {
        self.driver.register(cx.waker());
        lock(&self.returning).take()
    }

    /// For the driver: goes on with what has been left to it. Ready with the reason if the
    /// connection has to be cut.
    pub(crate) fn poll_return(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        slot: &mut Option<Returning>,
    ) -> Poll<CloseReason> {
        while let Some(Returning::Drain(rest, left, _, _)) = slot {
            match Pin::new(rest).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match left.checked_sub(len) {
                        Some(rest) => *left = rest,
                        None => return Poll::Ready(CloseReason::BodyDropped),
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(CloseReason::IncompleteMessage),
                Poll::Ready(None) => match slot.take() {
                    Some(Returning::Drain(_, _, exchange, None)) => {
                        *slot = Some(Returning::Unready(exchange));
                    }
                    Some(Returning::Drain(_, _, _, Some(reason))) => {
                        return Poll::Ready(reason);
                    }
                    Some(Returning::Unready(_)) | None => {}
                },
            }
        }
        match self.poll_ready(cx) {
            Poll::Ready(true) => {
                if let Some(Returning::Unready(exchange)) = slot.take() {
                    Arc::clone(self).free(exchange);
                }
                Poll::Pending
            }
            // hyper says no more: its connection is ending, which the driver sees by itself.
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        }
    }
}

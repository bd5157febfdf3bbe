//! A handle in half the space.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::inner::Inner;
use super::{Connection, Snapshot};
use crate::{CloseReason, StampSlot};

/// A handle of a [`Connection`] that does without the number of an exchange, and so takes half the
/// space: for drivers, who hold some for each of very many connections.
///
/// It has what they do for every exchange; for everything else there is
/// [`connection`](Self::connection).
#[derive(Clone)]
pub struct Link {
    pub(super) inner: Arc<Inner>,
}

impl Link {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection {
            link: self.clone(),
            exchange: None,
        }
    }

    /// The same as [`Connection::snapshot`].
    #[must_use]
    #[inline]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.inner.state.load())
    }

    /// The same as [`Connection::head_delivered`].
    #[must_use]
    #[inline]
    pub fn head_delivered(&self) -> bool {
        self.inner.stamp_busy();
        !self.snapshot().is_closed()
    }

    /// The same as [`Connection::bytes_received`].
    #[must_use]
    #[inline]
    pub fn bytes_received(&self) -> u64 {
        self.inner.received.load()
    }

    /// The same as [`Connection::bytes_sent`].
    #[must_use]
    #[inline]
    pub fn bytes_sent(&self) -> u64 {
        self.inner.sent.load()
    }

    /// The same as [`Connection::count_received`].
    #[inline]
    pub fn count_received(&self, n: usize) {
        self.inner.received.add(n);
    }

    /// The same as [`Connection::count_sent`].
    #[inline]
    pub fn count_sent(&self, n: usize) {
        self.inner.sent.add(n);
    }

    /// The same as [`Connection::poll_close`].
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.state.poll_close(cx)
    }

    /// The same as [`Connection::poll_closed`].
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.state.poll_closed(cx)
    }

    /// The same as [`Connection::stamp_slot`].
    #[must_use]
    pub fn stamp_slot(&self) -> Option<&StampSlot> {
        self.inner.slot()
    }

    /// The same as [`Connection::attachment`].
    #[must_use]
    pub fn attachment<T: Any>(&self) -> Option<&T> {
        self.inner.attachment()?.downcast_ref()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.inner.id).finish()
    }
}

#[cfg(all(test, not(tower_conn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_pointer() {
        assert_eq!(size_of::<Option<Link>>(), size_of::<usize>());
    }
}

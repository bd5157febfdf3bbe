//! Asking for a close, closing, and learning of it.

use std::task::{Context, Poll};
use std::time::Duration;

use super::Connection;
use crate::CloseReason;

impl Connection {
    /// Asks for the connection to close when no exchange is open, and wakes whoever drives it.
    /// `false` if a close was asked for before; the earlier reason stands.
    pub fn request_close(&self, reason: CloseReason) -> bool {
        self.inner().state.request_close(reason)
    }

    /// Asks for a close, as [`request_close`](Self::request_close), if the connection has been idle
    /// for at least `limit`; `true` if this call asked.
    ///
    /// For a limit that is watched from outside the task that drives the connection: that task may
    /// find a request in its receive buffer first, and then serves it before it closes. Fails, and
    /// changes nothing, if an exchange or a head begins at the same moment and is first.
    pub fn request_close_if_idle(&self, limit: Duration, reason: CloseReason) -> bool {
        let seen = self.inner().state.load();
        self.idle_for().is_some_and(|idle| idle >= limit)
            && self.inner().state.ask_idle(seen, reason)
    }

    /// Closes the connection if it has been idle for at least `limit`; `true` if this call closed it.
    ///
    /// Fails, and changes nothing, if an exchange or a head begins at the same moment and is first.
    pub fn close_if_idle(&self, limit: Duration, reason: CloseReason) -> bool {
        let seen = self.inner().state.load();
        self.idle_for().is_some_and(|idle| idle >= limit) && self.inner().state.claim(seen, reason)
    }

    /// Records that the connection is closed, whatever was open on it, and returns the reason that
    /// stands: this one, unless an earlier one was given.
    pub fn close(&self, reason: CloseReason) -> CloseReason {
        self.inner().state.close(reason).0
    }

    /// Like [`close`](Self::close), and says whether this call was the one that closed the
    /// connection, so that a close is counted once.
    pub fn close_once(&self, reason: CloseReason) -> Option<CloseReason> {
        let (stands, first) = self.inner().state.close(reason);
        first.then_some(stands)
    }

    /// Closes the connection at once, whatever is open on it, and wakes whoever drives it; `true` if
    /// this call closed it.
    ///
    /// This reason replaces one that was only [asked](Self::request_close) for: a connection that was
    /// to close after its exchange and is cut in the middle of it is closed for the second reason.
    pub fn cut(&self, reason: CloseReason) -> bool {
        self.inner().state.cut(reason)
    }

    /// Wakes whoever drives the connection, so that it looks at the connection again.
    pub fn wake(&self) {
        self.inner().state.wake();
    }

    /// Why the connection closes: the first reason given, unless it was [`cut`](Self::cut); `None`
    /// while nobody has asked.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner().state.load().reason()
    }

    /// Whether a close was asked for or has happened.
    #[must_use]
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.inner().state.load().is_closing()
    }

    /// Whether the connection is closed: no exchange can begin on it any more.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.inner().state.load().is_closed()
    }

    /// Ready with the reason once a close was asked for or has happened.
    ///
    /// For the one task that drives the connection: this, [`poll_drained`](Self::poll_drained) and
    /// [`poll_closed`](Self::poll_closed) share one waker, and the last caller is the one that is
    /// woken.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner().state.poll_close(cx)
    }

    /// Ready with the reason once a close was asked for and the connection is idle. It is closed
    /// from then on: an exchange that would begin later is refused.
    ///
    /// For the one task that drives the connection, as [`poll_close`](Self::poll_close).
    pub fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner().state.poll_drained(cx)
    }

    /// Ready with the reason once the connection is closed; a close that was only asked for does not
    /// count.
    ///
    /// For the one task that drives the connection, as [`poll_close`](Self::poll_close).
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner().state.poll_closed(cx)
    }
}

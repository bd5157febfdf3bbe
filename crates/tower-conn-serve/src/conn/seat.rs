//! What hyper is doing with its transport, seen from outside.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The last attempt to read came to nothing.
const WAITING: u8 = 1;
/// Not all that was written has left.
const UNFLUSHED: u8 = 1 << 1;
/// The transport is being shut down.
const SHUT: u8 = 1 << 2;
/// Bytes passed since someone last asked.
const ACTIVE: u8 = 1 << 3;

/// Hyper's state, as far as it shows in its use of the transport. Written by the task that drives the
/// connection, and read by the same task.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat(Arc<AtomicU8>);

impl Seat {
    /// Whether hyper waits for bytes and has nothing left to write.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        let flags = self.0.load(Ordering::Relaxed);
        flags & (WAITING | UNFLUSHED | SHUT) == WAITING
    }

    /// Whether bytes passed since the last call.
    #[inline]
    pub(super) fn take_activity(&self) -> bool {
        let flags = self.0.load(Ordering::Relaxed);
        self.0.store(flags & !ACTIVE, Ordering::Relaxed);
        flags & ACTIVE != 0
    }

    // One task at a time uses the transport, so there is nothing to compete with.
    #[inline]
    fn change(&self, set: u8, unset: u8) {
        let flags = self.0.load(Ordering::Relaxed);
        let changed = (flags | set) & !unset;
        if changed != flags {
            self.0.store(changed, Ordering::Relaxed);
        }
    }
}

/// A transport that notes what is done with it.
#[derive(Debug)]
pub(super) struct Seated<I> {
    io: I,
    seat: Seat,
}

impl<I> Seated<I> {
    pub(super) const fn new(io: I, seat: Seat) -> Self {
        Self { io, seat }
    }

    pub(super) fn into_inner(self) -> I {
        self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Seated<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match polled {
            Poll::Pending => self.seat.change(WAITING, 0),
            Poll::Ready(_) => self.seat.change(ACTIVE, WAITING),
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> Seated<I> {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.seat.change(ACTIVE | UNFLUSHED, 0);
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Seated<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        match polled {
            Poll::Pending => self.seat.change(UNFLUSHED, 0),
            Poll::Ready(_) => self.seat.change(0, UNFLUSHED),
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.change(SHUT, 0);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

//! Writing: notices a peer that does not take what is ready for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::Snapshot;

use super::ReapedIo;
use super::linger::Closing;
use super::read::Ended;
use crate::shared::CUT;

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ReapedIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let seen = this.connection.snapshot();
        if this.is_cut(seen) {
            return this.write_failed();
        }
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.wrote(cx, seen, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let seen = this.connection.snapshot();
        if this.is_cut(seen) {
            return this.write_failed();
        }
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.wrote(cx, seen, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut(this.connection.snapshot()) {
            return this.write_failed();
        }
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        match &result {
            Poll::Pending => this.stalls(cx),
            Poll::Ready(Ok(())) if this.blocked => this.unblock(cx),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => this.note_failure(error),
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close_in_stages(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ReapedIo<T> {
    /// A cut closes the connection.
    #[inline]
    fn is_cut(&self, seen: Snapshot) -> bool {
        seen.is_closed() && self.shared().has(CUT)
    }

    #[cold]
    #[inline(never)]
    fn write_failed<R>(&self) -> Poll<io::Result<R>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            Ended(self.connection.close_reason()),
        )))
    }

    #[inline]
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        seen: Snapshot,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.stalls(cx),
            Poll::Ready(Ok(n)) => {
                if self.role.is_transport() {
                    self.connection.count_sent(*n);
                }
                // As a tunnel is, whose exchange is over.
                if seen.is_receiving_head() {
                    self.shared().touch_tunnel();
                }
                if self.stalled {
                    self.moves();
                }
            }
            Poll::Ready(Err(error)) => self.note_failure(error),
        }
        result
    }

    /// The peer takes nothing at present.
    #[inline(never)]
    pub(super) fn stalls(&mut self, cx: &mut Context<'_>) {
        if self.role.is_transport() {
            if !self.stalled {
                self.shared().write_stalls(!self.blocked);
                self.stalled = true;
            }
            self.shared().writer_waits(cx.waker());
            if self.shared().has(CUT) {
                cx.waker().wake_by_ref();
            }
        }
        self.blocked = true;
    }

    /// The peer has taken something.
    #[cold]
    fn moves(&mut self) {
        self.stalled = false;
        self.shared().write_moves();
    }

    /// The peer has taken everything.
    #[cold]
    fn unblock(&mut self, cx: &mut Context<'_>) {
        self.blocked = false;
        self.stalled = false;
        if self.role.is_transport() {
            self.shared().write_ends();
        }
        if self.connection.is_closing() && self.closing == Closing::Open {
            // Reading waits for this before it reports the end.
            cx.waker().wake_by_ref();
        }
    }
}

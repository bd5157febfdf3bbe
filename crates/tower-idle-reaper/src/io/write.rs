//! Writing: notices a peer that does not take what is ready for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::Snapshot;

use super::read::Ended;
use super::{ReapedIo, Writing};
use crate::shared::CUT;

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ReapedIo<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let seen = this.link.snapshot();
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
        let seen = this.link.snapshot();
        if this.is_cut(seen) {
            return this.write_failed();
        }
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.wrote(cx, seen, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut(this.link.snapshot()) {
            return this.write_failed();
        }
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        match &result {
            Poll::Pending => this.stalls(cx),
            Poll::Ready(Ok(())) if this.writing != Writing::Free => this.unblock(cx),
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
            Ended(self.link.connection().close_reason()),
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
                    self.link.count_sent(*n);
                }
                // As a tunnel is, whose exchange is over.
                if seen.is_receiving_head() {
                    self.shared().touch_tunnel();
                }
                if self.writing == Writing::Stalled {
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
            if self.writing != Writing::Stalled {
                self.shared().write_stalls(self.writing == Writing::Free);
            }
            self.shared().writer_waits(cx.waker());
            if self.shared().has(CUT) {
                cx.waker().wake_by_ref();
            }
        }
        self.writing = Writing::Stalled;
    }

    /// The peer has taken something.
    #[cold]
    fn moves(&mut self) {
        self.writing = Writing::Blocked;
        self.shared().write_moves();
    }

    /// The peer has taken everything.
    #[cold]
    fn unblock(&mut self, cx: &mut Context<'_>) {
        self.writing = Writing::Free;
        if self.role.is_transport() {
            self.shared().write_ends();
        }
        if self.link.snapshot().is_closing() && self.closing.is_open() {
            // Reading waits for this before it reports the end.
            cx.waker().wake_by_ref();
        }
    }
}

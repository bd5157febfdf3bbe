//! A transport some of whose bytes have been read before.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that gives bytes that were read before, and then goes on.
#[derive(Debug)]
pub struct Rewind<I> {
    read: Bytes,
    /// `None` once it has been taken.
    io: Option<I>,
}

impl<I> Rewind<I> {
    pub(crate) const fn new(io: I, read: Bytes) -> Self {
        Self { read, io: Some(io) }
    }

    /// The transport, unless bytes read before would be lost, or it has been taken.
    pub(crate) fn take(&mut self) -> Option<I> {
        if self.read.is_empty() {
            self.io.take()
        } else {
            None
        }
    }

    /// As much as there is room for of what was read before. Once for most connections.
    #[cold]
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..n]);
        self.read.advance(n);
        if self.read.is_empty() {
            // An empty `Bytes` still holds on to its memory.
            self.read = Bytes::new();
        }
    }

    fn io(&mut self) -> io::Result<Pin<&mut I>>
    where
        I: Unpin,
    {
        let io = self.io.as_mut();
        io.map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewind<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            self.give(buf);
            return Poll::Ready(Ok(()));
        }
        self.io()?.poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewind<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
}

//! The transport wrapper: reads ahead, holds bursts of responses together.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, BytesMut};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Pipeline;
use super::handle::Handle;
use super::layer::PipelineGuardLayer;

/// Room made before each look: most connections have nothing to be read ahead.
const LOOK_AHEAD_CHUNK: usize = 1024;

/// How much is read at once for each request that may wait: a short head.
const SHORT_HEAD: usize = 64;

pin_project! {
    /// A transport that sees the request heads before they are dispatched, and sends a burst of
    /// responses in few writes.
    ///
    /// Made by [`Pipeline::wrap`], together with the [`PipelineGuardLayer`] that belongs to it. Without
    /// that layer on the service it passes everything through.
    ///
    /// # Writes
    ///
    /// A response is held back, in at most [`Pipeline::coalesce`] bytes, only while the response is
    /// complete and the next request is complete in memory; it leaves with the last response of the
    /// burst, or as soon as the server has to wait for a handler. A response is never held back behind
    /// a handler that works, a body that streams, an empty line or half a head.
    ///
    /// # Reads
    ///
    /// While a handler works the transport is read ahead, up to [`Pipeline::read_ahead`] bytes or
    /// [`Pipeline::max_buffered`] requests, to see
    /// requests that may run in parallel and a client that has gone away. If reading fails, or ends
    /// and [`Pipeline::half_close`] is off, flushing fails, on which hyper drops the handler and
    /// everything behind it.
    #[derive(Debug)]
    pub struct LookaheadIo<I: AsyncWrite> {
        #[pin]
        inner: I,
        handle: Handle,
        config: Pipeline,
        // The most that is read at once between messages.
        chunk: usize,
        // Read, and not yet taken by the server.
        ahead: BytesMut,
        // Written by the server, and not yet by us.
        held: BytesMut,
        // The transport ended; still to be told once `ahead` is empty.
        ended: bool,
        // The server itself waits for the transport to become readable.
        server_reads: bool,
    }

    impl<I: AsyncWrite> PinnedDrop for LookaheadIo<I> {
        fn drop(this: Pin<&mut Self>) {
            // A service error makes hyper drop the transport without a flush. Complete responses
            // that are held back get one chance to leave.
            let this = this.project();
            if !this.held.is_empty() {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = this.inner.poll_write(&mut cx, this.held);
            }
        }
    }
}

impl<I: AsyncWrite> LookaheadIo<I> {
    pub(super) fn new(inner: I, config: Pipeline) -> Self {
        Self {
            inner,
            handle: Handle::new(config.parallel, config.max_requests),
            config,
            chunk: config
                .max_buffered
                .saturating_mul(SHORT_HEAD)
                .max(LOOK_AHEAD_CHUNK)
                .min(config.read_ahead),
            ahead: BytesMut::new(),
            held: BytesMut::new(),
            ended: false,
            server_reads: false,
        }
    }

    /// The layer for the service of this connection.
    #[must_use]
    pub fn layer(&self) -> PipelineGuardLayer {
        PipelineGuardLayer::new(self.handle.clone())
    }

    /// The wrapped transport.
    pub const fn get_ref(&self) -> &I {
        &self.inner
    }

    /// The wrapped transport, mutably. What is written to it directly overtakes what is held back.
    pub const fn get_mut(&mut self) -> &mut I {
        &mut self.inner
    }

    /// Whether bytes are here that were read and not yet taken by the server, or written by it and
    /// held back.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        !self.ahead.is_empty() || !self.held.is_empty()
    }

    /// Writes what is held back.
    fn poll_release(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        while !this.held.is_empty() {
            let written = ready!(this.inner.as_mut().poll_write(cx, this.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite> LookaheadIo<I> {
    /// Reads while the server does not: for requests that may start, and for the end of the client.
    fn poll_look_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) -> io::Result<()> {
        let mut this = self.project();
        while !*this.ended
            && this.ahead.len() < this.config.read_ahead
            && !this.handle.has_waiting(this.config.max_buffered)
        {
            let start = this.ahead.len();
            let room = (this.config.read_ahead - start).min(*this.chunk);
            this.ahead.reserve(room.min(LOOK_AHEAD_CHUNK));
            let mut limited = (&mut *this.ahead).limit(room);
            let polled = pin!(this.inner.read_buf(&mut limited)).poll(cx);
            let filled = this.ahead.len() - start;
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(_)) if filled == 0 => {
                    *this.ended = true;
                    if !this.config.half_close {
                        return Err(io::Error::new(
                            io::ErrorKind::ConnectionAborted,
                            "the client closed the connection before it was answered",
                        ));
                    }
                }
                Poll::Ready(Ok(_)) => {
                    this.handle.receive(&this.ahead[start..]);
                    this.handle.resume_later(cx.waker());
                }
            }
        }
        Ok(())
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncRead for LookaheadIo<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut this = self.project();
        *this.server_reads = false;
        if !this.ahead.is_empty() {
            let take = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..take]);
            this.ahead.advance(take);
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let filled = if *this.ended {
            0
        } else {
            let limit = this.handle.read_limit(*this.chunk);
            let before = buf.filled().len();
            let polled = if buf.remaining() <= limit {
                this.inner.as_mut().poll_read(cx, buf)
            } else {
                let mut limited = this.inner.as_mut().take(limit as u64);
                Pin::new(&mut limited).poll_read(cx, buf)
            };
            if polled.is_pending() {
                *this.server_reads = true;
                return Poll::Pending;
            }
            ready!(polled)?;
            let chunk = &buf.filled()[before..];
            if !chunk.is_empty() {
                this.handle.receive(chunk);
            }
            chunk.len()
        };
        if filled == 0 && this.config.half_close && this.handle.is_answering() {
            // hyper reads again when the response is finished.
            *this.ended = true;
            this.handle.resume_later(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for LookaheadIo<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let holds = !self.held.is_empty() || self.handle.more_to_come();
        if holds && length <= self.config.coalesce {
            if self.held.len() + length > self.config.coalesce {
                ready!(self.as_mut().poll_release(cx))?;
            }
            let held = self.project().held;
            for buf in bufs {
                held.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(length));
        }
        ready!(self.as_mut().poll_release(cx))?;
        let inner = self.project().inner;
        match bufs {
            [one] => inner.poll_write(cx, one),
            _ => inner.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            if self.handle.more_to_come() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.as_mut().poll_release(cx))?;
        }
        ready!(self.as_mut().project().inner.poll_flush(cx))?;
        if !std::mem::take(self.as_mut().project().server_reads) && self.handle.is_in_flight() {
            self.as_mut().poll_look_ahead(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.abandon();
        ready!(self.as_mut().poll_release(cx))?;
        self.project().inner.poll_shutdown(cx)
    }
}

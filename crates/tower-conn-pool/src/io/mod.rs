//! The transport under hyper: what went over it, and what became of it.

use std::any::Any;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_conn_core::{CloseReason, Connection};

use crate::conn::Wire;
use crate::observe::Watch;
use crate::{Origin, PoolObserver};

/// What the pool knows about a transport without holding it.
#[derive(Debug)]
pub(crate) struct IoState {
    written: AtomicU64,
    flags: AtomicU16,
}

const EOF: u16 = 1;
const RESET: u16 = 1 << 1;
const FAILED: u16 = 1 << 2;
const UNASKED: u16 = 1 << 3;
const LOOK: u16 = 1 << 4;
const UPGRADED: u16 = 1 << 5;
const REQUEST_DONE: u16 = 1 << 6;
/// The transport itself ended, or left HTTP.
const ENDED: u16 = EOF | RESET | FAILED | UNASKED | UPGRADED;
const GONE: u16 = 1 << 7;
const REPORTED: u16 = 1 << 8;

impl IoState {
    pub(crate) const fn new() -> Self {
        Self {
            written: AtomicU64::new(0),
            flags: AtomicU16::new(REQUEST_DONE),
        }
    }

    fn set(&self, flag: u16) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    fn has(&self, flags: u16) -> bool {
        self.flags.load(Ordering::Acquire) & flags != 0
    }

    /// How many bytes were written, ever.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Whether the peer ended the connection, or sent what nobody asked for.
    pub(crate) fn is_dead(&self) -> bool {
        self.has(EOF | RESET | FAILED | UNASKED)
    }

    /// Has the socket itself looked at before the next request is written.
    pub(crate) fn look_before_use(&self) {
        self.set(LOOK);
    }

    pub(crate) fn set_upgraded(&self) {
        self.set(UPGRADED);
    }

    /// A request is about to be sent; its body is not done.
    pub(crate) fn request_begins(&self) {
        self.flags.fetch_and(!REQUEST_DONE, Ordering::AcqRel);
    }

    /// The body of the request has been given up, at its end or before.
    pub(crate) fn request_done(&self) {
        self.set(REQUEST_DONE);
    }

    pub(crate) fn is_request_done(&self) -> bool {
        self.has(REQUEST_DONE)
    }

    /// Whether the socket is closed.
    pub(crate) fn is_gone(&self) -> bool {
        self.has(GONE)
    }

    /// Whether the socket is closed and nobody has been told. `true` only once.
    pub(crate) fn must_report(&self) -> bool {
        self.has(GONE) && self.flags.fetch_or(REPORTED, Ordering::AcqRel) & REPORTED == 0
    }

    fn failed(&self, error: &io::Error) {
        self.set(match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RESET,
            _ => FAILED,
        });
    }

    /// Why the transport ended, if nobody on this side asked for it.
    pub(crate) fn end(&self) -> CloseReason {
        let flags = self.flags.load(Ordering::Acquire);
        if flags & UPGRADED != 0 {
            CloseReason::TunnelEnded
        } else if flags & UNASKED != 0 {
            CloseReason::UnsolicitedBytes
        } else if flags & RESET != 0 {
            CloseReason::PeerReset
        } else if flags & FAILED != 0 {
            CloseReason::Transport
        } else if flags & EOF != 0 {
            CloseReason::PeerClosed
        } else {
            CloseReason::Aborted
        }
    }
}

/// Whoever counts sockets.
pub(crate) trait SocketOwner: Send + Sync {
    /// The socket of this connection is closed.
    fn socket_closed(&self, origin: &Origin, connection: &Connection);
}

/// Reports the end of a socket, once, when it is dropped.
pub(crate) struct SocketGuard {
    owner: Weak<dyn SocketOwner>,
    watch: Arc<Watch<dyn PoolObserver>>,
    origin: Origin,
    connection: Connection,
    state: Arc<IoState>,
}

impl SocketGuard {
    pub(crate) fn new(
        owner: Weak<dyn SocketOwner>,
        watch: Arc<Watch<dyn PoolObserver>>,
        origin: Origin,
        connection: Connection,
        state: Arc<IoState>,
    ) -> Self {
        Self {
            owner,
            watch,
            origin,
            connection,
            state,
        }
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let (state, connection) = (&self.state, &self.connection);
        state.set(GONE);
        // hyper closes by itself where the message says so, before its head has been looked at: then
        // the end of the exchange tells why.
        let told = connection.is_closing() || state.has(ENDED) || connection.is_idle();
        if told && state.must_report() {
            let reason = connection.close(state.end());
            self.watch.closed(connection, reason);
        }
        if let Some(peer) = connection.peer_addr() {
            self.watch.ports.closed(peer, state.has(EOF | RESET));
        }
        if let Some(owner) = self.owner.upgrade() {
            owner.socket_closed(&self.origin, connection);
        }
    }
}

/// A connector's transport, watched.
pub(crate) struct PoolIo<T> {
    // Dropped before the guard: the socket is closed when its place is given away.
    io: TokioIo<T>,
    /// Whether bytes that arrive while no exchange is open are nobody's.
    exclusive: bool,
    guard: SocketGuard,
}

impl<T: 'static> PoolIo<T> {
    pub(crate) fn new(io: T, wire: Wire, guard: SocketGuard) -> Self {
        Self {
            io: TokioIo::new(io),
            // HTTP/2 has frames of its own; a pipelined connection goes on reading what its caller
            // has dropped, and knows better what nobody asked for.
            exclusive: wire == Wire::Http1,
            guard,
        }
    }

    /// Looks for an end of stream, an error or bytes that the reactor has not reported yet.
    ///
    /// Asked once for each request on a connection that has idled, mostly from the read with which hyper
    /// begins: an error then has hyper hand the request back, unwritten.
    fn look(&self) -> Poll<io::Result<()>> {
        let Some(tcp) = tcp(self.io.inner()) else {
            return Poll::Pending;
        };
        let mut byte = [MaybeUninit::<u8>::uninit()];
        match SockRef::from(tcp).peek(&mut byte) {
            Ok(0) => {
                self.guard.state.set(EOF);
                Poll::Ready(Ok(()))
            }
            Ok(_) => {
                self.guard.state.set(UNASKED);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => {
                self.guard.state.failed(&error);
                Poll::Ready(Err(error))
            }
        }
    }

    /// Looks before the first byte of a request is written, if the read has not: hyper may be past it when
    /// the request reaches it. Later, what is found would be the response.
    fn look_before_write(&self) -> io::Result<()> {
        if !self.guard.state.has(LOOK) {
            return Ok(());
        }
        self.guard.state.flags.fetch_and(!LOOK, Ordering::AcqRel);
        match self.look() {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => Err(io::ErrorKind::BrokenPipe.into()),
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(n)) => {
                self.guard
                    .state
                    .written
                    .fetch_add(*n as u64, Ordering::AcqRel);
            }
            Poll::Ready(Err(error)) => self.guard.state.failed(error),
            Poll::Pending => {}
        }
    }
}

/// The TCP stream, if the transport is one and nothing else.
pub(crate) fn tcp<T: 'static>(io: &T) -> Option<&TcpStream> {
    (io as &dyn Any)
        .downcast_ref::<TokioIo<TcpStream>>()
        .map(TokioIo::inner)
}

impl<T: Read + Unpin + 'static> AsyncRead for PoolIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        let state = &this.guard.state;
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before => {
                if room {
                    state.set(EOF);
                }
            }
            Poll::Ready(Ok(())) => {
                if this.exclusive && !state.has(UPGRADED) && this.guard.connection.is_idle() {
                    state.set(UNASKED);
                }
            }
            Poll::Ready(Err(error)) => state.failed(error),
            Poll::Pending if state.has(LOOK) => {
                state.flags.fetch_and(!LOOK, Ordering::AcqRel);
                return this.look();
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl<T: Write + Unpin + 'static> AsyncWrite for PoolIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look_before_write()?;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.note_write(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look_before_write()?;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl<T> fmt::Debug for PoolIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolIo")
            .field("connection", &self.guard.connection)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! A connection without an HTTP engine: before its first request, and parked.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_idle_reaper::ReapedIo;

use super::Protocol;

/// Bytes read at once; most request heads fit.
const CHUNK: usize = 2048;

/// What is left of a connection while nothing happens on it: its transport, its service, and the bytes
/// of a head that has begun to arrive.
#[derive(Debug)]
pub(super) struct Cold<T, S> {
    pub(super) io: ReapedIo<T>,
    pub(super) service: S,
    pub(super) head: Box<[u8]>,
    pub(super) protocol: Option<Protocol>,
    pub(super) parked: bool,
}

/// How waiting ended.
pub(super) enum Woken {
    /// With these bytes, which HTTP goes on from.
    Http(Protocol, Bytes),
    /// With the end of the stream: the peer's, or because the connection has to close.
    End,
    /// With a failure.
    Failed,
}

impl<T: AsyncRead + AsyncWrite + Unpin, S> Cold<T, S> {
    /// Waits for bytes that say which protocol is spoken.
    // A frame of its own: the buffer is on the stack, and only here.
    #[inline(never)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        loop {
            let mut buf = ReadBuf::uninit(&mut chunk);
            if ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)).is_err() {
                return Poll::Ready(Woken::Failed);
            }
            if buf.filled().is_empty() {
                return Poll::Ready(Woken::End);
            }
            let read = [&self.head, buf.filled()].concat();
            let protocol = self.protocol.or_else(|| Protocol::of_first_bytes(&read));
            if let Some(protocol) = protocol {
                return Poll::Ready(Woken::Http(protocol, read.into()));
            }
            self.head = read.into();
        }
    }
}

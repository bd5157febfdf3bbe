//! Closing in stages: half-close, read and discard, close (RFC 9112 section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ReapedIo;
use crate::limits::{Phase, after};
use crate::shared::{CUT, HTTP2, LINGER_OVER, UNREAD};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Not shut down.
    Open,
    /// The same, but the peer has ended its side; the engine has not been told.
    PeerEnded,
    /// Being shut down: what is under this one still writes, or lingers.
    ShuttingDown,
    /// Shut down; it is to be seen whether to linger.
    HalfClosed,
    /// Reading and discarding.
    Lingering,
    Done,
}

impl Closing {
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::PeerEnded)
    }
}

/// Reads in one turn of the task, so that a peer that sends without end does not hold it.
const READS: u32 = 32;

impl<T: AsyncRead + AsyncWrite + Unpin> ReapedIo<T> {
    pub(super) fn poll_close_in_stages(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_open() || self.closing == Closing::ShuttingDown {
            self.closing = Closing::ShuttingDown;
            if self.wire.in_body() || self.wire.in_head() {
                // Told to the part that lingers, which may be another one, under TLS.
                self.shared().set(UNREAD);
            }
            if self.shared().has(CUT) {
                self.closing = Closing::Done;
                return Pin::new(&mut self.inner).poll_shutdown(cx);
            }
            match Pin::new(&mut self.inner).poll_shutdown(cx) {
                Poll::Pending => {
                    self.stalls(cx);
                    return Poll::Pending;
                }
                Poll::Ready(result) => {
                    self.shared().write_ends();
                    self.closing = Closing::HalfClosed;
                    if let Err(error) = result {
                        self.closing = Closing::Done;
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        if self.closing == Closing::Done || !self.role.is_transport() {
            return Poll::Ready(Ok(()));
        }
        let Some(linger) = self.shared().reaper().policy.linger else {
            return Poll::Ready(Ok(()));
        };
        if self.fallback.is_some() && self.closing == Closing::HalfClosed {
            // The peer has ended or failed: there is nothing to wait for.
            return self.closed();
        }
        ready!(self.poll_discard(cx, linger.bytes));
        self.closed()
    }

    fn closed(&mut self) -> Poll<io::Result<()>> {
        if self.closing == Closing::Lingering {
            self.shared()
                .reaper()
                .lingering()
                .remove(&self.link.connection().id());
        }
        self.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>, most: u64) -> Poll<()> {
        let mut scratch = [0; 4096];
        for _ in 0..READS {
            if self.shared().has(LINGER_OVER) {
                return Poll::Ready(());
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Pending => {
                    if !self.starts_lingering(0) {
                        return Poll::Ready(());
                    }
                    self.shared().writer_waits(cx.waker());
                    if self.shared().has(LINGER_OVER) {
                        return Poll::Ready(());
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    let n = buf.filled().len();
                    self.link.count_received(n);
                    self.starts_lingering(n);
                    let shared = self.shared();
                    if shared.phase_bytes() > most {
                        return Poll::Ready(());
                    }
                    shared.set_waited(shared.now());
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lingers from now on, if it does not and must: bytes are still arriving, or are expected.
    fn starts_lingering(&mut self, arrived: usize) -> bool {
        if self.closing != Closing::HalfClosed {
            return true;
        }
        let shared = self.shared();
        let expects = shared.has(UNREAD | HTTP2);
        if arrived == 0 && !expects {
            return false;
        }
        let (reaper, now) = (shared.reaper(), shared.now());
        shared.mark_phase(arrived as u64);
        shared.set_waited(now);
        let due = after(
            now,
            reaper.limits.linger_total.min(reaper.limits.linger_gap),
        );
        let connection = self.link.connection();
        reaper.lingering().insert(connection.id(), connection);
        self.closing = Closing::Lingering;
        self.enter(Phase::Linger, due);
        true
    }
}

//! Reading: which clock runs, and when to report the end of the stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_conn_core::{CloseReason, Snapshot};

use super::linger::Closing;
use super::{LastRead, ReapedIo, Role, Writing};
use crate::limits::Phase;
use crate::shared::{BODY_FAILED, CUT, HTTP2, IN_BODY, SEALED, UPGRADED, WATCHED};

/// RFC 9110 section 15.5.9; written when no exchange is open.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ReapedIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A cut, and a body that has failed, close the connection or have it close.
        let seen = this.link.snapshot();
        if seen.is_closing() && this.shared().has(CUT | BODY_FAILED) {
            return this.read_failed(cx);
        }
        if this.closing == Closing::PeerEnded {
            return this.poll_end(cx);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Pending => this.nothing_to_read(cx),
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let bytes = &buf.filled()[before..];
                let delivers = this
                    .delivers_whole_head(seen, bytes)
                    .unwrap_or_else(|| this.delivers(bytes));
                if !delivers {
                    // The connection was closed first: no handler may see this request.
                    buf.set_filled(before);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if buf.remaining() == 0 => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => this.peer_ended(cx),
            Poll::Ready(Err(error)) if this.is_incomplete_close(&error) => this.peer_ended(cx),
            Poll::Ready(Err(error)) => {
                this.note_failure(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ReapedIo<T> {
    #[cold]
    #[inline(never)]
    pub(super) fn note_failure(&mut self, error: &io::Error) {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => CloseReason::PeerReset,
            _ => CloseReason::Transport,
        };
        self.fallback.get_or_insert(reason);
    }

    /// The end of the stream.
    #[inline(never)]
    fn peer_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reason = if self.wire.in_body() {
            CloseReason::IncompleteMessage
        } else {
            CloseReason::PeerClosed
        };
        self.fallback.get_or_insert(reason);
        if self.holds_end_back() {
            self.closing = Closing::PeerEnded;
            self.link
                .connection()
                .request_close(CloseReason::PeerClosed);
            return self.poll_end(cx);
        }
        if self.is_between_requests() {
            // Whatever becomes of the engine's farewell.
            self.link
                .connection()
                .request_close(CloseReason::PeerClosed);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether this is the end of a TLS stream without a close_notify, where nothing is lost by it
    /// (RFC 9112 section 9.8).
    fn is_incomplete_close(&self, error: &io::Error) -> bool {
        self.role == Role::OverTls
            && error.kind() == io::ErrorKind::UnexpectedEof
            && self.is_between_requests()
    }

    fn is_between_requests(&self) -> bool {
        self.role.is_http()
            && self.is_idle()
            && !self.wire.in_head()
            && !self.wire.in_body()
            && !self.is_tunnel()
    }

    /// The common case, with little to look up: on a plain idle connection arrives what looks like a
    /// whole request without a body. `None` if it is anything else, and is still to be accounted for.
    #[inline]
    fn delivers_whole_head(&mut self, seen: Snapshot, bytes: &[u8]) -> Option<bool> {
        // Tunnels are not idle, and of bodies there would be a note.
        let quiet = seen.is_quiet()
            && self.phase == Phase::Quiet
            && self.role == Role::Plain
            && self.wire.feed_whole_head(bytes, seen.exchanges_begun());
        if !quiet {
            return None;
        }
        self.link.count_received(bytes.len());
        self.last_read = LastRead::Head;
        self.begun = seen.exchanges_begun() as u16;
        Some(self.link.head_delivered())
    }

    /// Accounts for bytes and says whether they may be delivered.
    #[inline(never)]
    fn delivers(&mut self, bytes: &[u8]) -> bool {
        self.last_read = LastRead::Bytes;
        if self.role.is_transport() {
            let first = self.shared().bytes_in() == 0;
            self.link.count_received(bytes.len());
            self.shared().touch_tunnel();
            if first && !self.role.is_http() {
                // The handshake is the head of a TLS connection.
                self.start_head(bytes.len());
                return self.link.connection().head_started();
            }
        }
        if self.phase == Phase::FirstByte {
            self.enter(Phase::Quiet, 0);
        }
        if !self.role.is_http() || self.wire.is_opaque() || self.wire.is_http2() {
            return true;
        }
        if self.is_tunnel() {
            self.wire = crate::wire::Wire::opaque();
            return true;
        }
        self.learn_body();
        if self.phase == Phase::Body {
            let shared = self.shared();
            let (_, since) = shared.phase();
            shared.set_waited(shared.reading().waited + shared.now().saturating_sub(since));
            self.enter(Phase::Quiet, 0);
        }
        let was_in_body = self.wire.in_body();
        let is_ahead = self.link.snapshot().exchanges_open() > 0;
        let began = if is_ahead {
            self.wire.feed_ahead(bytes)
        } else {
            self.wire
                .feed(bytes, self.link.snapshot().exchanges_begun())
        };
        if self.wire.has_unread_head() {
            let _ = self.shared().take_body();
        }
        self.shared().set_heads(self.wire.counted_heads());
        if began && !is_ahead && !self.head_arrives() {
            return false;
        }
        let in_body = self.wire.in_body();
        if was_in_body && !in_body {
            self.shared().unmark_phase();
            self.shared().unset(IN_BODY);
        }
        if self.wire.in_head() {
            if self.phase != Phase::Head && !is_ahead {
                self.start_head(bytes.len());
            }
        } else if self.phase == Phase::Head || self.wire.is_http2() {
            self.end_head();
        }
        if in_body && !was_in_body {
            self.shared().mark_phase(0);
            self.shared().set(IN_BODY);
        }
        true
    }

    /// A head arrives on an idle connection; `false` if that is closed.
    fn head_arrives(&mut self) -> bool {
        if self.wire.in_head() || self.wire.is_http2() {
            return self.link.connection().head_started();
        }
        // The engine begins its exchange before it reads again.
        self.last_read = LastRead::Head;
        self.begun = self.link.snapshot().exchanges_begun() as u16;
        self.link.head_delivered()
    }

    fn start_head(&mut self, already: usize) {
        let shared = self.shared();
        shared.mark_phase(already as u64);
        let due = shared.reaper().limits.head_due(shared.now());
        self.enter(Phase::Head, due);
    }

    fn end_head(&mut self) {
        self.enter(Phase::Quiet, 0);
        self.shared().unmark_phase();
        if self.wire.is_http2() {
            self.shared().set(HTTP2);
            self.link.connection().saw_version(http::Version::HTTP_2);
            self.link.connection().restart_idle();
            self.link.connection().head_abandoned();
        }
    }

    fn learn_body(&mut self) {
        if self.wire.has_unread_head() {
            if let Some(body) = self.shared().take_body() {
                self.wire.expect_body(body);
                self.shared().mark_phase(0);
                self.shared().set(IN_BODY);
            }
        }
    }

    /// Nothing has arrived: starts the clock that now runs, or closes.
    #[inline(never)]
    fn nothing_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.role.is_http() {
            // Until the handshake begins, this is the only part that can close.
            if self.shared().has(SEALED) && self.shared().bytes_in() == 0 {
                return self.poll_claim(cx);
            }
            return self.wait_for_cut(cx);
        }
        self.learn_body();
        if self.wire.in_body() {
            if self.phase != Phase::Body && !self.is_tunnel() {
                let shared = self.shared();
                let due = shared
                    .reaper()
                    .limits
                    .body_due(shared.now(), shared.reading().waited);
                self.enter(Phase::Body, due);
            }
        } else if self.wire.in_head() && self.is_idle() && !self.is_tunnel() {
            // Part of this head came together with an earlier request, whose exchange is over.
            if !self.link.connection().head_started() {
                return Poll::Ready(Ok(()));
            }
            self.start_head(1);
        }
        self.poll_claim(cx)
    }

    /// Waits, unless the connection has to close and can.
    fn poll_claim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flags = self.shared().flags();
        let leaves_it_to_the_watcher = flags & (HTTP2 | WATCHED) == HTTP2 | WATCHED;
        if leaves_it_to_the_watcher || self.writing != Writing::Free || flags & UPGRADED != 0 {
            return self.wait_for_cut(cx);
        }
        let begun = self.link.snapshot().exchanges_begun() as u16;
        if self.begun == begun && self.last_read == LastRead::Head {
            return self.wait_for_cut(cx);
        }
        if self.begun == begun && self.last_read == LastRead::Nothing {
            ready!(self.link.connection().poll_drained(cx));
            return self.read_closed(cx);
        }
        (self.begun, self.last_read) = (begun, LastRead::Nothing);
        if flags & WATCHED != 0 && !self.link.snapshot().is_closing() {
            // The watcher has itself woken, and looks here again when it learns of a close.
            return Poll::Pending;
        }
        if self.link.poll_close(cx).is_ready() {
            if self.link.snapshot().is_closed() {
                return self.read_closed(cx);
            }
            // The engine may hold a request that it has read but not begun. It has had its turn when
            // this is polled again.
            if self.link.snapshot().is_idle() {
                cx.waker().wake_by_ref();
            }
            return self.wait_for_cut(cx);
        }
        Poll::Pending
    }

    fn wait_for_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.link.poll_closed(cx));
        self.read_closed(cx)
    }

    /// The connection is closed: by a cut, or because it was idle.
    fn read_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared().has(CUT) {
            return self.read_failed(cx);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    #[inline(never)]
    fn read_failed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reason = self.link.connection().close_reason();
        match reason {
            Some(CloseReason::HeadTimeout) => {
                self.answer_timeout(cx);
                Poll::Ready(Ok(()))
            }
            _ => {
                let kind = if self.shared().has(CUT) {
                    io::ErrorKind::ConnectionAborted
                } else {
                    io::ErrorKind::TimedOut
                };
                Poll::Ready(Err(io::Error::new(kind, Ended(reason))))
            }
        }
    }

    /// Says why, as far as that can be done at once, and half-closes.
    fn answer_timeout(&mut self, cx: &mut Context<'_>) {
        if !self.wire.in_head() || self.wire.is_opening_http2() || self.writing != Writing::Free {
            return;
        }
        if self.role != Role::Plain || self.link.snapshot().exchanges_open() > 0 {
            return;
        }
        self.wire = crate::wire::Wire::opaque();
        if let Poll::Ready(Ok(n)) = Pin::new(&mut self.inner).poll_write(cx, REQUEST_TIMEOUT) {
            self.link.count_sent(n);
            let _ = Pin::new(&mut self.inner).poll_shutdown(cx);
        }
    }

    /// Whether the engine should not yet learn that the peer has ended its side.
    fn holds_end_back(&self) -> bool {
        self.shared().reaper().policy.half_close
            && self.role.is_http()
            && !self.wire.in_body()
            && !self.wire.in_head()
            && !self.wire.is_http2()
            && !self.wire.is_opaque()
            && !self.is_tunnel()
            && !self.is_idle()
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_claim(cx)
    }
}

/// Why reading or writing failed.
#[derive(Debug)]
pub(super) struct Ended(pub(super) Option<CloseReason>);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(reason) => write!(f, "the connection was closed ({reason})"),
            None => f.write_str("the connection was closed"),
        }
    }
}

impl std::error::Error for Ended {}

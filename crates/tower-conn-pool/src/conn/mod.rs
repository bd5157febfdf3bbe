//! One pooled connection: its sender, and what happens to it when an exchange is over.

mod sender;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use http::{HeaderValue, Request};
use http_body::Body;
use hyper_util::client::legacy::connect::Connected;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, Exchange};
use tower_keep_alive::KeepAliveHint;

pub(crate) use self::sender::{SendFailed, SendResult, Sender};
use crate::body::Leased;
use crate::error::BoxError;
use crate::incoming::Incoming;
use crate::io::IoState;
use crate::observe::Watch;
use crate::shared::Opened;
use crate::{Origin, PoolObserver};

/// The pool, for a connection that does not care what opens others.
pub(crate) trait Home<B>: Send + Sync {
    /// The connection is free for another exchange.
    fn release(&self, conn: Arc<Conn<B>>);

    /// The connection can take no more exchanges.
    fn forget(&self, conn: &Arc<Conn<B>>);

    /// One of the exchanges on a shared connection is over.
    fn leave(&self, conn: &Arc<Conn<B>>);

    /// A shared connection may take more exchanges than before, or is empty.
    fn offer(&self, conn: &Arc<Conn<B>>);

    /// The connection ended with several requests unanswered.
    fn lost_several(&self, conn: &Conn<B>);

    /// How much of a dropped body is read, and for how long.
    fn drain_limits(&self) -> (u64, Duration);
}

pub(crate) struct Conn<B> {
    pub(crate) handle: Connection,
    pub(crate) origin: Origin,
    /// The origin as the value of Host.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) io: Arc<IoState>,
    watch: Arc<Watch<dyn PoolObserver>>,
    pub(crate) connected: Connected,
    pub(crate) wire: Wire,
    /// Whether the socket itself can be looked at before use.
    pub(crate) bare_tcp: bool,
    pub(crate) retire_at: Option<Instant>,
    home: Weak<dyn Home<B>>,
    /// HTTP/2: how many streams the peer allows. Pipelined: what its driver last told of its room.
    room: AtomicUsize,
    /// Pipelined: how many requests were lost with it.
    lost: AtomicUsize,
    inner: Mutex<Inner<B>>,
    returning: Mutex<Option<Returning>>,
    driver: AtomicWaker,
}

/// How a connection carries exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// One at a time, by hyper.
    Http1,
    /// As many streams as the peer allows.
    Http2,
    /// One after the other without waiting for the responses.
    Pipelined,
}

impl Wire {
    /// Whether it carries several exchanges at once.
    pub(crate) const fn is_shared(self) -> bool {
        !matches!(self, Self::Http1)
    }
}

struct Inner<B> {
    sender: Option<Sender<B>>,
    /// The server's last word on idle time, and on how many more requests it takes.
    timeout: Option<Duration>,
    max: Option<u32>,
}

/// A connection whose response is over, or given up, and that is not free yet.
pub(crate) enum Returning {
    /// hyper is not ready for another request: the request body is not done.
    Unready(Exchange),
    /// The rest of a dropped response body, and how many more bytes of it may come.
    Drain(Incoming, u64, Exchange, Option<CloseReason>),
}

impl Returning {
    /// Why the connection closes if it takes too long.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Unready(_) => CloseReason::IncompleteMessage,
            Self::Drain(..) => CloseReason::BodyDropped,
        }
    }
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Conn<B> {
    pub(crate) fn new(
        opened: Opened,
        origin: Origin,
        retire_at: Option<Instant>,
        timeout: Option<Duration>,
        sender: Sender<B>,
        home: Weak<dyn Home<B>>,
    ) -> Self {
        Self {
            handle: opened.handle,
            host: origin.to_host(),
            origin,
            io: opened.state,
            watch: opened.watch,
            connected: opened.connected,
            wire: opened.wire,
            bare_tcp: opened.bare_tcp,
            retire_at,
            home,
            room: AtomicUsize::new(opened.streams),
            lost: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                sender: Some(sender),
                timeout,
                max: None,
            }),
            returning: Mutex::new(None),
            driver: AtomicWaker::new(),
        }
    }
}

impl<B> Conn<B> {
    /// Whether another request can be tried on it.
    pub(crate) fn is_usable(&self) -> bool {
        if self.handle.is_closing() || self.io.is_dead() {
            return false;
        }
        matches!(&lock(&self.inner).sender, Some(sender) if !sender.is_closed())
    }

    /// Whether another exchange can be put on it beside so many. Those may not all have been sent.
    pub(crate) fn has_room_beside(&self, in_flight: usize) -> bool {
        match self.wire {
            Wire::Http1 => in_flight == 0,
            Wire::Http2 => in_flight < self.streams().max(1),
            // Not before the first response has been looked at: it may say how many more are welcome.
            Wire::Pipelined if in_flight > 0 && self.handle.exchanges_finished() == 0 => false,
            Wire::Pipelined => match &lock(&self.inner).sender {
                Some(Sender::Pipelined(line)) => in_flight < line.depth() && line.room() > 0,
                _ => false,
            },
        }
    }

    /// Whether nothing is outstanding on it, not even what nobody waits for.
    pub(crate) fn is_empty(&self) -> bool {
        match &lock(&self.inner).sender {
            Some(Sender::Pipelined(line)) => line.outstanding() == 0,
            _ => true,
        }
    }

    /// For the driver of HTTP/2: how many streams the peer allows now.
    pub(crate) fn note_streams(self: &Arc<Self>, streams: usize) {
        if self.room.swap(streams, Ordering::AcqRel) != streams {
            self.make_offer();
        }
    }

    /// For HTTP/2: how many streams the peer allows.
    pub(crate) fn streams(&self) -> usize {
        self.room.load(Ordering::Acquire)
    }

    /// For the driver of a pipelined connection: its room may have changed.
    pub(crate) fn note_room(self: &Arc<Self>) {
        let room = match &lock(&self.inner).sender {
            Some(Sender::Pipelined(line)) if line.outstanding() == 0 => usize::MAX,
            Some(Sender::Pipelined(line)) => line.room(),
            _ => return,
        };
        if self.room.swap(room, Ordering::AcqRel) != room && room > 0 {
            self.make_offer();
        }
    }

    fn make_offer(self: &Arc<Self>) {
        if let Some(home) = self.home() {
            home.offer(self);
        }
    }

    /// Takes note of what a response announces; what it leaves out is not taken back.
    pub(crate) fn note_hint(&self, hint: KeepAliveHint) {
        let mut inner = lock(&self.inner);
        inner.timeout = hint.timeout().or(inner.timeout);
        inner.max = hint
            .max()
            .or_else(|| inner.max.map(|max| max.saturating_sub(1)));
    }

    /// The announced idle time, and whether the server takes another request beside so many.
    pub(crate) fn hint(&self, in_flight: usize) -> (Option<Duration>, bool) {
        let inner = lock(&self.inner);
        let more = inner.max.is_none_or(|max| in_flight < max as usize);
        (inner.timeout, more)
    }

    /// A request was sent on it, and the server closed it without an answer.
    pub(crate) fn note_lost(&self) {
        if self.lost.fetch_add(1, Ordering::Relaxed) == 1 {
            if let Some(home) = self.home() {
                home.lost_several(self);
            }
        }
    }

    /// Has the connection closed by its driver: at once if no exchange is open.
    pub(crate) fn retire(&self, reason: CloseReason) {
        if self.wire.is_shared() {
            // Others have exchanges on it, or are about to begin one.
            self.handle.request_close(reason);
        } else {
            self.handle.close(reason);
        }
    }

    /// Tells why the connection closed, if its socket went before that was known.
    pub(crate) fn settle(&self) {
        if self.io.must_report() {
            let reason = self.handle.close(self.io.end());
            self.watch.closed(&self.handle, reason);
        }
    }

    /// Gives hyper's sender up, which has hyper end the connection.
    pub(crate) fn hang_up(&self) {
        let sender = lock(&self.inner).sender.take();
        drop(sender);
    }

    pub(crate) fn home(&self) -> Option<Arc<dyn Home<B>>> {
        self.home.upgrade()
    }

    fn free(self: Arc<Self>, exchange: Exchange) {
        drop(exchange);
        match self.home() {
            Some(home) => home.release(self),
            None => self.retire(CloseReason::Application),
        }
    }

    /// What was granted has not been used, or came to nothing.
    pub(crate) fn unused(self: &Arc<Self>) {
        if self.wire.is_shared() {
            self.leave();
        }
    }

    /// An exchange on a shared connection is over.
    pub(crate) fn leave(self: &Arc<Self>) {
        match self.home() {
            Some(home) => home.leave(self),
            None => self.retire(CloseReason::Application),
        }
    }

    fn is_ready(&self) -> bool {
        self.io.is_request_done()
            && matches!(&lock(&self.inner).sender, Some(Sender::Http1(sender)) if sender.is_ready())
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut lock(&self.inner).sender {
            Some(Sender::Http1(sender)) => sender
                .poll_ready(cx)
                .map(|ready| ready.is_ok() && self.io.is_request_done()),
            _ => Poll::Ready(false),
        }
    }

    fn leave_to_driver(&self, returning: Returning) {
        *lock(&self.returning) = Some(returning);
        self.driver.wake();
        if self.io.is_gone() {
            // The driver may have ended before this was left to it.
            self.clear();
        }
    }

    /// Ends what has been left to a driver that is no more.
    pub(crate) fn clear(&self) {
        let left = lock(&self.returning).take();
        drop(left);
        if self.handle.is_idle() {
            self.settle();
        }
    }

    /// For the driver: what has been left to it.
    pub(crate) fn poll_returning(&self, cx: &mut Context<'_>) -> Option<Returning> {
        self.driver.register(cx.waker());
        lock(&self.returning).take()
    }

    /// For the driver: goes on with what has been left to it. Ready with the reason if the
    /// connection has to be cut.
    pub(crate) fn poll_return(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        slot: &mut Option<Returning>,
    ) -> Poll<CloseReason> {
        while let Some(Returning::Drain(rest, left, _, _)) = slot {
            match Pin::new(rest).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match left.checked_sub(len) {
                        Some(rest) => *left = rest,
                        None => return Poll::Ready(CloseReason::BodyDropped),
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(CloseReason::IncompleteMessage),
                Poll::Ready(None) => match slot.take() {
                    Some(Returning::Drain(_, _, exchange, None)) => {
                        *slot = Some(Returning::Unready(exchange));
                    }
                    Some(Returning::Drain(_, _, _, Some(reason))) => {
                        return Poll::Ready(reason);
                    }
                    Some(Returning::Unready(_)) | None => {}
                },
            }
        }
        match self.poll_ready(cx) {
            Poll::Ready(true) => {
                if let Some(Returning::Unready(exchange)) = slot.take() {
                    Arc::clone(self).free(exchange);
                }
                Poll::Pending
            }
            // hyper says no more: its connection is ending, which the driver sees by itself.
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<B> Conn<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Hands a request over; gives it back if the connection has ended.
    #[expect(clippy::result_large_err, reason = "the request, whole")]
    pub(crate) fn send(
        &self,
        request: Request<B>,
    ) -> Result<impl Future<Output = SendResult<B>> + use<B>, Request<B>> {
        match &mut lock(&self.inner).sender {
            Some(sender) => Ok(sender.send(request, &self.io)),
            None => Err(request),
        }
    }
}

// ===== impl Leased for Conn =====

impl<B: Send + 'static> Leased for Conn<B> {
    fn finished(self: Arc<Self>, exchange: Exchange, retire: Option<CloseReason>) {
        match retire {
            // The transport belongs to the tunnel now, and tells its end by itself.
            Some(CloseReason::Upgraded) => drop(exchange),
            Some(reason) => {
                drop(exchange);
                self.retire(reason);
                self.settle();
                if self.wire.is_shared() {
                    self.leave();
                }
            }
            None if self.wire.is_shared() => {
                drop(exchange);
                self.leave();
            }
            None if self.is_ready() => self.free(exchange),
            None => self.leave_to_driver(Returning::Unready(exchange)),
        }
    }

    fn dropped(self: Arc<Self>, rest: Incoming, exchange: Exchange, retire: Option<CloseReason>) {
        if self.wire.is_shared() {
            // HTTP/2 sends RST_STREAM. A pipelined connection reads the rest, within bounds, and says
            // when it has.
            drop(rest);
            drop(exchange);
            if let Some(reason) = retire {
                self.retire(reason);
            }
            return self.leave();
        }
        let limit = self.home().map_or(0, |home| home.drain_limits().0);
        if retire.is_some() || rest.size_hint().lower() > limit {
            drop(exchange);
            self.retire(CloseReason::BodyDropped);
        } else {
            self.leave_to_driver(Returning::Drain(rest, limit, exchange, retire));
        }
    }

    fn failed(self: Arc<Self>, exchange: Exchange, reason: CloseReason) {
        drop(exchange);
        match self.wire {
            Wire::Http1 => {
                self.retire(reason);
                self.settle();
            }
            Wire::Http2 => self.leave(),
            Wire::Pipelined => {
                self.retire(reason);
                self.settle();
                self.leave();
            }
        }
    }
}

/// Why a connection closes on which an exchange failed so.
pub(crate) fn reason_of(error: &hyper::Error) -> CloseReason {
    if error.is_parse() {
        CloseReason::ProtocolError
    } else if error.is_user() {
        CloseReason::Aborted
    } else {
        CloseReason::IncompleteMessage
    }
}

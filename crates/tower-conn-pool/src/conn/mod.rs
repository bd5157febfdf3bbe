//! One pooled connection: its sender, and what happens to it when an exchange is over.

mod in_flight;
mod leased;
mod returning;
mod sender;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use http::{HeaderValue, Request};
use http_body::Body;
use hyper_util::client::legacy::connect::Connected;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, Exchange};
use tower_keep_alive::KeepAliveHint;

pub(crate) use self::in_flight::{InFlight, Unanswered};
pub(crate) use self::returning::Returning;
pub(crate) use self::sender::{SendFailed, Sender, Sent};
use crate::error::BoxError;
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

    /// The same of a pipelined connection; if not, its driver tells as soon as it is.
    pub(crate) fn is_empty_or_will_tell(&self) -> bool {
        if self.is_empty() {
            return true;
        }
        // Whatever the driver has told before, and may be about to tell again, is news after this.
        self.room.store(0, Ordering::Release);
        self.is_empty()
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
}

impl<B> Conn<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Hands a request over; its future gives it back if the connection has ended.
    pub(crate) fn send(&self, request: Request<B>) -> impl Future<Output = Sent<B>> + use<B> {
        sender::send(&mut lock(&self.inner).sender, request, &self.io)
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

//! One pooled connection: its sender, and what happens to it when an exchange is over.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::client::legacy::connect::Connected;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, Exchange};
use tower_keep_alive::KeepAliveHint;

use crate::Origin;
use crate::body::{Leased, RequestBody};
use crate::io::IoState;
use crate::shared::Opened;

/// The pool, for a connection that does not care what opens others.
pub(crate) trait Home<B>: Send + Sync {
    /// The connection is free for another exchange.
    fn release(&self, conn: Arc<Conn<B>>);

    /// The connection can take no more exchanges.
    fn forget(&self, conn: &Arc<Conn<B>>);

    /// The connection is closed, for this reason.
    fn report(&self, connection: &Connection, reason: CloseReason);

    /// How much of a dropped body is read, and for how long.
    fn drain_limits(&self) -> (u64, Duration);
}

pub(crate) struct Conn<B> {
    pub(crate) handle: Connection,
    pub(crate) origin: Origin,
    pub(crate) io: Arc<IoState>,
    pub(crate) connected: Connected,
    pub(crate) http2: bool,
    /// Whether the socket itself can be looked at before use.
    pub(crate) bare_tcp: bool,
    pub(crate) retire_at: Option<Instant>,
    home: Weak<dyn Home<B>>,
    inner: Mutex<Inner<B>>,
    returning: Mutex<Option<Returning>>,
    driver: AtomicWaker,
}

struct Inner<B> {
    sender: Option<Sender<B>>,
    /// The server's last word on idle time, and on how many more requests it takes.
    timeout: Option<Duration>,
    max: Option<u32>,
}

pub(crate) enum Sender<B> {
    Http1(http1::SendRequest<RequestBody<B>>),
    Http2(http2::SendRequest<RequestBody<B>>),
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
            origin,
            io: opened.state,
            connected: opened.connected,
            http2: opened.http2,
            bare_tcp: opened.bare_tcp,
            retire_at,
            home,
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
        match &lock(&self.inner).sender {
            Some(Sender::Http1(sender)) => !sender.is_closed(),
            Some(Sender::Http2(sender)) => !sender.is_closed(),
            None => false,
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

    /// The announced idle time, and whether the server takes another request.
    pub(crate) fn hint(&self) -> (Option<Duration>, bool) {
        let inner = lock(&self.inner);
        (inner.timeout, inner.max != Some(0))
    }

    /// Has the connection closed by its driver: at once if no exchange is open.
    pub(crate) fn retire(&self, reason: CloseReason) {
        if self.http2 {
            // Others may be about to begin an exchange on it.
            self.handle.request_close(reason);
        } else {
            self.handle.close(reason);
        }
    }

    /// Tells why the connection closed, if its socket went before that was known.
    pub(crate) fn settle(&self) {
        if self.io.must_report() {
            let reason = self.handle.close(self.io.end());
            if let Some(home) = self.home() {
                home.report(&self.handle, reason);
            }
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
    B: Body + Send + 'static,
{
    /// Hands a request to hyper; gives it back if the connection has ended.
    #[expect(clippy::result_large_err, reason = "the request, whole")]
    pub(crate) fn send(
        &self,
        request: Request<B>,
    ) -> Result<impl Future<Output = SendResult<B>> + use<B>, Request<B>> {
        let mut inner = lock(&self.inner);
        match &mut inner.sender {
            Some(Sender::Http1(sender)) => {
                self.io.request_begins();
                let state = Some(Arc::clone(&self.io));
                let request = request.map(|body| RequestBody::new(body, state));
                Ok(Sending::Http1 {
                    future: sender.try_send_request(request),
                })
            }
            Some(Sender::Http2(sender)) => {
                let request = request.map(|body| RequestBody::new(body, None));
                Ok(Sending::Http2 {
                    future: sender.try_send_request(request),
                })
            }
            None => Err(request),
        }
    }
}

pub(crate) type SendResult<B> = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>;

pin_project! {
    #[project = SendingProj]
    enum Sending<A, B> {
        Http1 { #[pin] future: A },
        Http2 { #[pin] future: B },
    }
}

impl<A: Future, B: Future<Output = A::Output>> Future for Sending<A, B> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            SendingProj::Http1 { future } => future.poll(cx),
            SendingProj::Http2 { future } => future.poll(cx),
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
            }
            None if self.http2 => drop(exchange),
            None if self.is_ready() => self.free(exchange),
            None => self.leave_to_driver(Returning::Unready(exchange)),
        }
    }

    fn dropped(self: Arc<Self>, rest: Incoming, exchange: Exchange, retire: Option<CloseReason>) {
        if self.http2 {
            // RST_STREAM: the others on the connection go on.
            drop(rest);
            return;
        }
        let limit = self.home().map_or(0, |home| home.drain_limits().0);
        if retire.is_some() || rest.size_hint().lower() > limit {
            drop(exchange);
            self.retire(CloseReason::BodyDropped);
        } else {
            self.leave_to_driver(Returning::Drain(rest, limit, exchange, retire));
        }
    }

    fn failed(self: Arc<Self>, exchange: Exchange, error: &hyper::Error) {
        drop(exchange);
        if !self.http2 {
            self.retire(reason_of(error));
            self.settle();
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

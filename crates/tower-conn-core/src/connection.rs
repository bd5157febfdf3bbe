//! The handle of one transport connection.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Version};
use tokio::time::Instant;

use crate::state::State;
use crate::{CloseReason, Exchange, Side, StampTable};

/// A handle of one transport connection, server side or client side.
///
/// It is the only state that the tower-conn crates share: who opened the connection, how many
/// [exchanges](Exchange) it has carried, since when it is idle, and whether someone has asked for
/// it to close, and why. Clones refer to the same connection and are cheap.
///
/// # On which requests it is found
///
/// Servers put the handle into the extensions of every request of the connection; [`Connection::of`]
/// finds it there. Under `axum::serve` that is done by
/// `into_make_service_with_connect_info::<Connection>()` (feature `axum`); in a hyper accept loop
/// the service inserts a clone.
///
/// # Closing
///
/// [`request_close`](Self::request_close) asks whoever drives the connection to close it when no
/// exchange is open, and wakes them. The first reason given stays. [`close_if_idle`](Self::close_if_idle)
/// closes an idle connection at once; it and [`Exchange::begin`] are single transitions of the same
/// word, so exactly one of them wins.
///
/// # Example
///
/// ```
/// use tower_conn_core::{CloseReason, Connection};
///
/// let connection = Connection::server();
/// let exchange = connection.begin().expect("a new connection is open");
/// assert_eq!(connection.exchanges_open(), 1);
///
/// // An open exchange is never cut by an idle limit.
/// assert!(!connection.close_if_idle(std::time::Duration::ZERO, CloseReason::Idle));
///
/// drop(exchange);
/// assert!(connection.close_if_idle(std::time::Duration::ZERO, CloseReason::Idle));
/// assert!(connection.begin().is_err());
/// assert_eq!(connection.close_reason(), Some(CloseReason::Idle));
/// ```
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
    /// Set on the handle in a request's extensions once the exchange of that request has begun.
    exchange: Option<NonZeroU32>,
}

struct Inner {
    id: u64,
    side: Side,
    version: AtomicU8,
    opened: Instant,
    local_addr: Option<SocketAddr>,
    peer_addr: Option<SocketAddr>,
    stamp: Stamp,
    attachment: Option<Attachment>,
    state: State,
}

type Attachment = Arc<dyn Any + Send + Sync>;

/// Where the beginning of idleness is noted.
enum Stamp {
    /// Microseconds since `opened`, plus one; 0 while busy.
    Own(AtomicU64),
    Table {
        table: Arc<StampTable>,
        slot: u32,
    },
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Connection {
    /// A connection that this process accepted, with a clock of its own.
    #[must_use]
    pub fn server() -> Self {
        Self::builder(Side::Server).build()
    }

    /// A connection that this process opened, with a clock of its own.
    #[must_use]
    pub fn client() -> Self {
        Self::builder(Side::Client).build()
    }

    /// Starts a connection with addresses, or one whose idle time is kept in a [`StampTable`].
    pub const fn builder(side: Side) -> ConnectionBuilder {
        ConnectionBuilder {
            side,
            local_addr: None,
            peer_addr: None,
            table: None,
            attachment: None,
        }
    }

    /// The connection of the request or response with these extensions, if a server or a client
    /// has put it there: as it is, or as axum's `ConnectInfo<Connection>` (feature `axum`).
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        let found = extensions.get::<Self>();
        #[cfg(feature = "axum")]
        let found = found.or_else(|| {
            extensions
                .get::<axum::extract::ConnectInfo<Self>>()
                .map(|info| &info.0)
        });
        found
    }

    fn of_mut(extensions: &mut Extensions) -> Option<&mut Self> {
        #[cfg(feature = "axum")]
        if extensions.get::<Self>().is_none() {
            return extensions
                .get_mut::<axum::extract::ConnectInfo<Self>>()
                .map(|info| &mut info.0);
        }
        extensions.get_mut::<Self>()
    }

    /// A number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// The side of the connection that this process is on.
    #[must_use]
    pub fn side(&self) -> Side {
        self.inner.side
    }

    /// The HTTP version last seen on the connection; `None` before the first message.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.inner.version.load(Ordering::Relaxed) {
            9 => Some(Version::HTTP_09),
            10 => Some(Version::HTTP_10),
            11 => Some(Version::HTTP_11),
            20 => Some(Version::HTTP_2),
            30 => Some(Version::HTTP_3),
            _ => None,
        }
    }

    /// Notes the HTTP version of a message on the connection.
    pub fn saw_version(&self, version: Version) {
        let code = match version {
            Version::HTTP_09 => 9,
            Version::HTTP_10 => 10,
            Version::HTTP_11 => 11,
            Version::HTTP_2 => 20,
            Version::HTTP_3 => 30,
            _ => return,
        };
        self.inner.version.store(code, Ordering::Relaxed);
    }

    /// The local address, where it is known.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr
    }

    /// The peer's address, where it is known.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner.peer_addr
    }

    /// When the connection was opened or accepted.
    #[must_use]
    pub fn opened_at(&self) -> Instant {
        self.inner.opened
    }

    /// How long the connection has been open.
    #[must_use]
    pub fn age(&self) -> Duration {
        Instant::now().saturating_duration_since(self.inner.opened)
    }

    /// What the driver of the connection attached to it, if it is of this type; see
    /// [`ConnectionBuilder::attach`].
    #[must_use]
    pub fn attachment<T: Any>(&self) -> Option<&T> {
        self.inner.attachment.as_ref()?.downcast_ref()
    }

    /// The same as [`attachment`](Self::attachment), to keep.
    #[must_use]
    pub fn shared_attachment<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.inner.attachment.as_ref()?).downcast().ok()
    }

    // ===== exchanges =====

    /// Begins an exchange.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the connection has been closed, for instance by an idle limit that was first.
    /// A connection that is only asked to close still takes the requests that reach it.
    pub fn begin(&self) -> Result<Exchange, Closed> {
        match self.inner.state.begin() {
            Ok(number) => {
                self.inner.stamp_busy();
                Ok(Exchange::new(self.clone(), number))
            }
            Err(word) => Err(Closed {
                reason: word.reason(),
            }),
        }
    }

    /// Begins the exchange of the request with these extensions, unless an outer layer already has.
    ///
    /// `None` if the request carries no connection, if its exchange has begun before, or if the
    /// connection is closed. Layers that count exchanges use this, so that stacking them counts once.
    pub fn begin_once(extensions: &mut Extensions) -> Option<Exchange> {
        let connection = Self::of_mut(extensions)?;
        if connection.exchange.is_some() {
            return None;
        }
        let exchange = connection.begin().ok()?;
        connection.exchange = NonZeroU32::new(exchange.number());
        Some(exchange)
    }

    /// The number of the exchange that this handle was found on, from 1; `None` for a handle that
    /// does not come from the extensions of a request whose exchange has begun.
    #[must_use]
    pub fn exchange_number(&self) -> Option<NonZeroU32> {
        self.exchange
    }

    /// How many exchanges have begun, modulo 2^32.
    #[must_use]
    pub fn exchanges_begun(&self) -> u32 {
        self.inner.state.load().begun()
    }

    /// How many exchanges have ended, modulo 2^32.
    #[must_use]
    pub fn exchanges_finished(&self) -> u32 {
        let word = self.inner.state.load();
        word.begun().wrapping_sub(word.open())
    }

    /// How many exchanges are open now.
    #[must_use]
    pub fn exchanges_open(&self) -> u32 {
        self.inner.state.load().open()
    }

    pub(crate) fn end(&self) {
        if self.inner.state.end() {
            self.inner.stamp_idle();
        }
    }

    // ===== idleness =====

    /// Whether no exchange is open and no byte of a next head has been delivered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.inner.state.load().is_idle()
    }

    /// How long no exchange has been open; `None` while one is.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        match &self.inner.stamp {
            Stamp::Own(micros) => {
                let since = micros.load(Ordering::Relaxed).checked_sub(1)?;
                Some(self.age().saturating_sub(Duration::from_micros(since)))
            }
            Stamp::Table { table, slot } => {
                let since = table.idle_since(*slot)?;
                Some(table.tick() * table.now().get().saturating_sub(since.get()))
            }
        }
    }

    /// Notes that a byte of a next message head was delivered, so that the connection is not idle
    /// any more. `false` if the connection was closed first: then the byte must not be delivered.
    ///
    /// [`begin`](Self::begin) takes over from here.
    #[must_use]
    pub fn head_started(&self) -> bool {
        self.inner.state.receive()
    }

    /// Takes back [`head_started`](Self::head_started): what was delivered was no head.
    pub fn head_abandoned(&self) {
        self.inner.state.unreceive();
    }

    // ===== closing =====

    /// Asks for the connection to close when no exchange is open, and wakes whoever drives it.
    /// `false` if a close was asked for before; the earlier reason stands.
    pub fn request_close(&self, reason: CloseReason) -> bool {
        self.inner.state.request_close(reason)
    }

    /// Asks for a close, as [`request_close`](Self::request_close), if the connection has been idle
    /// for at least `limit`; `true` if this call asked.
    ///
    /// For a limit that is watched from outside the task that drives the connection: that task may
    /// find a request in its receive buffer first, and then serves it before it closes. Fails, and
    /// changes nothing, if an exchange or a head begins at the same moment and is first.
    pub fn request_close_if_idle(&self, limit: Duration, reason: CloseReason) -> bool {
        let seen = self.inner.state.load();
        self.idle_for().is_some_and(|idle| idle >= limit) && self.inner.state.ask_idle(seen, reason)
    }

    /// Closes the connection if it has been idle for at least `limit`; `true` if this call closed it.
    ///
    /// Fails, and changes nothing, if an exchange or a head begins at the same moment and is first.
    pub fn close_if_idle(&self, limit: Duration, reason: CloseReason) -> bool {
        let seen = self.inner.state.load();
        self.idle_for().is_some_and(|idle| idle >= limit) && self.inner.state.claim(seen, reason)
    }

    /// Records that the connection is closed, whatever was open on it, and returns the reason that
    /// stands: this one, unless an earlier one was given.
    pub fn close(&self, reason: CloseReason) -> CloseReason {
        self.inner.state.close(reason).0
    }

    /// Like [`close`](Self::close), and says whether this call was the one that closed the
    /// connection, so that a close is counted once.
    pub fn close_once(&self, reason: CloseReason) -> Option<CloseReason> {
        let (stands, first) = self.inner.state.close(reason);
        first.then_some(stands)
    }

    /// Closes the connection at once, whatever is open on it, and wakes whoever drives it; `true` if
    /// this call closed it.
    ///
    /// This reason replaces one that was only [asked](Self::request_close) for: a connection that was
    /// to close after its exchange and is cut in the middle of it is closed for the second reason.
    pub fn cut(&self, reason: CloseReason) -> bool {
        self.inner.state.cut(reason)
    }

    /// Wakes whoever drives the connection, so that it looks at the connection again.
    pub fn wake(&self) {
        self.inner.state.wake();
    }

    /// Why the connection closes: the first reason given, unless it was [`cut`](Self::cut); `None`
    /// while nobody has asked.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.state.load().reason()
    }

    /// Whether a close was asked for or has happened.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.inner.state.load().is_closing()
    }

    /// Whether the connection is closed: no exchange can begin on it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.state.load().is_closed()
    }

    /// Ready with the reason once a close was asked for or has happened.
    ///
    /// For the one task that drives the connection: this, [`poll_drained`](Self::poll_drained) and
    /// [`poll_closed`](Self::poll_closed) share one waker, and the last caller is the one that is
    /// woken.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.state.poll_close(cx)
    }

    /// Ready with the reason once a close was asked for and the connection is idle. It is closed
    /// from then on: an exchange that would begin later is refused.
    ///
    /// For the one task that drives the connection, as [`poll_close`](Self::poll_close).
    pub fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.state.poll_drained(cx)
    }

    /// Ready with the reason once the connection is closed; a close that was only asked for does not
    /// count.
    ///
    /// For the one task that drives the connection, as [`poll_close`](Self::poll_close).
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.state.poll_closed(cx)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.inner.state.load();
        f.debug_struct("Connection")
            .field("id", &self.inner.id)
            .field("side", &self.inner.side)
            .field("version", &self.version())
            .field("peer_addr", &self.inner.peer_addr)
            .field("open", &word.open())
            .field("begun", &word.begun())
            .field("receiving", &word.is_receiving())
            .field("close_reason", &word.reason())
            .field("closed", &word.is_closed())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Connection {
    /// Whether both are handles of the same connection.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Connection {}

// ===== impl Inner =====

impl Inner {
    fn stamp_busy(&self) {
        match &self.stamp {
            Stamp::Own(micros) => micros.store(0, Ordering::Relaxed),
            Stamp::Table { table, slot } => table.clear(*slot),
        }
    }

    fn stamp_idle(&self) {
        match &self.stamp {
            Stamp::Own(micros) => {
                let since = Instant::now()
                    .saturating_duration_since(self.opened)
                    .as_micros();
                micros.store(
                    u64::try_from(since).unwrap_or(u64::MAX - 1) + 1,
                    Ordering::Relaxed,
                );
            }
            Stamp::Table { table, slot } => table.set_idle(*slot),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Stamp::Table { table, slot } = &self.stamp {
            table.clear(*slot);
        }
    }
}

/// The connection is closed: no exchange can begin on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    reason: Option<CloseReason>,
}

impl Closed {
    /// Why it was closed; `None` only if more exchanges are open at once than can be counted (2^20).
    #[must_use]
    pub const fn reason(&self) -> Option<CloseReason> {
        self.reason
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "the connection is closed ({reason})"),
            None => f.write_str("too many exchanges are open on the connection"),
        }
    }
}

impl std::error::Error for Closed {}

/// Options of a [`Connection`]; see [`Connection::builder`].
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct ConnectionBuilder {
    side: Side,
    local_addr: Option<SocketAddr>,
    peer_addr: Option<SocketAddr>,
    table: Option<(Arc<StampTable>, u32)>,
    attachment: Option<Attachment>,
}

impl ConnectionBuilder {
    /// The local address of the transport.
    pub const fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }

    /// The peer's address.
    pub const fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Keeps the idle time in this slot of a table, with the table's coarse clock, instead of
    /// reading a clock at the end of each exchange. The slot must not be in use by another
    /// connection; it is cleared when the last handle is dropped.
    pub fn stamp(mut self, table: Arc<StampTable>, slot: u32) -> Self {
        self.table = Some((table, slot));
        self
    }

    /// Attaches something of the driver's own, which middleware reaches through
    /// [`Connection::attachment`]: byte counts, limits, a way to cut the connection.
    pub fn attach<T: Any + Send + Sync>(mut self, attachment: Arc<T>) -> Self {
        self.attachment = Some(attachment);
        self
    }

    /// The connection: open, idle from now on.
    #[must_use]
    pub fn build(self) -> Connection {
        let inner = Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            side: self.side,
            version: AtomicU8::new(0),
            opened: Instant::now(),
            local_addr: self.local_addr,
            peer_addr: self.peer_addr,
            stamp: match self.table {
                Some((table, slot)) => Stamp::Table { table, slot },
                None => Stamp::Own(AtomicU64::new(0)),
            },
            attachment: self.attachment,
            state: State::new(),
        };
        inner.stamp_idle();
        Connection {
            inner: Arc::new(inner),
            exchange: None,
        }
    }
}

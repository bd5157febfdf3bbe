//! The handle of one transport connection.

mod builder;
mod closing;
mod exchanges;
mod inner;
mod link;
mod snapshot;

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Extensions, Version};
use tokio::time::Instant;

use self::inner::Inner;
use crate::{Side, StampSlot};

pub use self::builder::ConnectionBuilder;
pub use self::exchanges::Closed;
pub use self::link::Link;
pub use self::snapshot::Snapshot;

/// A handle of one transport connection, server side or client side.
///
/// It is the only state that the tower-conn crates share: who opened the connection, how many
/// [exchanges](crate::Exchange) it has carried, since when it is idle, and whether someone has asked for
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
/// closes an idle connection at once; it and [`begin`](Self::begin) are single transitions of the same
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
    link: Link,
    /// Set on the handle in a request's extensions once the exchange of that request has begun.
    exchange: Option<NonZeroU32>,
}

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

    /// Starts a connection with addresses, or one whose idle time is kept in a
    /// [`StampTable`](crate::StampTable).
    pub const fn builder(side: Side) -> ConnectionBuilder {
        ConnectionBuilder::new(side)
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

    /// What drivers hold of it.
    #[must_use]
    #[inline]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// The same, keeping this handle's share.
    #[must_use]
    pub fn into_link(self) -> Link {
        self.link
    }

    #[inline]
    fn inner(&self) -> &Inner {
        &self.link.inner
    }

    /// What is true of the connection now.
    #[must_use]
    #[inline]
    pub fn snapshot(&self) -> Snapshot {
        self.link.snapshot()
    }

    /// Leaves a note for the driver of the connection, who sees it in its
    /// [`snapshot`](Self::snapshot). What it says is between the two.
    pub fn leave_note(&self) {
        self.inner().state.leave_note();
    }

    /// Takes the note; whether there was one. What was done before it was left is seen after this.
    pub fn take_note(&self) -> bool {
        self.inner().state.take_note()
    }

    /// A number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner().id
    }

    /// The side of the connection that this process is on.
    #[must_use]
    pub fn side(&self) -> Side {
        self.inner().side()
    }

    /// The HTTP version last seen on the connection; `None` before the first message.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        inner::version_of_code(self.inner().version().load(Ordering::Relaxed))
    }

    /// Notes the HTTP version of a message on the connection.
    pub fn saw_version(&self, version: Version) {
        if let Some(code) = inner::version_code(version) {
            self.inner().version().store(code, Ordering::Relaxed);
        }
    }

    /// The local address, where it is known.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner().local_addr()
    }

    /// The peer's address, where it is known.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner().peer_addr()
    }

    /// When the connection was opened or accepted.
    #[must_use]
    pub fn opened_at(&self) -> Instant {
        self.inner().opened()
    }

    /// How long the connection has been open.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.inner().age()
    }

    /// Bytes received from the peer, as far as whoever reads the transport
    /// [counts](Self::count_received) them.
    #[must_use]
    #[inline]
    pub fn bytes_received(&self) -> u64 {
        self.link.bytes_received()
    }

    /// Bytes sent to the peer, as far as whoever writes the transport [counts](Self::count_sent) them.
    #[must_use]
    #[inline]
    pub fn bytes_sent(&self) -> u64 {
        self.link.bytes_sent()
    }

    /// Counts bytes received from the peer: a relaxed load and store. For the one who reads the
    /// transport; of two who count at once, one is lost.
    #[inline]
    pub fn count_received(&self, n: usize) {
        self.link.count_received(n);
    }

    /// Counts bytes sent to the peer, as [`count_received`](Self::count_received), for the one who
    /// writes the transport.
    #[inline]
    pub fn count_sent(&self, n: usize) {
        self.link.count_sent(n);
    }

    /// The slot in which its idle time is kept, if there is one.
    #[must_use]
    pub fn stamp_slot(&self) -> Option<&StampSlot> {
        self.inner().slot()
    }

    /// What the driver of the connection attached to it, or else to the table of its
    /// [slot](Self::stamp_slot), if it is of this type; see [`ConnectionBuilder::attach`].
    #[must_use]
    pub fn attachment<T: Any>(&self) -> Option<&T> {
        self.link.attachment()
    }

    /// The same as [`attachment`](Self::attachment), to keep.
    #[must_use]
    pub fn shared_attachment<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.inner().attachment()?).downcast().ok()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.inner().state.load();
        f.debug_struct("Connection")
            .field("id", &self.inner().id)
            .field("side", &self.side())
            .field("version", &self.version())
            .field("peer_addr", &self.peer_addr())
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
        Arc::ptr_eq(&self.link.inner, &other.link.inner)
    }
}

impl Eq for Connection {}

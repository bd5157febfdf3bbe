//! What a pool reports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tower_conn_core::{CloseReason, Connection};
use tower_keep_alive::KeepAliveHint;

use crate::{Origin, PortBudget};

/// Watches a pool: counters, logs, tests.
///
/// Called where the thing happens, sometimes within a request, never with a lock of the pool held.
/// `()` watches nothing; closures over [`PoolEvent`] watch everything.
pub trait PoolObserver: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &PoolEvent<'_>);
}

impl PoolObserver for () {
    fn on_event(&self, _: &PoolEvent<'_>) {}
}

impl<F> PoolObserver for F
where
    F: Fn(&PoolEvent<'_>) + Send + Sync + 'static,
{
    fn on_event(&self, event: &PoolEvent<'_>) {
        self(event);
    }
}

/// Something that happened in a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent<'a> {
    /// A connection was opened.
    Opened(&'a Connection),
    /// An open connection was taken for another request, after this idle time.
    Reused(&'a Connection, Duration),
    /// A request has to wait: as many connections are open as may be, or its own is being opened.
    /// The number counts the requests that wait for this origin, this one included.
    Queued(&'a Origin, usize),
    /// A response announced an idle time or a number of requests.
    Hint {
        /// The connection.
        connection: &'a Connection,
        /// What was announced.
        hint: KeepAliveHint,
        /// How long the connection may idle now, the margin taken off; `None` for ever.
        idle_time: Option<Duration>,
    },
    /// A connection was opened for a request that by then had got another one; it is kept.
    RaceLost(&'a Connection),
    /// A connection was closed, for this reason. Its local port may be in TIME_WAIT now.
    Closed(&'a Connection, CloseReason),
    /// Local ports towards this destination run out: so many of so many are taken.
    PortsLow {
        /// The destination.
        destination: SocketAddr,
        /// Ports in use or in TIME_WAIT.
        used: u32,
        /// Ports that there are.
        ports: u32,
    },
}

/// How a request got its connection. In the extensions of every response, and in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionUse {
    /// How many exchanges the connection had carried before; 0 means that it was new.
    pub exchanges_before: u32,
    /// How long it had been idle; `None` if it was new, or busy with other HTTP/2 streams.
    pub idle_for: Option<Duration>,
}

impl ConnectionUse {
    /// Whether the connection had carried an exchange before.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.exchanges_before > 0
    }
}

/// In a response's extensions: only the end of the connection ends the body, so that a complete body
/// cannot be told from one that was cut (RFC 9112 section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a marker")]
pub struct CloseDelimited;

/// What outlives the pool for as long as a socket is open: who watches, and the count of ports.
pub(crate) struct Watch<O: ?Sized> {
    pub(crate) ports: PortBudget,
    pub(crate) observer: O,
}

impl<O: PoolObserver + ?Sized> Watch<O> {
    pub(crate) fn closed(&self, connection: &Connection, reason: CloseReason) {
        self.observer
            .on_event(&PoolEvent::Closed(connection, reason));
    }
}

impl<O: PoolObserver + ?Sized> PoolObserver for Arc<O> {
    fn on_event(&self, event: &PoolEvent<'_>) {
        (**self).on_event(event);
    }
}

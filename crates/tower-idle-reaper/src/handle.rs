//! What middleware can do with its connection.

use std::fmt;
use std::time::Duration;

use http::Extensions;
use tower_conn_core::{CloseReason, Connection};

use crate::limits::{NEVER, after, ticks};
use crate::shared::{self, Shared};

/// A connection under an [`IdleReaper`](crate::IdleReaper), as middleware sees it.
///
/// Found on every request whose connection is known: [`ReapHandle::of`]. Asking only ever escalates:
/// a connection that is closing cannot be made to stay.
///
/// ```
/// use http::Request;
/// use tower_idle_reaper::ReapHandle;
///
/// /// Has clients reconnect, for instance after their permissions have changed.
/// fn reconnect<B>(request: &Request<B>) {
///     if let Some(connection) = ReapHandle::of(request.extensions()) {
///         connection.close_after_response();
///     }
/// }
/// # reconnect(&Request::new(()));
/// ```
#[derive(Clone)]
pub struct ReapHandle {
    connection: Connection,
}

impl ReapHandle {
    /// The connection of the request with these extensions, if it is under a reaper.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        Self::new(Connection::of(extensions)?)
    }

    /// A handle of this connection, if it is under a reaper.
    #[must_use]
    pub fn new(connection: &Connection) -> Option<Self> {
        Shared::of(connection)?;
        Some(Self {
            connection: connection.clone(),
        })
    }

    fn shared(&self) -> Shared<'_> {
        Shared::of(&self.connection)
            .unwrap_or_else(|| unreachable!("a handle is only made of a reaper's connection"))
    }

    /// The connection.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes the connection when no exchange is open; HTTP/1 responses whose head is still to be
    /// written carry `Connection: close`. `false` if it was closing already.
    pub fn close_after_response(&self) -> bool {
        self.connection.request_close(CloseReason::Application)
    }

    /// [`close_after_response`](Self::close_after_response), and cuts the connection if it is still
    /// there after `grace`.
    pub fn drain(&self, grace: Duration) {
        self.close_after_response();
        let shared = self.shared();
        let at = after(shared.now(), ticks(grace, shared.reaper().limits.tick()));
        if at != NEVER {
            shared.cut_at(at);
        }
    }

    /// Cuts the connection at once: reading and writing fail. `false` if it was closed already.
    pub fn abort(&self) -> bool {
        self.shared().cut(CloseReason::Aborted)
    }

    /// Keeps the connection from being closed as idle, or to make room, while the guard is there.
    ///
    /// For a peer that is expected back later than the idle limit. Taken in a handler it takes hold
    /// for certain; taken on an idle connection it may be too late. Age, drain and
    /// [`abort`](Self::abort) close the connection all the same.
    pub fn keep_open(&self) -> KeepOpen {
        self.shared().keep();
        KeepOpen {
            connection: self.connection.clone(),
        }
    }

    /// How long the connection has been open.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.connection.age()
    }

    /// How many requests it has carried, modulo 2^32.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.connection.exchanges_begun()
    }

    /// Bytes received from the peer.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared().bytes_in()
    }

    /// Bytes sent to the peer.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.shared().bytes_out()
    }

    /// Why the connection closes; `None` while it does not.
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        self.connection.close_reason()
    }

    /// Whether the connection left HTTP.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.shared().has(shared::UPGRADED)
    }

    /// Whether more of an HTTP/1 request body is to come, as far as the bytes received so far tell.
    #[must_use]
    pub fn is_receiving_body(&self) -> bool {
        self.shared().has(shared::IN_BODY)
    }

    /// Resolves when the reaper starts to drain: the time for a tunnel or an event stream to say
    /// goodbye.
    pub async fn draining(&self) {
        self.shared().reaper().drain.started().await;
    }
}

impl fmt::Debug for ReapHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReapHandle")
            .field("connection", &self.connection)
            .field("bytes_in", &self.bytes_in())
            .field("bytes_out", &self.bytes_out())
            .finish_non_exhaustive()
    }
}

/// Keeps a connection open; see [`ReapHandle::keep_open`].
#[derive(Debug)]
#[must_use = "the connection is kept open while this lives"]
pub struct KeepOpen {
    connection: Connection,
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        if let Some(shared) = Shared::of(&self.connection) {
            shared.unkeep();
        }
    }
}

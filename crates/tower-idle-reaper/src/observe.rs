//! Who is told when a connection ends.

use tower_conn_core::{CloseReason, Connection};

/// Is told of the end of every connection.
///
/// `()` does nothing, and closures `Fn(&Connection, CloseReason)` implement it. Called once for each
/// connection, when its transport is dropped, by whoever drops it: do not block.
///
/// ```
/// use tower_conn_core::{CloseReason, Connection};
/// use tower_idle_reaper::{IdleReaper, Policy};
///
/// let reaper = IdleReaper::builder(Policy::safe())
///     .on_close(|connection: &Connection, reason: CloseReason| {
///         println!("{:?} closed: {reason}", connection.peer_addr());
///     })
///     .build();
/// # drop(reaper);
/// ```
pub trait OnClose {
    /// The connection has ended, for this reason.
    fn on_close(&self, connection: &Connection, reason: CloseReason);
}

impl OnClose for () {
    fn on_close(&self, _: &Connection, _: CloseReason) {}
}

impl<F: Fn(&Connection, CloseReason)> OnClose for F {
    fn on_close(&self, connection: &Connection, reason: CloseReason) {
        self(connection, reason);
    }
}

//! Watching exchanges begin and end.

use std::sync::Arc;

use crate::Connection;

/// Is told when exchanges begin and end on a connection: for metrics, logs and pages that show what
/// connections do.
///
/// Given to a connection when it is built, by
/// [`ConnectionBuilder::on_exchange`](crate::ConnectionBuilder::on_exchange) or by an option of the
/// same name of whoever builds it. A connection without one pays a comparison, and no memory. `()` does nothing,
/// and closures `Fn(&Connection, ExchangeEvent)` implement it. It is called within the request,
/// and may be called by many threads at once: count, do not wait.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower_conn_core::{Connection, ExchangeEvent, Side};
///
/// let finished = Arc::new(AtomicU32::new(0));
/// let counter = Arc::clone(&finished);
/// let connection = Connection::builder(Side::Server)
///     .on_exchange(Arc::new(move |_: &Connection, event: ExchangeEvent| {
///         if let ExchangeEvent::Ended { .. } = event {
///             counter.fetch_add(1, Ordering::Relaxed);
///         }
///     }))
///     .build();
///
/// drop(connection.begin().unwrap());
/// assert_eq!(finished.load(Ordering::Relaxed), 1);
/// ```
pub trait OnExchange {
    /// An exchange has begun or ended; the counts of the connection show it already.
    fn on_exchange(&self, connection: &Connection, event: ExchangeEvent);
}

/// What an [`OnExchange`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeEvent {
    /// An exchange has begun.
    #[non_exhaustive]
    Begun {
        /// Its number on the connection, from 1, modulo 2^32.
        number: u32,
    },
    /// An exchange has ended: its response has, or it was given up.
    #[non_exhaustive]
    Ended {
        /// Its number on the connection, from 1, modulo 2^32.
        number: u32,
    },
}

impl OnExchange for () {
    fn on_exchange(&self, _: &Connection, _: ExchangeEvent) {}
}

impl<F: Fn(&Connection, ExchangeEvent)> OnExchange for F {
    fn on_exchange(&self, connection: &Connection, event: ExchangeEvent) {
        self(connection, event);
    }
}

pub(crate) type Observer = Arc<dyn OnExchange + Send + Sync>;

//! The hook that sees each decision.

use tower_conn_core::Connection;

use crate::Persistence;

/// Sees what was decided about the connection after each exchange, for metrics and logs.
///
/// Implemented for `()` (nothing) and for closures.
pub trait OnDecision {
    /// Called once per response, before its head is released; `connection` where the request had one.
    fn on_decision(&self, persistence: Persistence, connection: Option<&Connection>);
}

impl OnDecision for () {
    fn on_decision(&self, _: Persistence, _: Option<&Connection>) {}
}

impl<F: Fn(Persistence, Option<&Connection>)> OnDecision for F {
    fn on_decision(&self, persistence: Persistence, connection: Option<&Connection>) {
        self(persistence, connection);
    }
}

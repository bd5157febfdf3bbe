//! The layer.

use tower_conn_core::{Connection, Link};
use tower_layer::Layer;

use crate::Reap;

/// Applies [`Reap`]: has the reaper know which connections are busy.
///
/// Goes outermost, so that the exchange includes everything that other layers do; only the layer of
/// tower-pipeline-guard goes outside of it, which starts requests ahead. It holds nothing
/// of its own: the policy comes with the connection of each request.
///
/// See the [crate documentation](crate) for an example.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ReapLayer {
    connection: Option<Link>,
}

impl ReapLayer {
    /// For requests that carry their connection, as under `axum::serve` with connect info.
    pub const fn new() -> Self {
        Self { connection: None }
    }

    /// For the requests of this connection: the handle is put into their extensions, unless they
    /// carry one. For a service that is made for each connection, in a hyper accept loop.
    pub fn of(connection: Connection) -> Self {
        Self {
            connection: Some(connection.into_link()),
        }
    }
}

impl<S> Layer<S> for ReapLayer {
    type Service = Reap<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Reap::new(inner, self.connection.clone())
    }
}

//! The layer of one connection.

use std::sync::Arc;

use tower_layer::Layer;

use super::OnAhead;
use super::handle::Handle;
use super::service::PipelineGuard;

/// Applies [`PipelineGuard`] to the service of one connection.
///
/// Comes from [`Pipeline::wrap`](super::Pipeline::wrap) or
/// [`LookaheadIo::layer`](super::LookaheadIo::layer), and belongs to that connection alone. Put it
/// outermost: requests that run ahead start here, with the extensions that the layers outside put on
/// the requests of the connection.
///
/// See the [crate docs](crate) for an example.
#[derive(Clone, Debug)]
pub struct PipelineGuardLayer {
    handle: Handle,
}

impl PipelineGuardLayer {
    pub(super) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Has this told of the requests that run ahead.
    #[must_use]
    pub fn on_ahead(self, observer: Arc<dyn OnAhead + Send + Sync>) -> Self {
        self.handle.observe(observer);
        self
    }
}

impl<S> Layer<S> for PipelineGuardLayer {
    type Service = PipelineGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PipelineGuard::new(inner, self.handle.clone())
    }
}

use tower_layer::Layer;

use super::{Via, ViaEntry};
use crate::error::ConfigError;

/// Adds this hop to `Via`.
///
/// A proxy must, in both directions; a gateway must on requests and may on responses (RFC 9110
/// section 7.6.3). Requests always get an entry, responses if [asked for](Self::responses). The entry
/// is a line of its own behind the existing ones, and names the version in which the message was
/// received. Put the layer inside [`HopByHopLayer`](crate::HopByHopLayer): strip first, then add.
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_hop_by_hop::ViaLayer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(ViaLayer::new("edge").unwrap())
///     .service(service_fn(async |request: Request<()>| {
///         assert_eq!(request.headers()["via"], "1.1 edge");
///         Ok::<_, std::convert::Infallible>(Response::new(()))
///     }));
/// service.oneshot(Request::new(())).await.unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ViaLayer {
    entry: ViaEntry,
    responses: bool,
}

impl ViaLayer {
    /// Adds entries of this name: a pseudonym, or `host[:port]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidPseudonym`] if it is neither.
    pub fn new(received_by: &str) -> Result<Self, ConfigError> {
        ViaEntry::new(received_by).map(Self::from)
    }

    /// Whether responses get an entry too. Default: no.
    pub const fn responses(mut self, add: bool) -> Self {
        self.responses = add;
        self
    }
}

impl From<ViaEntry> for ViaLayer {
    fn from(entry: ViaEntry) -> Self {
        Self {
            entry,
            responses: false,
        }
    }
}

impl<S> Layer<S> for ViaLayer {
    type Service = Via<S>;

    fn layer(&self, inner: S) -> Via<S> {
        Via::new(inner, self.entry.clone(), self.responses)
    }
}

//! The layers.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::policy::Policy;
use crate::service::{HopByHop, StripRequest, StripResponse};

macro_rules! strip_layer {
    ($(#[$doc:meta])+ $layer:ident => $service:ident) => {
        $(#[$doc])+
        #[derive(Clone)]
        #[must_use]
        pub struct $layer<H = ()> {
            policy: Arc<Policy>,
            hook: H,
        }

        impl $layer {
            /// Strips by this policy.
            pub fn new(policy: Policy) -> Self {
                Self { policy: Arc::new(policy), hook: () }
            }

            /// Strips by [`Policy::gateway`].
            pub fn gateway() -> Self {
                Self::new(Policy::gateway())
            }

            /// Strips by [`Policy::forward_proxy`].
            pub fn forward_proxy() -> Self {
                Self::new(Policy::forward_proxy())
            }

            /// Strips by [`Policy::rfc_literal`].
            pub fn rfc_literal() -> Self {
                Self::new(Policy::rfc_literal())
            }
        }

        impl<H> $layer<H> {
            /// Calls a [hook](crate::OnStrip) for each message that is changed or refused.
            pub fn on_strip<T>(self, hook: T) -> $layer<T> {
                $layer { policy: self.policy, hook }
            }
        }

        impl<H> fmt::Debug for $layer<H> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($layer))
                    .field("policy", &self.policy)
                    .finish_non_exhaustive()
            }
        }

        impl Default for $layer {
            fn default() -> Self {
                Self::gateway()
            }
        }

        impl<S, H: Clone> Layer<S> for $layer<H> {
            type Service = $service<S, H>;

            fn layer(&self, inner: S) -> Self::Service {
                $service::new(inner, Arc::clone(&self.policy), self.hook.clone())
            }
        }
    };
}

strip_layer! {
    /// Strips requests on their way in and responses on their way out. See the [crate docs](crate) for
    /// an example.
    HopByHopLayer => HopByHop
}

strip_layer! {
    /// Strips requests only; responses pass unchanged.
    StripRequestLayer => StripRequest
}

strip_layer! {
    /// Strips responses only, as around a client: requests pass unchanged, and a 101 is compared with
    /// what they offer.
    StripResponseLayer => StripResponse
}

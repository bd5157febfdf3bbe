//! The client side: which connection may carry another request, and until when.

mod expiring;
#[cfg(feature = "hyper-util")]
mod hint_layer;
mod lifetime;
mod policy;
#[cfg(feature = "hyper-util")]
mod registry;
mod reuse;

pub use self::expiring::{
    Expired, Expiring, ExpiringFuture, ExpiringLayer, MakeExpiring, MakeExpiringFuture,
};
#[cfg(feature = "hyper-util")]
pub use self::hint_layer::{HonorHints, HonorHintsFuture, KeepAliveHintLayer};
pub use self::lifetime::Lifetime;
pub use self::policy::ReusePolicy;
pub use self::reuse::decide_reuse;

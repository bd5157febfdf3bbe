//! Tower layers for HTTP intermediaries: what belongs to one hop stays on it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod error;
mod fields;
mod future;
mod layer;
mod max_forwards;
mod nominations;
mod observe;
mod policy;
mod rejection;
mod report;
mod request;
mod response;
mod service;
mod trailers;
mod upgrade;
mod via;

pub use self::body::HopByHopBody;
pub use self::error::ConfigError;
pub use self::fields::FieldSet;
pub use self::future::{RequestFuture, ResponseFuture};
pub use self::layer::{HopByHopLayer, StripRequestLayer, StripResponseLayer};
pub use self::max_forwards::{
    Forwarding, MaxForwards, MaxForwardsFuture, MaxForwardsLayer, count_forward, trace_echo,
};
pub use self::nominations::Nominations;
#[cfg(feature = "tracing")]
pub use self::observe::TracingHook;
pub use self::observe::{OnStrip, StripEvent};
pub use self::policy::{
    MalformedOptions, Policy, ProtectedNames, ProxyAuth, Te, Trailers, TransferCodings, Upgrades,
};
pub use self::rejection::{Message, RejectReason, Rejection};
pub use self::report::StripReport;
pub use self::request::{Stripped, strip_request};
pub use self::response::{RequestContext, strip_interim, strip_response};
pub use self::service::{HopByHop, StripRequest, StripResponse};
pub use self::trailers::strip_trailers;
pub use self::upgrade::UpgradeOffer;
pub use self::via::{Via, ViaEntry, ViaFuture, ViaLayer};

//! HTTP persistence for tower services: whether a connection is kept after a response, and what the
//! response says about it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod facts;
mod future;
mod hint;
mod layer;
mod limits;
mod observe;
mod persistence;
mod render;
mod service;

pub use self::body::RequestBody;
pub use self::facts::{BodyOutcome, RequestFacts, ResponseFacts};
pub use self::future::ResponseFuture;
pub use self::hint::KeepAliveHint;
pub use self::layer::{DrainSignal, KeepAliveLayer};
pub use self::limits::{Advertise, ConnectionSnapshot, Limits, Role};
pub use self::observe::OnDecision;
pub use self::persistence::{Persistence, decide};
pub use self::render::render;
pub use self::service::KeepAlive;
#[doc(inline)]
pub use tower_conn_core::{CloseReason, Connection};

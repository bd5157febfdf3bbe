//! Limits on idle connections.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admit;
mod clock;
mod drain;
mod error;
mod future;
mod handle;
mod io;
mod layer;
mod limits;
mod listener;
mod observe;
mod policy;
mod reaper;
mod registry;
mod service;
mod shared;
mod sweep;
mod watch;
mod wire;

pub use self::admit::Refused;
pub use self::drain::{Drain, DrainSummary};
pub use self::error::ConfigError;
pub use self::future::ResponseFuture;
pub use self::handle::{KeepOpen, ReapHandle};
pub use self::io::ReapedIo;
pub use self::layer::ReapLayer;
pub use self::listener::{Accept, ReapedListener};
pub use self::observe::OnClose;
pub use self::policy::{Capacity, Linger, MaxAge, Policy, Rate};
pub use self::reaper::{Builder, IdleReaper};
pub use self::service::Reap;
pub use self::watch::{Graceful, Watch};

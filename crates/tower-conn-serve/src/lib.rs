//! A server loop for hyper and axum.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
#[cfg(feature = "axum")]
mod axum;
mod conn;
mod counters;
mod executor;
mod handle;
mod incoming;
mod race;
mod serve;
mod server;
#[doc(hidden)]
pub mod stack;
mod tls;

#[doc(inline)]
pub use tower_conn_core::{CloseReason, Connection};
#[doc(inline)]
pub use tower_idle_reaper::{Accept, Drain, IdleReaper, Policy};

pub use self::conn::Protocol;
pub use self::counters::Stats;
pub use self::executor::StreamExecutor;
pub use self::handle::Handle;
pub use self::incoming::{IncomingStream, Shared};
pub use self::serve::{Serve, ServeFuture, Summary};
pub use self::server::Server;
#[cfg(feature = "pipeline")]
pub use self::stack::Pipelined;
pub use self::stack::Serial;
pub use self::tls::{Acceptor, Establish, Plain, Tls};

/// Serves with the default options of [`Server`], as `axum::serve` does.
pub fn serve<L, M, S>(listener: L, make_service: M) -> Serve<L, M, S, Plain, Serial> {
    Server::new().serve(listener, make_service)
}

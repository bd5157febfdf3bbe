//! `--admin`: what the gateway does, for machines and for people.
//!
//! `/metrics` is for Prometheus, `/` is a page that shows the connections, `/connections.json` is what
//! the page asks for. There is no authentication: bind it to the loopback interface.

mod board;
mod count;
mod lanes;
mod metrics;
mod note;
mod serve;
mod states;
mod text;
mod view;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use tower_conn_pool::Stats;
use tower_idle_reaper::IdleReaper;

pub(crate) use self::board::Board;
pub(crate) use self::note::{Note, NoteLayer};
pub(crate) use self::serve::{Admin, bind};
pub(crate) use self::watch::Watch;

/// Whom the answers come from.
pub(crate) struct Sources {
    pub(crate) board: Arc<Board>,
    pub(crate) reaper: IdleReaper,
    pub(crate) pool: Box<dyn Fn() -> Stats + Send + Sync>,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: String,
}

//! The server from outside.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tower_idle_reaper::IdleReaper;

use crate::Stats;
use crate::counters::Counters;

/// A server, as other parts of the program see it; from [`Serve::handle`](crate::Serve::handle).
#[derive(Clone)]
pub struct Handle {
    reaper: IdleReaper,
    counters: Arc<Counters>,
    asked: Arc<watch::Sender<u32>>,
}

impl Handle {
    pub(crate) fn new(reaper: IdleReaper, counters: Arc<Counters>) -> Self {
        Self {
            reaper,
            counters,
            asked: Arc::new(watch::channel(0).0),
        }
    }

    /// The first call has the server [drain](crate::Server::drain) and stop; a second one cuts at once
    /// what is left by then.
    pub fn shutdown(&self) {
        self.asked
            .send_modify(|times| *times = times.saturating_add(1));
    }

    /// Resolves once [`shutdown`](Self::shutdown) has been called so often.
    pub(crate) async fn asked(&self, times: u32) {
        // It cannot fail: the sender is here.
        let _ = self.asked.subscribe().wait_for(|&n| n >= times).await;
    }

    /// The reaper: the open connections, and for what reasons others have ended.
    #[must_use]
    pub const fn reaper(&self) -> &IdleReaper {
        &self.reaper
    }

    /// What the server has counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("reaper", &self.reaper)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

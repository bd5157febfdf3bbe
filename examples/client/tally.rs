//! What the pool tells about its connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tower_conn_core::CloseReason;
use tower_conn_pool::{KeepAliveHint, PoolEvent, PoolObserver};

/// Counts of what happened to connections; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) closed: BTreeMap<CloseReason, u64>,
    /// What servers announced, and how long connections are kept for it.
    pub(crate) announced: BTreeMap<String, Option<Duration>>,
}

impl Tally {
    pub(crate) fn counts(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl PoolObserver for Tally {
    fn on_event(&self, event: &PoolEvent<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PoolEvent::Opened(_) => counts.opened += 1,
            PoolEvent::Closed(_, reason) => *counts.closed.entry(*reason).or_default() += 1,
            PoolEvent::Hint {
                hint, idle_time, ..
            } => counts.announce(*hint, *idle_time),
            _ => {}
        }
    }
}

/// A server can announce a different thing in each response; so many are remembered.
const ANNOUNCED: usize = 8;

impl Counts {
    fn announce(&mut self, hint: KeepAliveHint, kept: Option<Duration>) {
        // The number of requests left differs from response to response; the time does not.
        let Some(timeout) = hint.timeout() else {
            return;
        };
        let text = format!("timeout={}", timeout.as_secs());
        if self.announced.len() < ANNOUNCED || self.announced.contains_key(&text) {
            self.announced.insert(text, kept);
        }
    }
}

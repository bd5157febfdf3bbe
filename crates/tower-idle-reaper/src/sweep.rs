//! The one task that watches all connections.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection};

use crate::limits::{NEVER, Phase, after};
use crate::reaper::Inner;
use crate::registry::Due;
use crate::shared::{Shared, UPGRADED};

/// How many connections are dealt with before others get their turn.
const BATCH: usize = 64;

/// Starts the task unless it runs.
pub(crate) fn ensure_running(reaper: &Arc<Inner>) {
    if !reaper.sweeping.swap(true, Ordering::AcqRel) {
        tokio::spawn(run(Running(Some(Arc::clone(reaper)))));
    }
}

/// Keeps the reaper while connections are open, and says that the task is gone, also when it is
/// dropped together with its runtime.
struct Running(Option<Arc<Inner>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(reaper) = &self.0 {
            reaper.sweeping.store(false, Ordering::Release);
        }
    }
}

async fn run(mut running: Running) {
    while let Some(reaper) = &running.0 {
        match turn(reaper).await {
            Some(next) => tokio::time::sleep_until(next).await,
            // Another task may run by now.
            None => running.0 = None,
        }
    }
}

/// One sweep; when the next one is due, or `None` if nobody needs one.
async fn turn(reaper: &Inner) -> Option<Instant> {
    let now = reaper.clock.refresh();
    let due = reaper.sweep(now);
    for (n, connection) in due.looks.iter().enumerate() {
        if let Some(shared) = Shared::of(connection) {
            shared.look(now.get());
        }
        if n % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
    for (n, connection) in due.idle.iter().enumerate() {
        reaper.reap(connection);
        if n % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
    drop(due);
    if reaper.open.load(Ordering::Acquire) == 0 {
        reaper.sweeping.store(false, Ordering::Release);
        // A connection that came in between found the task still running.
        if reaper.open.load(Ordering::Acquire) == 0 || reaper.sweeping.swap(true, Ordering::AcqRel)
        {
            return None;
        }
    }
    Some(reaper.clock.next_tick())
}

impl crate::IdleReaper {
    /// Finds what is due now, as the task does once a tick; how much it is. For benchmarks.
    #[doc(hidden)]
    #[must_use]
    pub fn sweep_once(&self) -> usize {
        let due = self.inner.sweep(self.inner.clock.refresh());
        due.looks.len() + due.idle.len()
    }
}

impl Inner {
    pub(crate) fn sweep(&self, now: NonZeroU32) -> Due {
        self.registry.sweep(now, self.limits.idle)
    }

    /// An idle connection that has been so for long enough.
    fn reap(&self, connection: &Connection) {
        let Some(shared) = Shared::of(connection) else {
            return;
        };
        if shared.is_kept() || shared.has(UPGRADED) || shared.phase().0 == Phase::FirstByte {
            return;
        }
        let limit = after(0, self.limits.idle);
        if limit != NEVER {
            self.ask_idle(connection, limit, CloseReason::Idle);
        }
    }

    /// Asks a connection to close that has been idle for this many ticks.
    pub(crate) fn ask_idle(
        &self,
        connection: &Connection,
        ticks: u32,
        reason: CloseReason,
    ) -> bool {
        let limit: Duration = self.limits.tick().saturating_mul(ticks);
        let asked = connection.request_close_if_idle(limit, reason);
        if let Some(slot) = connection.stamp_slot().filter(|_| asked) {
            // Not to be found again.
            slot.table().set_busy(slot.index());
        }
        asked
    }
}

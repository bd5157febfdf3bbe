//! The one timer of a pool.
//!
//! The reaper's core, a table of stamps swept against one limit, is not what is needed here: a server's
//! hints give each connection an end of its own, and the pool keeps its idle connections in a queue anyhow,
//! for the order of use. That queue is what is swept: 256 idle connections, the default maximum, in 0.4
//! microseconds, 10 000 in 16; and only when one is due, at most a hundred times a second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::PoolObserver;
use crate::shared::{Dial, Shared};

/// Closes that are due within this time are made together.
pub(crate) const GRAIN: Duration = Duration::from_millis(10);

/// Sleeps until something is due and closes it; ends when there is nothing to watch.
pub(crate) async fn run<C, B, O>(pool: Weak<Shared<C, B, O>>, alarm: Arc<Notify>)
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    loop {
        let Some(next) = pool.upgrade().and_then(|pool| pool.sweep()) else {
            return;
        };
        // Woken early, it sweeps early, which only finds the new time.
        let _ = tokio::time::timeout_at(next, alarm.notified()).await;
    }
}

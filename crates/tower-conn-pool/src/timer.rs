//! The one timer of a pool.

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

//! A coarse clock: one relaxed load tells the time.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    tick: Duration,
    now: AtomicU32,
}

impl Clock {
    pub(crate) fn new(tick: Duration) -> Self {
        Self {
            start: Instant::now(),
            tick,
            now: AtomicU32::new(1),
        }
    }

    /// The tick that was current when someone last looked at a real clock.
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Looks at a real clock.
    pub(crate) fn refresh(&self) -> NonZeroU32 {
        let now = self.tick_of(Instant::now());
        self.now.fetch_max(now.get(), Ordering::Relaxed);
        now
    }

    /// The tick in which an instant lies.
    pub(crate) fn tick_of(&self, instant: Instant) -> NonZeroU32 {
        let elapsed = instant.saturating_duration_since(self.start);
        let ticks = elapsed.as_nanos() / self.tick.as_nanos().max(1);
        let tick = u32::try_from(ticks).unwrap_or(u32::MAX - 2) + 1;
        NonZeroU32::new(tick).unwrap_or(NonZeroU32::MIN)
    }

    /// When the next tick begins.
    pub(crate) fn next_tick(&self) -> Instant {
        self.start + self.tick.saturating_mul(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_told_to_a_tick() {
        let clock = Clock::new(Duration::from_millis(100));
        assert_eq!(clock.now(), 1);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now(), 1, "nobody looked");
        assert_eq!(clock.refresh().get(), 3);
        assert_eq!(clock.now(), 3);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(clock.next_tick(), Instant::now());
    }
}

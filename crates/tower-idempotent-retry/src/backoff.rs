//! How long to wait before the next attempt.

use std::time::Duration;

use crate::rng::Rng;

/// The wait before each retry: exponential, with full jitter.
///
/// The n-th retry waits for a time drawn evenly from zero to `base * 2^(n-1)`, or to `cap` where
/// that is less. Because the whole range is drawn from, also at the cap, callers that failed
/// together do not come back together. All requests of a layer draw from one sequence, so no two of
/// them repeat each other's.
///
/// Time is tokio's, which tests can pause; the random numbers can be replaced by
/// [`rng`](Self::rng).
///
/// ```
/// use std::time::Duration;
/// use tower_idempotent_retry::Backoff;
///
/// let longest = Backoff::full_jitter(Duration::from_millis(50), Duration::from_millis(300)).rng(|| u64::MAX);
/// assert_eq!(longest.delay(1), Duration::from_millis(50));
/// assert_eq!(longest.delay(2), Duration::from_millis(100));
/// assert_eq!(longest.delay(9), Duration::from_millis(300));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    rng: Rng,
}

impl Backoff {
    /// Full jitter below `base`, doubling up to `cap`.
    pub fn full_jitter(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            rng: Rng::new(),
        }
    }

    /// No wait at all.
    pub fn none() -> Self {
        Self::full_jitter(Duration::ZERO, Duration::ZERO)
    }

    /// Takes random numbers, evenly distributed over `u64`, from this closure.
    pub fn rng(mut self, next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.rng = Rng::closure(next);
        self
    }

    /// A repeatable sequence, for simulations.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::seeded(seed);
        self
    }

    /// The wait before the n-th retry, counted from 1.
    #[must_use]
    pub fn delay(&self, retry: u32) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        let range = self.base.saturating_mul(1 << doublings).min(self.cap);
        if range.is_zero() {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        let drawn = (u128::from(self.rng.next()) * (u128::from(nanos) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
    }
}

impl Default for Backoff {
    /// From 50 ms up to 1 s.
    fn default() -> Self {
        Self::full_jitter(Duration::from_millis(50), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_millis(400);

    #[test]
    fn the_range_doubles_to_the_cap_and_starts_at_zero() {
        let longest = Backoff::full_jitter(BASE, CAP).rng(|| u64::MAX);
        let shortest = Backoff::full_jitter(BASE, CAP).rng(|| 0);
        let ends: Vec<u128> = [1, 2, 3, 4, u32::MAX]
            .map(|retry| longest.delay(retry).as_millis())
            .into();
        assert_eq!(ends, [100, 200, 400, 400, 400]);
        for retry in [1, 2, 3, u32::MAX] {
            assert_eq!(shortest.delay(retry), Duration::ZERO);
        }
    }

    #[test]
    fn draws_are_spread_evenly_also_at_the_cap() {
        let backoff = Backoff::full_jitter(BASE, CAP).seed(7);
        let mut quarters = [0_u32; 4];
        for _ in 0..4000 {
            let delay = backoff.delay(9);
            assert!(delay <= CAP);
            quarters[(delay.as_millis() as usize / 100).min(3)] += 1;
        }
        assert!(
            quarters.iter().all(|&count| (850..1150).contains(&count)),
            "{quarters:?}"
        );
    }

    /// tower's `ExponentialBackoffMaker` gives every session the same waits.
    #[test]
    fn sessions_do_not_repeat_each_other() {
        let backoff = Backoff::full_jitter(BASE, CAP);
        let session = || {
            let backoff = backoff.clone();
            [1, 2, 3, 4].map(|retry| backoff.delay(retry))
        };
        assert_ne!(session(), session());
    }

    #[test]
    fn no_range_overflows() {
        let huge = Backoff::full_jitter(Duration::MAX, Duration::MAX).rng(|| u64::MAX);
        assert_eq!(huge.delay(u32::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(Backoff::none().delay(3), Duration::ZERO);
    }
}

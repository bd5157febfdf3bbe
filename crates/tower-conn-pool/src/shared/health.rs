//! Whether an origin bears pipelining.

use std::time::Duration;

use tokio::time::Instant;

/// So many connections lost in a row, and requests go one at a time.
const FAILURES: u8 = 2;

/// How long they do, and how long a lost connection is remembered.
const COOL_DOWN: Duration = Duration::from_secs(60);

/// What has become of pipelined connections to one origin.
///
/// Servers and proxies that answer one request and forget what came with it close the connection under
/// the rest, again and again. A connection lost now and then, by a restart, looks the same, so it takes
/// more than one within a short time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PipelineHealth {
    failures: u8,
    last: Option<Instant>,
}

impl PipelineHealth {
    /// A connection ended, unannounced, with several requests unanswered.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.is_cool(now) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
    }

    /// Whether requests may share a connection now.
    pub(super) fn bears_pipelining(&self, now: Instant) -> bool {
        self.failures < FAILURES || self.is_cool(now)
    }

    /// Whether there is something to remember.
    pub(super) const fn is_known(&self) -> bool {
        self.failures > 0
    }

    fn is_cool(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= COOL_DOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_in_a_row_cost_a_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut health = PipelineHealth::default();
        health.failed(start);
        assert!(health.bears_pipelining(start));
        health.failed(after(59));
        assert!(!health.bears_pipelining(after(118)));
        assert!(health.bears_pipelining(after(119)));
        // And then it is given another chance, and two failures again.
        health.failed(after(120));
        assert!(health.bears_pipelining(after(120)));
        health.failed(after(121));
        assert!(!health.bears_pipelining(after(121)));
    }

    #[test]
    fn failures_far_apart_cost_nothing() {
        let start = Instant::now();
        let mut health = PipelineHealth::default();
        for minute in 0..10 {
            let now = start + Duration::from_secs(60 * minute);
            health.failed(now);
            assert!(health.bears_pipelining(now));
        }
    }
}

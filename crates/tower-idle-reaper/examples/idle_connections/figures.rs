//! Memory, processor time and latencies.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Resident memory in bytes; 0 where it cannot be told.
pub(crate) fn resident() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0usize) * PAGE
}

/// Processor time of the process; 0 where it cannot be told.
pub(crate) fn processor_time() -> Duration {
    // The scheduler's own count, in nanoseconds, over all threads.
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanos = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) async fn time<T>(&mut self, request: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = request.await;
        self.0.push(Instant::now().saturating_duration_since(start));
        result
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.clone();
        all.sort_unstable();
        let at = |percent: usize| {
            let last = all.len().saturating_sub(1);
            all.get(last * percent / 100).copied().unwrap_or_default()
        };
        write!(
            f,
            "{} requests, median {:?}, 99 % {:?}, slowest {:?}",
            all.len(),
            at(50),
            at(99),
            at(100)
        )
    }
}

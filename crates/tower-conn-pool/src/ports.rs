//! Local ports towards one destination, and how many of them are left.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::lock;

/// Sees the local ports towards a destination run out before they do.
///
/// Whoever closes a TCP connection first keeps its local port in TIME_WAIT, for 60 seconds on Linux
/// (RFC 9293 section 3.6). With the usual 28 232 ephemeral ports, a client that closes first can open
/// some 470 connections a second to one address and port, not more; after that, opening fails with
/// EADDRNOTAVAIL. The budget counts the connections that are open and those that this side closed
/// first, for each destination, and has the pool prefer waiting and reuse when ports get low.
///
/// Clones share their counts: give one budget to all pools of a process.
#[derive(Clone, Debug)]
pub struct PortBudget {
    ports: u32,
    warn_at: u32,
    time_wait: Duration,
    taken: Arc<Mutex<HashMap<SocketAddr, Taken>>>,
}

#[derive(Debug, Default)]
struct Taken {
    open: u32,
    /// Ports in TIME_WAIT: when the first of them is free again, and how many, by time.
    waiting: VecDeque<(Instant, u32)>,
    in_wait: u32,
}

/// The range that Linux has by default, 32768 to 60999.
const DEFAULT_PORTS: u32 = 28_232;
const TIME_WAIT: Duration = Duration::from_secs(60);
/// Closes this near each other are counted together.
const GRAIN: Duration = Duration::from_secs(1);

/// Whether a connection may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    Low { used: u32, ports: u32 },
    None,
}

impl PortBudget {
    /// A budget of this many local ports for each destination, with a TIME_WAIT of 60 seconds. Ports
    /// are low once three quarters of them are taken.
    #[must_use]
    pub fn new(ports: u32) -> Self {
        Self {
            ports,
            warn_at: ports - ports / 4,
            time_wait: TIME_WAIT,
            taken: Arc::default(),
        }
    }

    /// The ephemeral range of this machine: `net.ipv4.ip_local_port_range`, or the usual 28 232
    /// where that cannot be read.
    #[must_use]
    pub fn system() -> Self {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        Self::new(
            range
                .ok()
                .as_deref()
                .and_then(range_len)
                .unwrap_or(DEFAULT_PORTS),
        )
    }

    /// How long a port is taken after this side closed first.
    #[must_use]
    pub fn time_wait(mut self, time_wait: Duration) -> Self {
        self.time_wait = time_wait;
        self
    }

    /// The number of taken ports from which they count as low.
    #[must_use]
    pub fn warn_at(mut self, ports: u32) -> Self {
        self.warn_at = ports.min(self.ports);
        self
    }

    /// How many ports there are for each destination.
    #[must_use]
    pub fn ports(&self) -> u32 {
        self.ports
    }

    /// How many ports towards this destination are in use or in TIME_WAIT.
    #[must_use]
    pub fn used(&self, destination: SocketAddr) -> u32 {
        lock(&self.taken)
            .get_mut(&destination)
            .map_or(0, |taken| taken.used(Instant::now()))
    }

    pub(crate) fn room(&self, destination: SocketAddr) -> Room {
        match self.used(destination) {
            used if used >= self.ports => Room::None,
            used if used >= self.warn_at => Room::Low {
                used,
                ports: self.ports,
            },
            _ => Room::Enough,
        }
    }

    pub(crate) fn opened(&self, destination: SocketAddr) {
        let mut all = lock(&self.taken);
        all.entry(destination).or_default().open += 1;
    }

    pub(crate) fn closed(&self, destination: SocketAddr, by_peer: bool) {
        let now = Instant::now();
        let mut all = lock(&self.taken);
        let Some(taken) = all.get_mut(&destination) else {
            return;
        };
        taken.open = taken.open.saturating_sub(1);
        if !by_peer {
            taken.wait(now, self.time_wait, 1);
        }
        if taken.used(now) == 0 {
            all.remove(&destination);
        } else if all.len() > 1024 {
            all.retain(|_, taken| taken.used(now) > 0);
        }
    }

    /// The system has no port left towards this destination, whatever was counted here.
    pub(crate) fn exhausted(&self, destination: SocketAddr) {
        let now = Instant::now();
        let mut all = lock(&self.taken);
        let taken = all.entry(destination).or_default();
        let missing = self.ports.saturating_sub(taken.used(now));
        taken.wait(now, GRAIN, missing);
    }
}

impl Default for PortBudget {
    fn default() -> Self {
        Self::system()
    }
}

impl Taken {
    fn used(&mut self, now: Instant) -> u32 {
        self.waiting.retain(|&(until, count)| {
            let waits = until > now;
            if !waits {
                self.in_wait -= count;
            }
            waits
        });
        self.open + self.in_wait
    }

    fn wait(&mut self, now: Instant, time: Duration, count: u32) {
        let until = now + time;
        self.in_wait += count;
        match self.waiting.back_mut() {
            Some((last, n)) if *last <= until && *last + GRAIN > until => *n += count,
            _ => self.waiting.push_back((until, count)),
        }
    }
}

fn range_len(text: &str) -> Option<u32> {
    let mut ends = text.split_whitespace().map(str::parse::<u32>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (high - low.min(high) < 65_536).then(|| high.saturating_sub(low) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination() -> SocketAddr {
        ([127, 0, 0, 1], 80).into()
    }

    #[test]
    fn the_range_is_read_as_linux_writes_it() {
        assert_eq!(range_len("32768\t60999\n"), Some(28_232));
        assert_eq!(range_len("32768"), None);
        assert_eq!(range_len(""), None);
        assert!(PortBudget::system().ports() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_is_taken_until_its_time_wait_is_over() {
        let budget = PortBudget::new(4).warn_at(3);
        for _ in 0..4 {
            budget.opened(destination());
        }
        assert_eq!(budget.room(destination()), Room::None);
        budget.closed(destination(), true);
        assert_eq!(budget.room(destination()), Room::Low { used: 3, ports: 4 });
        budget.closed(destination(), false);
        assert_eq!(budget.used(destination()), 3, "in TIME_WAIT");
        tokio::time::advance(Duration::from_secs(62)).await;
        assert_eq!(budget.used(destination()), 2);
        assert_eq!(budget.room(destination()), Room::Enough);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_free_is_not_remembered() {
        let budget = PortBudget::new(10);
        budget.opened(destination());
        budget.closed(destination(), true);
        assert!(lock(&budget.taken).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_destination_is_left_alone_for_a_moment() {
        let budget = PortBudget::new(10);
        budget.exhausted(destination());
        assert_eq!(budget.room(destination()), Room::None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(budget.room(destination()), Room::Enough);
    }
}

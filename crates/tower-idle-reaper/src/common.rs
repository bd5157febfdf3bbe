//! What a reaper and its connections have in common, apart from where the connections stand.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tower_conn_core::{CloseReason, Connection};

use crate::clock::Clock;
use crate::limits::{Limits, NEVER, after, ticks};
use crate::policy::Policy;
use crate::registry::Chunk;
use crate::{OnClose, drain};

pub(crate) type Observer = Box<dyn OnClose + Send + Sync>;

pub(crate) struct Common {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    observer: Option<Observer>,
    closed: Box<[AtomicU64]>,
    pub(crate) open: AtomicUsize,
    /// Wakes one who waits for room, when a connection ends.
    pub(crate) freed: Notify,
    /// Wakes those who wait for the last connection to end.
    pub(crate) emptied: Notify,
    pub(crate) drain: drain::State,
    lingering: Mutex<BTreeMap<u64, Connection>>,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

impl Common {
    pub(crate) fn new(policy: Policy, observer: Option<Observer>) -> Self {
        Self {
            limits: Limits::new(&policy),
            clock: Clock::new(policy.tick()),
            policy,
            observer,
            closed: CloseReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            open: AtomicUsize::new(0),
            freed: Notify::new(),
            emptied: Notify::new(),
            drain: drain::State::default(),
            lingering: Mutex::default(),
            addresses: Mutex::default(),
        }
    }

    /// The tick in which a connection was opened.
    pub(crate) fn opened(&self, connection: &Connection) -> u32 {
        self.clock.tick_of(connection.opened_at()).get()
    }

    /// The tick at which a connection has its maximum age.
    pub(crate) fn age_at(&self, connection: &Connection) -> u32 {
        self.policy.max_age.map_or(NEVER, |age| {
            let age = ticks(age.of(connection.id()), self.limits.tick());
            after(self.opened(connection), age)
        })
    }

    /// Counts the end of a connection whose transport is dropped, and takes it out.
    pub(crate) fn ended(&self, connection: &Connection, chunk: &Chunk, reason: CloseReason) {
        self.count(reason);
        if let Some(observer) = &self.observer {
            observer.on_close(connection, reason);
        }
        if let Some(peer) = connection.peer_addr() {
            self.release_address(peer);
        }
        if let Some(slot) = connection.stamp_slot() {
            slot.table().set_busy(slot.index());
            chunk.leave(slot.index());
        }
        self.lingering().remove(&connection.id());
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
        self.freed.notify_one();
    }

    /// The connections that linger, by age.
    pub(crate) fn lingering(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.lingering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    // ===== counters =====

    fn counter(&self, reason: CloseReason) -> Option<&AtomicU64> {
        let index = CloseReason::ALL.iter().position(|&r| r == reason)?;
        self.closed.get(index)
    }

    /// Counts a connection that has ended, or never became one.
    pub(crate) fn count(&self, reason: CloseReason) {
        if let Some(counter) = self.counter(reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.counter(reason)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    // ===== addresses =====

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more connection of this address, unless it has as many as it may.
    pub(crate) fn claim_address(&self, peer: SocketAddr) -> bool {
        let Some(most) = self.policy.per_address else {
            return true;
        };
        let mut addresses = self.addresses();
        let count = addresses.entry(subscriber(peer)).or_default();
        if *count >= most.get() {
            return false;
        }
        *count += 1;
        true
    }

    pub(crate) fn release_address(&self, peer: SocketAddr) {
        if self.policy.per_address.is_none() {
            return;
        }
        let mut addresses = self.addresses();
        let key = subscriber(peer);
        if let Some(count) = addresses.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                addresses.remove(&key);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address.
fn subscriber(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_has_a_whole_prefix() {
        let of = |text: &str| subscriber(text.parse().expect("an address"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:9"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("192.0.2.1:1"), of("192.0.2.1:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:1"));
    }
}

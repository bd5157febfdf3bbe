//! The reaper: policy, registry of live connections, counters, and the task that sweeps.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tower_conn_core::{CloseReason, Connection, Side};

use crate::clock::Clock;
use crate::io::ReapedIo;
use crate::limits::{Limits, NEVER, Phase, ticks};
use crate::registry::{Candidate, Registry};
use crate::shared::Shared;
use crate::{OnClose, Policy, sweep};

/// Enforces a [`Policy`] over the connections of a server.
///
/// A cheap handle: clones share the policy, the registry of live connections, the counters and one
/// task that sweeps. The task runs while connections are open, wakes once a [tick](Policy::tick),
/// and ends when the last connection has; the next one starts it again.
///
/// See the [crate documentation](crate) for how to put it under a server.
#[derive(Clone)]
pub struct IdleReaper {
    pub(crate) inner: Arc<Inner>,
}

/// Starts an [`IdleReaper`] with an observer.
#[must_use]
pub struct Builder {
    policy: Policy,
    observer: Option<Observer>,
}

type Observer = Box<dyn OnClose + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    observer: Option<Observer>,
    closed: Box<[AtomicU64]>,
    pub(crate) open: AtomicUsize,
    /// Wakes one who waits for room, when a connection ends.
    pub(crate) freed: Notify,
    /// Wakes those who wait for the last connection to end.
    pub(crate) emptied: Notify,
    pub(crate) drain: crate::drain::State,
    pub(crate) lingering: Mutex<BTreeMap<u64, Connection>>,
    pub(crate) candidates: Mutex<Vec<Candidate>>,
    addresses: Mutex<HashMap<IpAddr, u32>>,
    pub(crate) sweeping: AtomicBool,
}

// ===== impl IdleReaper =====

impl IdleReaper {
    /// A reaper with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::builder(policy).build()
    }

    /// Starts a reaper with this policy, to add an observer.
    pub const fn builder(policy: Policy) -> Builder {
        Builder {
            policy,
            observer: None,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Takes an accepted transport under the policy, whatever the limits on the number of
    /// connections say; [`admit`](Self::admit) respects them.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn wrap<T>(&self, io: T, peer: Option<SocketAddr>) -> ReapedIo<T> {
        self.inner.open.fetch_add(1, Ordering::AcqRel);
        ReapedIo::plain(io, self.inner.register(peer))
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.open.load(Ordering::Acquire)
    }

    /// How many connections have ended for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.inner
            .counter(reason)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many connections have ended, for each reason for which any has.
    pub fn closed_by_reason(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        CloseReason::ALL
            .iter()
            .map(|&reason| (reason, self.closed(reason)))
            .filter(|&(_, count)| count > 0)
    }

    /// The connections that are open now, for a status page.
    #[must_use]
    pub fn open_connections(&self) -> Vec<Connection> {
        let mut all = Vec::with_capacity(self.connections());
        self.inner
            .registry
            .for_each(|connection| all.push(connection));
        all
    }
}

impl Default for IdleReaper {
    /// A reaper with [`Policy::safe`].
    fn default() -> Self {
        Self::new(Policy::safe())
    }
}

impl fmt::Debug for IdleReaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleReaper")
            .field("policy", &self.inner.policy)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

// ===== impl Builder =====

impl Builder {
    /// Has this told of the end of every connection.
    pub fn on_close(mut self, observer: impl OnClose + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The reaper.
    #[must_use]
    pub fn build(self) -> IdleReaper {
        let tick = self.policy.tick();
        IdleReaper {
            inner: Arc::new(Inner {
                limits: Limits::new(&self.policy),
                policy: self.policy,
                clock: Clock::new(tick),
                registry: Registry::new(tick),
                observer: self.observer,
                closed: CloseReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
                open: AtomicUsize::new(0),
                freed: Notify::new(),
                emptied: Notify::new(),
                drain: crate::drain::State::default(),
                lingering: Mutex::default(),
                candidates: Mutex::default(),
                addresses: Mutex::default(),
                sweeping: AtomicBool::new(false),
            }),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

// ===== impl Inner =====

impl Inner {
    fn counter(&self, reason: CloseReason) -> Option<&AtomicU64> {
        let index = CloseReason::ALL.iter().position(|&r| r == reason)?;
        self.closed.get(index)
    }

    /// Enters a connection that has been counted as open.
    pub(crate) fn register(self: &Arc<Self>, peer: Option<SocketAddr>) -> Connection {
        let now = self.clock.refresh();
        let shared = Arc::new(Shared::new(Arc::clone(self), now.get()));
        let (chunk, slot) = shared.place();
        let (chunk, slot) = (Arc::clone(chunk), slot);
        chunk.stamps.advance_to(now);
        let mut builder = Connection::builder(Side::Server)
            .stamp(Arc::clone(&chunk.stamps), slot)
            .attach(Arc::clone(&shared));
        if let Some(peer) = peer {
            builder = builder.peer_addr(peer);
        }
        let connection = builder.build();
        chunk.put(slot, Some(connection.clone()));

        if self.limits.first_byte != NEVER {
            let due = crate::limits::after(now.get(), self.limits.first_byte);
            shared.enter(Phase::FirstByte, due);
        }
        if let Some(age) = self.policy.max_age {
            shared.set_age(ticks(age.of(connection.id()), self.limits.tick()));
        }
        self.drain.meet(&connection);
        sweep::ensure_running(self);
        connection
    }

    /// Takes a connection out whose transport is dropped, and counts its end.
    pub(crate) fn deregister(&self, connection: &Connection, shared: &Shared, reason: CloseReason) {
        if let Some(counter) = self.counter(reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(observer) = &self.observer {
            observer.on_close(connection, reason);
        }
        if let Some(peer) = connection.peer_addr() {
            self.release_address(peer);
        }
        let (chunk, slot) = shared.place();
        chunk.stamps.clear(slot);
        chunk.put(slot, None);
        self.lingering().remove(&connection.id());
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
        self.freed.notify_one();
    }

    pub(crate) fn lingering(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.lingering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

    /// Counts a connection that never became one.
    pub(crate) fn count_refused(&self, reason: CloseReason) {
        if let Some(counter) = self.counter(reason) {
            counter.fetch_add(1, Ordering::Relaxed);
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

//! Admission: room for one more connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::CloseReason;

use crate::IdleReaper;
use crate::io::ReapedIo;
use crate::limits::ticks;
use crate::policy::Capacity;
use crate::reaper::Inner;
use crate::shared::{Shared, UPGRADED};

/// How often one who waits for room looks for a connection that has become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How many of the longest-idle connections are found in one go.
const CANDIDATES: usize = 32;

/// A connection that was not admitted; its transport is closed when this is dropped.
#[derive(Debug)]
pub struct Refused<T> {
    /// The transport.
    pub io: T,
    /// Why: [`CloseReason::AddressLimit`].
    pub reason: CloseReason,
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was refused ({})", self.reason)
    }
}

impl<T: fmt::Debug> std::error::Error for Refused<T> {}

impl IdleReaper {
    /// Takes an accepted transport under the policy as soon as there is room for it.
    ///
    /// When [`max_connections`](crate::Policy::max_connections) are open, the longest-idle one is
    /// closed to make room; while none is idle this waits, and whoever accepts should wait with it.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the peer's address has as many connections as it may; counted under
    /// [`CloseReason::AddressLimit`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the transport is dropped with it.
    pub async fn admit<T>(&self, io: T, peer: Option<SocketAddr>) -> Result<ReapedIo<T>, Refused<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(peer) = peer {
            if !self.inner.claim_address(peer) {
                let reason = CloseReason::AddressLimit;
                self.inner.count(reason);
                return Err(Refused { io, reason });
            }
        }
        let address = AddressClaim {
            reaper: &self.inner,
            peer,
        };
        self.inner.make_room().await;
        let io = ReapedIo::plain(io, self.inner.register(peer));
        // From here on the address is given back when the transport is dropped.
        address.keep();
        Ok(io)
    }
}

/// An address that is counted and not yet tied to a transport.
struct AddressClaim<'a> {
    reaper: &'a Inner,
    peer: Option<SocketAddr>,
}

impl AddressClaim<'_> {
    fn keep(mut self) {
        self.peer = None;
    }
}

impl Drop for AddressClaim<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            self.reaper.release_address(peer);
        }
    }
}

impl Inner {
    /// Counts one more connection as open, once that is possible.
    async fn make_room(&self) {
        let Some(capacity) = self.policy.capacity else {
            self.open.fetch_add(1, Ordering::AcqRel);
            return;
        };
        while !self.try_open(capacity) {
            let freed = self.freed.notified();
            self.evict(1);
            if self.try_open(capacity) {
                return;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await;
        }
    }

    fn try_open(&self, capacity: Capacity) -> bool {
        let one_more = |open| (open < capacity.max.get()).then_some(open + 1);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_ok()
    }

    /// Has up to `most` connections make room: lingering ones, then the longest-idle ones. Returns
    /// how many.
    pub(crate) fn evict(&self, most: usize) -> usize {
        self.clock.refresh();
        let mut evicted = 0;
        while evicted < most && (self.evict_lingering() || self.evict_idle()) {
            evicted += 1;
        }
        evicted
    }

    fn evict_lingering(&self) -> bool {
        let Some((_, connection)) = self.lingering().pop_first() else {
            return false;
        };
        if let Some(shared) = Shared::of(&connection) {
            shared.end_linger();
        }
        true
    }

    fn evict_idle(&self) -> bool {
        let min_idle = self.policy.capacity.map_or(Duration::ZERO, |c| c.min_idle);
        let min_idle = ticks(min_idle, self.limits.tick());
        let mut candidates = self.candidates();
        let mut fresh = false;
        loop {
            let Some(candidate) = candidates.pop() else {
                if fresh {
                    return false;
                }
                fresh = true;
                *candidates = self.registry.longest_idle(CANDIDATES);
                continue;
            };
            // It was among the longest-idle ones when it was found, and still is if it has stayed
            // idle: all others can only have become idle later.
            if !candidate.stayed_idle() {
                continue;
            }
            let Some(shared) = Shared::of(&candidate.connection) else {
                continue;
            };
            if shared.is_kept() || shared.has(UPGRADED) {
                continue;
            }
            let now = self.clock.now();
            if now.saturating_sub(candidate.since.get()) < min_idle {
                candidates.push(candidate);
                return false;
            }
            if self.ask_idle(&candidate.connection, 0, CloseReason::Evicted) {
                return true;
            }
        }
    }

    /// How many connections to give up when the process has run out of descriptors.
    pub(crate) fn pressure_batch(&self) -> usize {
        (self.open.load(Ordering::Acquire) / 8).clamp(1, CANDIDATES)
    }

    fn candidates(&self) -> std::sync::MutexGuard<'_, Vec<crate::registry::Candidate>> {
        self.candidates
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

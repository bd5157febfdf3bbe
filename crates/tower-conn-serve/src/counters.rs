//! What the server counts beside the reaper.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a server has done so far, beside what its [reaper](crate::Handle::reaper) counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Failures to accept, of all kinds.
    pub accept_errors: u64,
    /// TLS handshakes that failed, or were given up.
    pub handshake_failures: u64,
    /// Connections that are parked now.
    pub parked: u64,
    /// How often a connection was parked.
    pub parks: u64,
    /// How often a parked connection went on.
    pub unparks: u64,
    /// Panics of handlers and bodies.
    pub panics: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) handshake_failures: Counter,
    pub(crate) parks: Counter,
    pub(crate) unparks: Counter,
    /// Parked connections that ended without going on.
    pub(crate) parked_ends: Counter,
    pub(crate) panics: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        // What ends a park is read first, so that the difference is never negative.
        let unparks = self.unparks.get();
        let ended = self.parked_ends.get();
        let parks = self.parks.get();
        Stats {
            accepted: self.accepted.get(),
            accept_errors: self.accept_errors.get(),
            handshake_failures: self.handshake_failures.get(),
            parked: parks.saturating_sub(unparks + ended),
            parks,
            unparks,
            panics: self.panics.get(),
        }
    }
}

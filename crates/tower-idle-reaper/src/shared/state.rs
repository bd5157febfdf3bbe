//! What is kept about one connection: 64 bytes, a cache line of its own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::limits::Phase;

/// Every field is written by one side and read by the sweep; stores are relaxed, because the sweep
/// is told by [`Chunk::look_at`](crate::registry::Chunk::look_at) when it must see them.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct State {
    /// Phase and its beginning, together. In a tunnel, the tick of the last byte.
    phase: AtomicU64,
    /// Flags, and from bit 12 how often it is kept open.
    pub(super) flags: AtomicU32,
    pub(super) cut_at: AtomicU32,
    pub(super) waited: AtomicU32,
    pub(super) stalled: AtomicU32,
    pub(super) blocked: AtomicU32,
    /// Length of a request body that the transport cannot know, plus one.
    pub(super) body: AtomicU32,
    /// `bytes_in` when the phase began.
    pub(super) phase_mark: AtomicU64,
    /// `bytes_out` when the peer began to hold bytes up.
    pub(super) blocked_mark: AtomicU64,
    /// How many bytes, and from bit 48 how many heads, have come.
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

impl State {
    /// For the next connection in the slot, before anybody else knows of it.
    pub(crate) fn reset(&self) {
        let Self {
            phase,
            flags,
            cut_at,
            waited,
            stalled,
            blocked,
            body,
            phase_mark,
            blocked_mark,
            bytes_in,
            bytes_out,
        } = self;
        for word in [flags, cut_at, waited, stalled, blocked, body] {
            word.store(0, Ordering::Relaxed);
        }
        for word in [phase, phase_mark, blocked_mark, bytes_in, bytes_out] {
            word.store(0, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn set_phase(&self, phase: Phase, since: u32) {
        let packed = (u64::from(phase as u8) << 32) | u64::from(since);
        self.phase.store(packed, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn phase(&self) -> (Phase, u32) {
        let packed = self.phase.load(Ordering::Relaxed);
        (Phase::from_code((packed >> 32) as u8), packed as u32)
    }
}

/// One more, by the only one who writes it.
#[inline]
pub(super) fn add(count: &AtomicU64, n: usize) {
    let total = count.load(Ordering::Relaxed) + n as u64;
    count.store(total, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_fills_a_cache_line() {
        assert_eq!(size_of::<State>(), 64);
    }

    #[test]
    fn a_slot_comes_back_as_new() {
        let state = State::default();
        let new = format!("{state:?}");
        state.set_phase(Phase::Body, 7);
        state.flags.store(u32::MAX, Ordering::Relaxed);
        add(&state.bytes_out, 5);
        assert_ne!(format!("{state:?}"), new);
        state.reset();
        assert_eq!(format!("{state:?}"), new);
    }
}

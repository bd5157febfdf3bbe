//! What is kept about every connection, and what only about those that have more than one clock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use crate::limits::Phase;

/// 24 bytes for each connection. Every field is written by one side and read by the sweep; stores are
/// relaxed, because the sweep is told by [`Chunk::look_at`](crate::registry::Chunk::look_at) when it
/// must see them.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Phase and its beginning, together. In a tunnel, the tick of the last byte.
    phase: AtomicU64,
    /// Flags, and from bit 12 how often it is kept open.
    pub(super) flags: AtomicU32,
    pub(super) cut_at: AtomicU32,
    /// Length of a request body that the transport cannot know, plus one.
    pub(super) body: AtomicU32,
    /// How many heads have come, modulo 2^16, and a bit above that; 0 if none came behind another.
    pub(super) heads: AtomicU32,
}

impl State {
    /// For the next connection in the slot, before anybody else knows of it.
    pub(crate) fn reset(&self) {
        let Self {
            phase,
            flags,
            cut_at,
            body,
            heads,
        } = self;
        phase.store(0, Ordering::Relaxed);
        for word in [flags, cut_at, body, heads] {
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

/// Of the few connections on which a head or a body arrives in parts, whose peer does not take what
/// is ready for it, or that linger.
#[derive(Default)]
pub(crate) struct Clocks {
    pub(crate) reading: Option<Reading>,
    pub(crate) writing: Option<Writing>,
    /// Of the task that is held up in writing, or lingers.
    pub(crate) writer: Option<Waker>,
}

impl Clocks {
    pub(crate) const fn are_unused(&self) -> bool {
        self.reading.is_none() && self.writing.is_none() && self.writer.is_none()
    }
}

/// A head or a body arrives, or bytes are discarded.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Bytes received when that began.
    pub(crate) mark: u64,
    /// Ticks spent waiting for a body before its phase; for lingering, the tick of the last byte.
    pub(crate) waited: u32,
}

/// The peer holds bytes up.
#[derive(Clone, Copy, Default)]
pub(crate) struct Writing {
    /// Bytes sent when that began.
    pub(crate) mark: u64,
    pub(crate) blocked: u32,
    /// Since when the peer has taken nothing at all; 0 if it has.
    pub(crate) stalled: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_small() {
        assert_eq!(size_of::<State>(), 24);
    }

    #[test]
    fn a_slot_comes_back_as_new() {
        let state = State::default();
        let new = format!("{state:?}");
        state.set_phase(Phase::Body, 7);
        state.flags.store(u32::MAX, Ordering::Relaxed);
        state.heads.store(5, Ordering::Relaxed);
        assert_ne!(format!("{state:?}"), new);
        state.reset();
        assert_eq!(format!("{state:?}"), new);
    }
}

//! Idle stamps: a coarse clock and a dense table, for watching very many connections.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A coarse clock and a dense array of idle stamps, shared by many connections.
///
/// A [`Connection`](crate::Connection) built over a table stores the current tick in its slot when
/// it becomes idle and clears the slot when an exchange begins: one relaxed store each, with no
/// reading of a clock. Whoever owns the table moves the clock with [`advance_to`](Self::advance_to)
/// and sweeps the slots: scanning a million of them takes well under a millisecond, which is why
/// stamps stand here and not in the connections.
///
/// A slot is a filter, not the truth: a connection found due must still be claimed with
/// [`Connection::close_if_idle`](crate::Connection::close_if_idle), which an exchange that begins at
/// the same moment may win.
#[derive(Debug)]
pub struct StampTable {
    tick: Duration,
    now: AtomicU32,
    slots: Box<[AtomicU32]>,
}

/// The value of a slot whose connection is busy, or that no connection uses.
const BUSY: u32 = 0;

impl StampTable {
    /// A table of `slots` slots, all unset, with a clock that counts ticks of this length from 1.
    ///
    /// A tick of zero is taken as one millisecond.
    #[must_use]
    pub fn new(slots: u32, tick: Duration) -> Self {
        let tick = if tick.is_zero() {
            Duration::from_millis(1)
        } else {
            tick
        };
        Self {
            tick,
            now: AtomicU32::new(1),
            slots: (0..slots).map(|_| AtomicU32::new(BUSY)).collect(),
        }
    }

    /// The length of a tick.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        self.tick
    }

    /// The current tick, from 1.
    #[must_use]
    pub fn now(&self) -> NonZeroU32 {
        NonZeroU32::new(self.now.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }

    /// Moves the clock; it never goes back.
    pub fn advance_to(&self, tick: NonZeroU32) {
        self.now.fetch_max(tick.get(), Ordering::Relaxed);
    }

    /// The number of slots.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Whether the table has no slot at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Since which tick the connection in this slot has been idle; `None` while it is busy, and for
    /// a slot that is unused or does not exist.
    #[must_use]
    pub fn idle_since(&self, slot: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(self.slots.get(slot as usize)?.load(Ordering::Relaxed))
    }

    /// The slots that have been idle since `tick` or earlier, in order.
    pub fn due(&self, tick: NonZeroU32) -> impl Iterator<Item = u32> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(slot, stamp)| {
                let stamp = stamp.load(Ordering::Relaxed);
                (stamp != BUSY && stamp <= tick.get()).then_some(slot as u32)
            })
    }

    /// Calls `found` for every slot that has been idle since `tick` or earlier, in order, and
    /// returns the oldest stamp of the others: before that one comes of age there is nothing to find.
    pub fn sweep(&self, tick: NonZeroU32, mut found: impl FnMut(u32)) -> Option<NonZeroU32> {
        let mut oldest = u32::MAX;
        for (slot, stamp) in self.slots.iter().enumerate() {
            let stamp = stamp.load(Ordering::Relaxed);
            if stamp.wrapping_sub(1) < tick.get() {
                found(slot as u32);
            } else {
                oldest = oldest.min(stamp.wrapping_sub(1));
            }
        }
        NonZeroU32::new(oldest.wrapping_add(1))
    }

    /// Stamps a slot as idle from now on. A slot that does not exist is ignored.
    pub fn set_idle(&self, slot: u32) {
        self.store(slot, self.now().get());
    }

    /// Stamps a slot as busy or unused. A slot that does not exist is ignored.
    pub fn clear(&self, slot: u32) {
        self.store(slot, BUSY);
    }

    fn store(&self, slot: u32, value: u32) {
        if let Some(stamp) = self.slots.get(slot as usize) {
            stamp.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u32) -> NonZeroU32 {
        NonZeroU32::new(tick).expect("a tick from 1")
    }

    #[test]
    fn only_slots_idle_long_enough_are_due() {
        let table = StampTable::new(4, Duration::from_millis(100));
        table.set_idle(0);
        table.advance_to(at(5));
        table.set_idle(2);
        table.set_idle(9);
        assert_eq!(table.due(at(4)).collect::<Vec<_>>(), [0]);
        assert_eq!(table.due(at(5)).collect::<Vec<_>>(), [0, 2]);
        let mut found = Vec::new();
        assert_eq!(table.sweep(at(4), |slot| found.push(slot)), Some(at(5)));
        assert_eq!(found, [0]);
        assert_eq!(table.sweep(at(5), |slot| found.push(slot)), None);
        assert_eq!(found, [0, 0, 2]);
        table.clear(0);
        assert_eq!(table.due(at(5)).collect::<Vec<_>>(), [2]);
        assert_eq!(table.idle_since(2), Some(at(5)));
        assert_eq!(table.idle_since(0), None);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let table = StampTable::new(0, Duration::ZERO);
        table.advance_to(at(9));
        table.advance_to(at(3));
        assert_eq!(table.now(), at(9));
        assert_eq!(table.tick(), Duration::from_millis(1));
        assert!(table.is_empty());
    }
}

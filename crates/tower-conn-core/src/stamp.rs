//! Idle stamps: a coarse clock and a dense table, for watching very many connections.

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A coarse clock and a dense array of idle stamps, shared by many connections.
///
/// A [`Connection`](crate::Connection) built over a [slot](Self::claim) of a table stores the current
/// tick in it when it becomes idle and clears it when an exchange begins: one relaxed store each,
/// with no reading of a clock and no timer. Whoever owns the table moves the clock with
/// [`advance_to`](Self::advance_to) and sweeps the slots: scanning a million of them takes well under
/// a millisecond, which is why stamps stand here and not in the connections.
///
/// A stamp is a filter, not the truth: a connection found due must still be claimed with
/// [`Connection::close_if_idle`](crate::Connection::close_if_idle) or
/// [`request_close_if_idle`](crate::Connection::request_close_if_idle), which an exchange that begins
/// at the same moment may win.
///
/// # Example
///
/// The timer of a pool or a server is one task that does this once a tick, with the connections in
/// an array by slot:
///
/// ```
/// use std::num::NonZeroU32;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tower_conn_core::{CloseReason, Connection, Side, StampTable};
///
/// let limit = 60;
/// let table = Arc::new(StampTable::new(1024, Duration::from_secs(1)));
/// let slot = table.claim().expect("none is taken yet");
/// let index = slot.index();
/// let connection = Connection::builder(Side::Client).stamp(slot).build();
///
/// // Once a tick, with the ticks that have passed since the start, from 1:
/// let now = NonZeroU32::new(1 + limit).unwrap();
/// table.advance_to(now);
/// let mut due = Vec::new();
/// let come_of_age = NonZeroU32::new(now.get() - limit).unwrap();
/// // Nothing to do before the oldest of the others comes of age.
/// let oldest = table.sweep(come_of_age, |slot| due.push(slot));
/// assert_eq!((due, oldest), (vec![index], None));
/// assert!(connection.close_if_idle(table.tick() * limit, CloseReason::Idle));
/// ```
pub struct StampTable {
    tick: Duration,
    now: AtomicU32,
    stamps: Box<[AtomicU32]>,
    /// A bit for each slot, set while it is taken.
    taken: Box<[AtomicU64]>,
    attached: Option<Arc<dyn Any + Send + Sync>>,
}

/// The value of a slot whose connection is busy, or that no connection uses.
const BUSY: u32 = 0;

impl StampTable {
    /// A table of `slots` slots, all free, with a clock that counts ticks of this length from 1.
    ///
    /// A tick of zero is taken as one millisecond.
    #[must_use]
    pub fn new(slots: u32, tick: Duration) -> Self {
        let tick = if tick.is_zero() {
            Duration::from_millis(1)
        } else {
            tick
        };
        let beyond = |word: u32| u64::MAX.checked_shl(slots - word * 64).unwrap_or(0);
        Self {
            tick,
            now: AtomicU32::new(1),
            stamps: (0..slots).map(|_| AtomicU32::new(BUSY)).collect(),
            taken: (0..slots.div_ceil(64))
                .map(|word| AtomicU64::new(beyond(word)))
                .collect(),
            attached: None,
        }
    }

    /// Attaches something of the owner's, which is found through
    /// [`Connection::attachment`](crate::Connection::attachment) by everyone who has a connection of
    /// the table: what the owner knows about each slot, for instance.
    #[must_use]
    pub fn attach<T: Any + Send + Sync>(mut self, attachment: Arc<T>) -> Self {
        self.attached = Some(attachment);
        self
    }

    pub(crate) const fn attached(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.attached.as_ref()
    }

    /// The length of a tick.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        self.tick
    }

    /// The current tick, from 1.
    #[must_use]
    #[inline]
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
        self.stamps.len() as u32
    }

    /// Whether the table has no slot at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Takes a free slot, for one connection; `None` if all are taken.
    #[must_use]
    pub fn claim(self: &Arc<Self>) -> Option<StampSlot> {
        for (word, taken) in self.taken.iter().enumerate() {
            let mut seen = taken.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones();
                // Acquires what the slot's last connection did, the clearing of its stamp included.
                match taken.compare_exchange_weak(
                    seen,
                    seen | (1 << bit),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        return Some(StampSlot {
                            table: Arc::clone(self),
                            index: word as u32 * 64 + bit,
                        });
                    }
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// Since which tick the connection in this slot has been idle; `None` while it is busy, and for
    /// a slot that is free or does not exist.
    #[must_use]
    pub fn idle_since(&self, slot: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(self.stamps.get(slot as usize)?.load(Ordering::Relaxed))
    }

    /// The slots that have been idle since `tick` or earlier, in order.
    pub fn due(&self, tick: NonZeroU32) -> impl Iterator<Item = u32> + '_ {
        self.stamps
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
        for (slot, stamp) in self.stamps.iter().enumerate() {
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
    #[inline]
    pub fn set_idle(&self, slot: u32) {
        self.store(slot, self.now().get());
    }

    /// Stamps a slot as busy. A slot that does not exist is ignored.
    #[inline]
    pub fn set_busy(&self, slot: u32) {
        self.store(slot, BUSY);
    }

    #[inline]
    fn store(&self, slot: u32, value: u32) {
        if let Some(stamp) = self.stamps.get(slot as usize) {
            stamp.store(value, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for StampTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StampTable")
            .field("tick", &self.tick)
            .field("now", &self.now())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A slot of a [`StampTable`], taken until this is dropped.
#[must_use = "the slot is free again when this is dropped"]
pub struct StampSlot {
    table: Arc<StampTable>,
    index: u32,
}

impl StampSlot {
    /// The number of the slot, from 0.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &Arc<StampTable> {
        &self.table
    }

    #[inline]
    pub(crate) fn set_idle(&self) {
        self.table.set_idle(self.index);
    }

    #[inline]
    pub(crate) fn set_busy(&self) {
        self.table.set_busy(self.index);
    }
}

impl Drop for StampSlot {
    fn drop(&mut self) {
        self.set_busy();
        if let Some(taken) = self.table.taken.get(self.index as usize / 64) {
            taken.fetch_and(!(1 << (self.index % 64)), Ordering::Release);
        }
    }
}

impl fmt::Debug for StampSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StampSlot")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(tower_conn_loom)))]
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
        table.set_busy(0);
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

    #[test]
    fn every_slot_is_taken_once_and_comes_back_clean() {
        for len in [1, 63, 64, 65, 130] {
            let table = Arc::new(StampTable::new(len, Duration::from_secs(1)));
            let mut all: Vec<_> = std::iter::from_fn(|| table.claim()).collect();
            let indices: Vec<_> = all.iter().map(StampSlot::index).collect();
            assert_eq!(indices, (0..len).collect::<Vec<_>>());
            table.set_idle(len / 2);
            drop(all.swap_remove(len as usize / 2));
            assert_eq!(table.idle_since(len / 2), None);
            let again = table.claim().expect("one is free");
            assert_eq!(again.index(), len / 2);
            assert!(table.claim().is_none());
        }
        assert!(
            Arc::new(StampTable::new(0, Duration::ZERO))
                .claim()
                .is_none()
        );
    }
}

//! A thousand connections: what a sweep looks at, and what is known about each.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tower_conn_core::{Link, StampTable};

use crate::common::Common;
use crate::limits::{NEVER, after};
use crate::shared::{Clocks, Reading, State, Writing};

/// Slots in a chunk.
pub(super) const SLOTS: u32 = 1024;

/// What is known about the connections of one [`StampTable`], to which it is attached.
pub(crate) struct Chunk {
    pub(crate) reaper: Arc<Common>,
    due: Box<[AtomicU32]>,
    /// No entry of `due` is below this.
    due_from: AtomicU32,
    /// No stamp comes of age before this.
    idle_from: AtomicU32,
    states: Box<[State; SLOTS as usize]>,
    entries: Mutex<Box<[Option<Link>]>>,
    clocks: Mutex<HashMap<u32, Clocks>>,
}

impl Chunk {
    pub(super) fn new(reaper: Arc<Common>) -> Self {
        let states: Box<[State]> = (0..SLOTS).map(|_| State::default()).collect();
        Self {
            reaper,
            due: (0..SLOTS).map(|_| AtomicU32::new(NEVER)).collect(),
            due_from: AtomicU32::new(NEVER),
            idle_from: AtomicU32::new(0),
            states: states
                .try_into()
                .unwrap_or_else(|_| unreachable!("so many were made")),
            entries: Mutex::new((0..SLOTS).map(|_| None).collect()),
            clocks: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn state(&self, slot: u32) -> &State {
        &self.states[(slot % SLOTS) as usize]
    }

    /// Has the connection in this slot looked at no later than `tick`.
    ///
    /// What is to be seen must have been stored before: of this and a sweep that goes on at the same
    /// time, the later one finds the work of the other.
    pub(crate) fn look_at(&self, slot: u32, tick: u32) {
        if let Some(due) = self.due.get(slot as usize) {
            due.fetch_min(tick, Ordering::AcqRel);
            self.due_from.fetch_min(tick, Ordering::AcqRel);
        }
    }

    pub(super) fn collect_due(&self, now: u32, found: &mut Vec<u32>) {
        if self.due_from.load(Ordering::Acquire) > now {
            return;
        }
        // A swap, so that what was stored before an earlier `look_at` is seen below.
        self.due_from.swap(NEVER, Ordering::AcqRel);
        let mut from = NEVER;
        for (slot, due) in self.due.iter().enumerate() {
            let at = due.load(Ordering::Relaxed);
            if at <= now {
                due.swap(NEVER, Ordering::AcqRel);
                found.push(slot as u32);
            } else {
                from = from.min(at);
            }
        }
        self.due_from.fetch_min(from, Ordering::AcqRel);
    }

    pub(super) fn collect_idle(
        &self,
        stamps: &StampTable,
        now: u32,
        limit: u32,
        found: &mut Vec<u32>,
    ) {
        if self.idle_from.load(Ordering::Relaxed) > now {
            return;
        }
        let come_of_age = now.saturating_sub(limit).saturating_sub(1);
        let before = found.len();
        let oldest = match NonZeroU32::new(come_of_age) {
            Some(tick) => stamps.sweep(tick, |slot| found.push(slot)),
            None => Some(NonZeroU32::MIN),
        };
        let from = if found.len() > before {
            // Some of them may have to be looked at again.
            now
        } else {
            after(oldest.map_or(now, |tick| tick.get().min(now)), limit)
        };
        self.idle_from.store(from, Ordering::Relaxed);
    }

    // ===== entries =====

    pub(super) fn entries(&self) -> MutexGuard<'_, Box<[Option<Link>]>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection whose slot is new to it.
    pub(crate) fn enter(&self, slot: u32, connection: Link) {
        self.state(slot).reset();
        self.put(slot, Some(connection));
    }

    /// Takes a connection out whose transport is gone.
    pub(crate) fn leave(&self, slot: u32) {
        self.put(slot, None);
        drop(self.all_clocks().remove(&slot));
    }

    fn put(&self, slot: u32, connection: Option<Link>) {
        let before = self
            .entries()
            .get_mut(slot as usize)
            .and_then(|entry| std::mem::replace(entry, connection));
        // Dropped outside the lock: it may be the last handle.
        drop(before);
    }

    // ===== clocks =====

    fn all_clocks(&self) -> MutexGuard<'_, HashMap<u32, Clocks>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the clocks of the connection in this slot; they are kept while any is used.
    pub(crate) fn change_clocks<R>(&self, slot: u32, change: impl FnOnce(&mut Clocks) -> R) -> R {
        let mut all = self.all_clocks();
        let clocks = all.entry(slot).or_default();
        let result = change(clocks);
        if clocks.are_unused() {
            all.remove(&slot);
        }
        result
    }

    /// The clocks of reading and writing, if they run.
    pub(crate) fn clocks(&self, slot: u32) -> (Option<Reading>, Option<Writing>) {
        self.all_clocks()
            .get(&slot)
            .map_or((None, None), |clocks| (clocks.reading, clocks.writing))
    }

    /// Has [`wake_writer`](Self::wake_writer) wake this one. A flag that was set before that is seen
    /// after this, or this one is woken.
    pub(crate) fn writer_waits(&self, slot: u32, waker: &Waker) {
        let before = self.change_clocks(slot, |clocks| match &clocks.writer {
            Some(known) if known.will_wake(waker) => None,
            _ => clocks.writer.replace(waker.clone()),
        });
        drop(before);
    }

    pub(crate) fn wake_writer(&self, slot: u32) {
        let waker = self.change_clocks(slot, |clocks| clocks.writer.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

//! Where the live connections stand: dense arrays of stamps, in chunks.
//!
//! What a sweep has to look at lies together: four bytes for the beginning of idleness, four for the
//! tick at which the connection must be looked at for any other reason. The connections themselves
//! are touched only when something is due.

use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower_conn_core::{Connection, StampTable};

use crate::limits::{NEVER, after};

/// How many connections that became idle in one tick are told apart.
const TIES: usize = 4096;
/// Slots in a chunk.
const SLOTS: u32 = 1024;

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) stamps: Arc<StampTable>,
    due: Box<[AtomicU32]>,
    /// No entry of `due` is below this.
    due_from: AtomicU32,
    /// No stamp comes of age before this.
    idle_from: AtomicU32,
    entries: Mutex<Box<[Option<Connection>]>>,
}

impl Chunk {
    fn new(tick: Duration) -> Self {
        Self {
            stamps: Arc::new(StampTable::new(SLOTS, tick)),
            due: (0..SLOTS).map(|_| AtomicU32::new(NEVER)).collect(),
            due_from: AtomicU32::new(NEVER),
            idle_from: AtomicU32::new(0),
            entries: Mutex::new((0..SLOTS).map(|_| None).collect()),
        }
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

    fn collect_due(&self, now: u32, found: &mut Vec<u32>) {
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

    fn collect_idle(&self, now: u32, limit: u32, found: &mut Vec<u32>) {
        if self.idle_from.load(Ordering::Relaxed) > now {
            return;
        }
        let come_of_age = now.saturating_sub(limit).saturating_sub(1);
        let before = found.len();
        let oldest = match NonZeroU32::new(come_of_age) {
            Some(tick) => self.stamps.sweep(tick, |slot| found.push(slot)),
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

    fn entries(&self) -> MutexGuard<'_, Box<[Option<Connection>]>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, slot: u32, connection: Option<Connection>) {
        let before = self
            .entries()
            .get_mut(slot as usize)
            .and_then(|entry| std::mem::replace(entry, connection));
        // Dropped outside the lock: it may be the last handle.
        drop(before);
    }
}

/// A connection among the longest-idle ones, idle since `since` when it was found.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) since: NonZeroU32,
    pub(crate) connection: Connection,
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) slot: u32,
}

#[derive(Debug)]
pub(crate) struct Registry {
    tick: Duration,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    chunks: Vec<Arc<Chunk>>,
    free: Vec<u32>,
}

impl Registry {
    pub(crate) fn new(tick: Duration) -> Self {
        Self {
            tick,
            places: Mutex::default(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free slot: its chunk, its number there and its number in all.
    pub(crate) fn take(&self) -> (Arc<Chunk>, u32, u32) {
        let mut places = self.places();
        if places.free.is_empty() {
            let base = places.chunks.len() as u32 * SLOTS;
            places.chunks.push(Arc::new(Chunk::new(self.tick)));
            places.free.extend((base..base + SLOTS).rev());
        }
        let number = places.free.pop().unwrap_or_default();
        let chunk = Arc::clone(&places.chunks[(number / SLOTS) as usize]);
        (chunk, number % SLOTS, number)
    }

    /// Gives a slot back, once nothing refers to it.
    pub(crate) fn give_back(&self, number: u32) {
        self.places().free.push(number);
    }

    pub(crate) fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.places().chunks.clone()
    }

    /// Moves the clocks of all chunks to `now` and finds what is due then: the connections that must
    /// be looked at, and those that have been idle for `idle` ticks.
    pub(crate) fn sweep(&self, now: NonZeroU32, idle: u32) -> Due {
        let mut due = Due::default();
        let mut slots = Vec::new();
        for chunk in self.chunks() {
            chunk.stamps.advance_to(now);
            chunk.collect_due(now.get(), &mut slots);
            due.looks.extend(Self::entries_of(&chunk, &mut slots));
            if idle != NEVER {
                chunk.collect_idle(now.get(), idle, &mut slots);
                due.idle.extend(Self::entries_of(&chunk, &mut slots));
            }
        }
        due
    }

    fn entries_of(chunk: &Chunk, slots: &mut Vec<u32>) -> Vec<Connection> {
        if slots.is_empty() {
            return Vec::new();
        }
        let entries = chunk.entries();
        slots
            .drain(..)
            .filter_map(|slot| entries.get(slot as usize)?.clone())
            .collect()
    }

    /// Every connection, chunk by chunk.
    pub(crate) fn for_each(&self, mut f: impl FnMut(Connection)) {
        for chunk in self.chunks() {
            // Out of the lock: what is done with them may take it again.
            let mut all = Vec::new();
            all.extend(chunk.entries().iter().flatten().cloned());
            all.into_iter().for_each(&mut f);
        }
    }

    /// The `most` longest-idle connections, the longest-idle one last. Those that became idle in the
    /// same tick are taken as idle in the order in which they were opened, unless there are very many.
    pub(crate) fn longest_idle(&self, most: usize) -> Vec<Candidate> {
        let mut found = BinaryHeap::with_capacity(most + 1);
        let mut ties = 0;
        for chunk in self.chunks() {
            let entries = chunk.entries();
            for slot in chunk.stamps.due(NonZeroU32::MAX) {
                let Some(since) = chunk.stamps.idle_since(slot) else {
                    continue;
                };
                if found.len() == most {
                    let bound = found.peek().map_or(since, |c: &Candidate| c.since);
                    ties += usize::from(since == bound);
                    if since > bound || (since == bound && ties > TIES) {
                        continue;
                    }
                }
                let Some(connection) = entries.get(slot as usize).cloned().flatten() else {
                    continue;
                };
                found.push(Candidate {
                    since,
                    connection,
                    chunk: Arc::clone(&chunk),
                    slot,
                });
                if found.len() > most {
                    found.pop();
                }
            }
        }
        let mut found = found.into_sorted_vec();
        found.reverse();
        found
    }
}

impl Candidate {
    fn key(&self) -> (NonZeroU32, u64) {
        (self.since, self.connection.id())
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) looks: Vec<Connection>,
    pub(crate) idle: Vec<Connection>,
}

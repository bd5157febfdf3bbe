//! Where the live connections stand: dense arrays, in chunks.
//!
//! What a sweep has to look at lies together: four bytes for the beginning of idleness, four for the
//! tick at which the connection must be looked at for any other reason. The connections themselves
//! are touched only when something is due.

mod chunk;
mod longest_idle;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tower_conn_core::{Connection, Link, StampSlot, StampTable};

use crate::common::Common;
use crate::limits::NEVER;

use self::chunk::SLOTS;

pub(crate) use self::chunk::Chunk;
pub(crate) use self::longest_idle::Candidate;

/// A table of stamps, and what is known about its connections.
pub(crate) struct Row {
    pub(crate) stamps: Arc<StampTable>,
    pub(crate) chunk: Arc<Chunk>,
}

#[derive(Default)]
pub(crate) struct Registry {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    rows: Vec<Arc<Row>>,
    /// Where there was a free slot last.
    free: usize,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) looks: Vec<Connection>,
    pub(crate) idle: Vec<Connection>,
}

impl Registry {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free slot, and where it is.
    pub(crate) fn claim(&self, reaper: &Arc<Common>) -> (StampSlot, Arc<Row>) {
        let mut places = self.places();
        loop {
            let rows = places.rows.len();
            for at in (places.free..rows).chain(0..places.free.min(rows)) {
                if let Some(slot) = places.rows[at].stamps.claim() {
                    places.free = at;
                    return (slot, Arc::clone(&places.rows[at]));
                }
            }
            let chunk = Arc::new(Chunk::new(Arc::clone(reaper)));
            let stamps = StampTable::new(SLOTS, reaper.limits.tick()).attach(Arc::clone(&chunk));
            let stamps = Arc::new(stamps);
            places.rows.push(Arc::new(Row { stamps, chunk }));
        }
    }

    pub(crate) fn rows(&self) -> Vec<Arc<Row>> {
        self.places().rows.clone()
    }

    /// Moves the clocks of all tables to `now` and finds what is due then: the connections that must
    /// be looked at, and those that have been idle for `idle` ticks.
    pub(crate) fn sweep(&self, now: NonZeroU32, idle: u32) -> Due {
        let mut due = Due::default();
        let mut slots = Vec::new();
        for row in self.rows() {
            row.stamps.advance_to(now);
            row.chunk.collect_due(now.get(), &mut slots);
            row.take_entries(&mut slots, &mut due.looks);
            if idle != NEVER {
                row.chunk
                    .collect_idle(&row.stamps, now.get(), idle, &mut slots);
                row.take_entries(&mut slots, &mut due.idle);
            }
        }
        due
    }

    /// Every connection, chunk by chunk.
    pub(crate) fn for_each(&self, mut f: impl FnMut(Connection)) {
        for row in self.rows() {
            // Out of the lock: what is done with them may take it again.
            let mut all = Vec::new();
            all.extend(row.chunk.entries().iter().flatten().map(Link::connection));
            all.into_iter().for_each(&mut f);
        }
    }
}

impl Row {
    fn take_entries(&self, slots: &mut Vec<u32>, into: &mut Vec<Connection>) {
        if !slots.is_empty() {
            let entries = self.chunk.entries();
            let found = |slot: u32| Some(entries.get(slot as usize)?.as_ref()?.connection());
            into.extend(slots.drain(..).filter_map(found));
        }
    }
}

//! Finding the connections that have been idle for longest.

use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use tower_conn_core::Connection;

use super::Registry;

/// How many connections that became idle in one tick are told apart.
const TIES: usize = 4096;

/// A connection among the longest-idle ones, idle since `since` when it was found.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) since: NonZeroU32,
    pub(crate) connection: Connection,
}

impl Registry {
    /// The `most` longest-idle connections, the longest-idle one last. Those that became idle in the
    /// same tick are taken as idle in the order in which they were opened, unless there are very many.
    pub(crate) fn longest_idle(&self, most: usize) -> Vec<Candidate> {
        let mut found = BinaryHeap::with_capacity(most + 1);
        let mut ties = 0;
        for row in self.rows() {
            let entries = row.chunk.entries();
            for slot in row.stamps.due(NonZeroU32::MAX) {
                let Some(since) = row.stamps.idle_since(slot) else {
                    continue;
                };
                if found.len() == most {
                    let bound = found.peek().map_or(since, |c: &Candidate| c.since);
                    ties += usize::from(since == bound);
                    if since > bound || (since == bound && ties > TIES) {
                        continue;
                    }
                }
                let Some(Some(link)) = entries.get(slot as usize) else {
                    continue;
                };
                let connection = link.connection();
                found.push(Candidate { since, connection });
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
    /// Whether it has been idle ever since.
    pub(crate) fn stayed_idle(&self) -> bool {
        self.connection
            .stamp_slot()
            .is_some_and(|slot| slot.table().idle_since(slot.index()) == Some(self.since))
    }

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

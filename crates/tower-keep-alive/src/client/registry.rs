//! The connections in use, ordered by when they are due to be given up.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

use crate::Lifetime;

/// At most this many connections are remembered; more are not reused.
const CAP: usize = 65_536;

/// Lifetimes by connection, and a heap with one entry for each, so that what is due is found without
/// a timer and without a scan. `H` is the handle by which a connection is given up.
#[derive(Debug)]
pub(super) struct Registry<K, H> {
    connections: HashMap<K, Known<H>>,
    /// Never later than the true deadline; what is taken from here too early goes back.
    due: BinaryHeap<Reverse<(Instant, K)>>,
}

#[derive(Debug)]
struct Known<H> {
    handle: H,
    lifetime: Lifetime,
    deadline: Instant,
}

impl<K: Copy + Eq + Hash + Ord, H> Registry<K, H> {
    pub(super) fn new() -> Self {
        Self {
            connections: HashMap::new(),
            due: BinaryHeap::new(),
        }
    }

    /// The lifetime of a connection as last seen.
    pub(super) fn lifetime(&self, key: &K) -> Option<Lifetime> {
        self.connections.get(key).map(|known| known.lifetime)
    }

    /// Remembers a connection until its deadline, or gives its handle back if there is no room.
    pub(super) fn remember(
        &mut self,
        key: K,
        handle: H,
        lifetime: Lifetime,
        deadline: Instant,
    ) -> Result<(), H> {
        let full = self.connections.len() >= CAP;
        match self.connections.entry(key) {
            Entry::Vacant(_) if full => return Err(handle),
            Entry::Vacant(entry) => {
                self.due.push(Reverse((deadline, key)));
                entry.insert(Known {
                    handle,
                    lifetime,
                    deadline,
                });
            }
            Entry::Occupied(mut entry) => {
                if deadline < entry.get().deadline {
                    self.due.push(Reverse((deadline, key)));
                }
                entry.insert(Known {
                    handle,
                    lifetime,
                    deadline,
                });
            }
        }
        Ok(())
    }

    /// Forgets a connection that has been given up.
    pub(super) fn forget(&mut self, key: &K) {
        self.connections.remove(key);
    }

    /// Forgets the connections whose deadline has come, and returns their handles.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<H> {
        let mut due = Vec::new();
        while self.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, key))) = self.due.pop() else {
                break;
            };
            match self.connections.entry(key) {
                Entry::Vacant(_) => {}
                Entry::Occupied(entry) if entry.get().deadline <= now => {
                    due.push(entry.remove().handle);
                }
                // Used again since.
                Entry::Occupied(entry) => self.due.push(Reverse((entry.get().deadline, key))),
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_moves_with_each_use_and_the_heap_does_not_grow() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut registry = Registry::new();
        let lifetime = Lifetime::new(now);
        for second in 1..100 {
            registry.remember('a', 1, lifetime, at(second)).unwrap();
            assert_eq!(registry.due.len(), 1);
        }
        registry.remember('b', 2, lifetime, at(50)).unwrap();
        assert!(registry.take_due(at(49)).is_empty());
        assert_eq!(registry.take_due(at(98)), [2]);
        assert_eq!(registry.take_due(at(99)), [1]);
        assert_eq!((registry.connections.len(), registry.due.len()), (0, 0));
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_not_missed() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut registry = Registry::new();
        let lifetime = Lifetime::new(now);
        registry.remember('a', 1, lifetime, at(90)).unwrap();
        registry.remember('a', 1, lifetime, at(3)).unwrap();
        assert_eq!(registry.take_due(at(3)), [1]);
        assert!(registry.take_due(at(90)).is_empty());
    }

    #[test]
    fn no_more_connections_are_remembered_than_the_cap() {
        let now = Instant::now();
        let mut registry = Registry::new();
        let lifetime = Lifetime::new(now);
        for key in 0..CAP {
            registry.remember(key, (), lifetime, now).unwrap();
        }
        assert_eq!(registry.remember(CAP, (), lifetime, now), Err(()));
        assert_eq!(registry.remember(0, (), lifetime, now), Ok(()));
        registry.forget(&0);
        assert_eq!(registry.remember(CAP, (), lifetime, now), Ok(()));
    }
}

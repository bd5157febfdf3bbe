//! Making room under the limits, fairly.

use tower_conn_core::CloseReason;

use super::dial::Dial;
use super::work::Work;
use super::{Shared, State};
use crate::ports::Room;
use crate::{Delivery, Origin, PoolError, PoolErrorKind, PoolObserver};

/// How many requests in a row an origin may serve with a connection that someone elsewhere has waited
/// for longer.
const LET_PAST: u32 = 8;

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    /// Asks the port budget. Without room, waiters wait for the connections that there are, or fail.
    pub(super) fn may_open(
        &self,
        state: &mut State<B>,
        origin: &Origin,
        work: &mut Work<B>,
    ) -> bool {
        let Some(entry) = state.origins.get_mut(origin) else {
            return false;
        };
        let Some(peer) = entry.peer else {
            return true;
        };
        match self.watch.ports.room(peer) {
            Room::Enough => true,
            Room::Low { used, ports } => {
                work.ports_low.push((peer, used, ports));
                // Reuse and waiting come first; without a connection to wait for, one is opened.
                entry.open == 0
            }
            Room::None => {
                work.ports_low
                    .push((peer, self.watch.ports.used(peer), self.watch.ports.ports()));
                if entry.open == 0 {
                    state.waiting -= entry.waiters.len();
                    for waiter in entry.waiters.take_all() {
                        let error =
                            PoolError::new(PoolErrorKind::PortsExhausted, Delivery::NotSent);
                        work.grants.push(waiter.grant, Err(error));
                    }
                }
                false
            }
        }
    }

    pub(super) fn evict(&self, state: &mut State<B>, only: Option<&Origin>, work: &mut Work<B>) {
        if let Some(conn) = state.take_oldest(only) {
            state.evicting += 1;
            if let Some(entry) = state.origins.get_mut(&conn.origin) {
                entry.evicting += 1;
            }
            work.retire.push((conn, CloseReason::Evicted));
        }
    }

    /// A socket is gone: its place goes to the oldest waiter that the limits have kept waiting.
    pub(super) fn free_slot(&self, state: &mut State<B>, origin: &Origin, work: &mut Work<B>) {
        let total_bound = state.total >= self.limits.total.get();
        state.total -= 1;
        if let Some(entry) = state.origins.get_mut(origin) {
            entry.open -= 1;
        }
        if state.waiting > 0 {
            if total_bound {
                self.pump_oldest(state, work);
            } else {
                self.pump(state, origin, work);
            }
        }
        state.tidy(origin);
    }

    /// The oldest waiter whom nothing but the total keeps from a connection.
    fn oldest_blocked<'a>(&self, state: &'a State<B>) -> Option<(u64, &'a Origin)> {
        state
            .origins
            .iter()
            .filter(|(_, entry)| entry.open < self.limits.per_origin.get())
            .filter_map(|(origin, entry)| Some((entry.wants_dial()?.0, origin)))
            .min_by_key(|&(ticket, _)| ticket)
    }

    /// Whether a connection that became free, though its own origin has use for it, has to make room
    /// for a waiter elsewhere who has waited longer.
    ///
    /// That costs a connection, so not every time: only once so many have been let past.
    pub(super) fn is_owed(&self, state: &mut State<B>, origin: &Origin) -> bool {
        let Some(entry) = state.origins.get_mut(origin) else {
            return false;
        };
        if state.waiting == entry.waiters.len() {
            return false;
        }
        let Some((first, _)) = entry.waiters.undialed() else {
            return false;
        };
        self.has_let_past(state, origin)
            && self
                .oldest_blocked(state)
                .is_some_and(|(oldest, _)| oldest < first)
    }

    /// The same for a connection that carries several: it may never be empty by itself.
    pub(super) fn owes_line(&self, state: &mut State<B>, origin: &Origin) -> bool {
        state.total >= self.limits.total.get()
            && self.has_let_past(state, origin)
            && self
                .oldest_blocked(state)
                .is_some_and(|(_, other)| other != origin)
    }

    fn has_let_past(&self, state: &mut State<B>, origin: &Origin) -> bool {
        if state.evicting > 0 || state.waiting == 0 {
            return false;
        }
        let Some(entry) = state.origins.get_mut(origin) else {
            return false;
        };
        if state.waiting == entry.waiters.len() {
            return false;
        }
        entry.let_past += 1;
        let enough = entry.let_past >= LET_PAST;
        if enough {
            entry.let_past = 0;
        }
        enough
    }

    /// A connection has become idle: if only the total keeps someone waiting, the longest-idle one goes.
    pub(super) fn make_room(&self, state: &mut State<B>, work: &mut Work<B>) {
        if state.waiting > state.evicting
            && state.total >= self.limits.total.get()
            && self.oldest_blocked(state).is_some()
        {
            self.evict(state, None, work);
        }
    }

    fn pump_oldest(&self, state: &mut State<B>, work: &mut Work<B>) {
        while state.total < self.limits.total.get() {
            let Some((_, origin)) = self.oldest_blocked(state) else {
                return;
            };
            let origin = origin.clone();
            let before = work.dials.len();
            self.pump(state, &origin, work);
            if work.dials.len() == before {
                return;
            }
        }
    }
}

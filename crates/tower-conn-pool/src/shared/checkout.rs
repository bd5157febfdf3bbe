//! Getting a connection: an idle one, or a place in the queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_conn_core::CloseReason;

use super::dial::Dial;
use super::dial::Wanted;
use super::lines::Line;
use super::waiters::Waiter;
use super::work::Work;
use super::{Grant, Shared, State};
use crate::conn::{Conn, lock};
use crate::policy::Need;
use crate::ports::Room;
use crate::{Delivery, Origin, PoolError, PoolErrorKind, PoolEvent, PoolObserver, Protocol};

/// How many requests in a row an origin may serve with a connection that someone elsewhere has waited
/// for longer.
const LET_PAST: u32 = 8;

/// A connection, or the promise of one.
pub(crate) enum Checkout<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    Got(Arc<Conn<B>>),
    Wait(Waiting<C, B, O>),
}

/// A place in the queue; left when dropped.
pub(crate) struct Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pool: Arc<Shared<C, B, O>>,
    origin: Origin,
    ticket: u64,
    grant: Option<oneshot::Receiver<Grant<B>>>,
}

impl<C, B, O> Future for Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    type Output = Grant<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Grant<B>> {
        let this = self.get_mut();
        let Some(grant) = &mut this.grant else {
            return Poll::Pending;
        };
        Pin::new(grant).poll(cx).map(|granted| {
            this.grant = None;
            granted
                .unwrap_or_else(|_| Err(PoolError::new(PoolErrorKind::Canceled, Delivery::NotSent)))
        })
    }
}

impl<C, B, O> Drop for Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    fn drop(&mut self) {
        let Some(mut grant) = self.grant.take() else {
            return;
        };
        self.pool.leave_queue(&self.origin, self.ticket);
        // What was granted a moment ago, and nobody has seen, belongs to the next.
        grant.close();
        if let Ok(Ok(conn)) = grant.try_recv() {
            self.pool.give_back(conn);
        }
    }
}

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(crate) fn checkout(
        self: &Arc<Self>,
        origin: &Origin,
        need: Need,
    ) -> Result<Checkout<C, B, O>, PoolError> {
        let mut work = Work::default();
        let mut queued = None;
        let result = {
            let mut state = lock(&self.state);
            match self.take_open(&mut state, origin, need, &mut work) {
                Some(conn) => Ok(Checkout::Got(conn)),
                None => {
                    self.enqueue(&mut state, origin, need, &mut work)
                        .map(|(waiting, place)| {
                            queued = Some(place);
                            Checkout::Wait(waiting)
                        })
                }
            }
        };
        if let Some(place) = queued {
            self.watch
                .observer
                .on_event(&PoolEvent::Queued(origin, place));
        }
        self.carry_out(work);
        result
    }

    /// A stream, the most recently used idle connection that is still good, or, where the limits leave
    /// no room for another one, a place behind others.
    fn take_open(
        &self,
        state: &mut State<B>,
        origin: &Origin,
        need: Need,
        work: &mut Work<B>,
    ) -> Option<Arc<Conn<B>>> {
        if need.fresh {
            return None;
        }
        let full = state.total >= self.limits.total.get();
        let entry = state.origins.get_mut(origin)?;
        if !entry.lines.is_empty() && entry.speaks_http2 {
            if let Some(conn) = entry.take_stream(&self.limits, &mut work.retire) {
                return Some(conn);
            }
        }
        let mut now = None;
        while let Some(idle) = entry.idle.pop_back() {
            state.idle -= 1;
            let expired = idle
                .until
                .is_some_and(|until| until <= *now.get_or_insert_with(Instant::now));
            if expired {
                work.retire.push((idle.conn, idle.reason));
            } else if idle.conn.is_usable() {
                if idle.conn.wire.is_shared() {
                    entry.lines.push(Line::one(Arc::clone(&idle.conn)));
                }
                return Some(idle.conn);
            } else {
                let reason = idle.conn.io.end();
                work.retire.push((idle.conn, reason));
            }
        }
        let full = full || entry.open >= self.limits.per_origin.get();
        if full && need.may_share() && entry.waiters.sharing() == 0 {
            return entry.take_place_behind(&self.limits);
        }
        None
    }

    fn enqueue(
        self: &Arc<Self>,
        state: &mut State<B>,
        origin: &Origin,
        need: Need,
        work: &mut Work<B>,
    ) -> Result<(Waiting<C, B, O>, usize), PoolError> {
        if self.limits.waiting.is_some_and(|max| state.waiting >= max)
            && !self.has_room(state, origin)
        {
            return Err(PoolError::new(PoolErrorKind::QueueFull, Delivery::NotSent));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        let entry = state.origins.entry(origin.clone()).or_default();
        entry.speaks_http2 |= self.protocol == Protocol::Http2;
        entry.waiters.push(
            ticket,
            Waiter {
                grant: sender,
                need,
                dialing: false,
            },
        );
        let place = entry.waiters.len();
        state.waiting += 1;
        self.pump(state, origin, work);
        if need.may_share() {
            self.share_lines(state, origin, work);
        }
        let waiting = Waiting {
            pool: Arc::clone(self),
            origin: origin.clone(),
            ticket,
            grant: Some(receiver),
        };
        Ok((waiting, place))
    }

    fn has_room(&self, state: &State<B>, origin: &Origin) -> bool {
        let open = state.origins.get(origin).map_or(0, |entry| entry.open);
        open < self.limits.per_origin.get() && state.total < self.limits.total.get()
    }

    fn leave_queue(&self, origin: &Origin, ticket: u64) {
        let mut state = lock(&self.state);
        let Some(entry) = state.origins.get_mut(origin) else {
            return;
        };
        if entry.waiters.remove(ticket).is_some() {
            state.waiting -= 1;
            state.tidy(origin);
        }
    }

    /// Puts back a connection that was granted and not used.
    pub(super) fn give_back(&self, conn: Arc<Conn<B>>) {
        if conn.wire.is_shared() {
            return self.turn_line(&conn, true);
        }
        let mut work = Work::default();
        self.place(&mut lock(&self.state), conn, &mut work);
        self.carry_out(work);
    }

    /// Opens as many connections for the waiters of an origin as they need and the limits allow.
    pub(super) fn pump(&self, state: &mut State<B>, origin: &Origin, work: &mut Work<B>) {
        loop {
            let Some(entry) = state.origins.get_mut(origin) else {
                return;
            };
            let Some((ticket, waiter)) = entry.wants_dial() else {
                return;
            };
            let switches = waiter.need.switches;
            if entry.open >= self.limits.per_origin.get() {
                // Full of connections that the waiter does not want: one of them makes room.
                if entry.evicting == 0 && !entry.idle.is_empty() {
                    self.evict(state, Some(origin), work);
                }
                return;
            }
            if state.total >= self.limits.total.get() {
                // Each waiter may have one idle connection elsewhere closed for it, no more.
                if state.evicting < state.waiting {
                    self.evict(state, None, work);
                }
                return;
            }
            if !self.may_open(state, origin, work) {
                return;
            }
            let Some(entry) = state.origins.get_mut(origin) else {
                return;
            };
            entry.waiters.dialing(ticket);
            entry.dialing += 1;
            entry.open += 1;
            state.total += 1;
            work.dials.push(Wanted {
                origin: origin.clone(),
                ticket,
                switches,
                streams: entry.streams,
            });
        }
    }

    fn evict(&self, state: &mut State<B>, only: Option<&Origin>, work: &mut Work<B>) {
        if let Some(conn) = state.take_oldest(only) {
            state.evicting += 1;
            if let Some(entry) = state.origins.get_mut(&conn.origin) {
                entry.evicting += 1;
            }
            work.retire.push((conn, CloseReason::Evicted));
        }
    }

    /// Asks the port budget. Without room, waiters wait for the connections that there are, or fail.
    fn may_open(&self, state: &mut State<B>, origin: &Origin, work: &mut Work<B>) -> bool {
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
                        work.grants.push((waiter.grant, Err(error)));
                    }
                }
                false
            }
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
        let Some(entry) = state.origins.get_mut(origin) else {
            return false;
        };
        if state.evicting > 0 || state.waiting == entry.waiters.len() {
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

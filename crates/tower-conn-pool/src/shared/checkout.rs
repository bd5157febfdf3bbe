//! Getting a connection: an idle one, or a place in the queue.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dial::Dial;
use super::dial::Wanted;
use super::lines::Line;
use super::waiters::Waiter;
use super::waiting::Waiting;
use super::work::Work;
use super::{Shared, State};
use crate::conn::{Conn, lock};
use crate::policy::Need;
use crate::{Delivery, Origin, PoolError, PoolErrorKind, PoolEvent, PoolObserver, Protocol};

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
        // With neither room for another connection nor an idle one that could make room, it only waits.
        let only_waits = entry.open >= self.limits.per_origin.get() && entry.idle.is_empty();
        state.waiting += 1;
        if !only_waits {
            self.pump(state, origin, work);
        }
        if need.may_share() {
            self.share_lines(state, origin, work);
        }
        let waiting = Waiting::new(Arc::clone(self), origin.clone(), ticket, receiver);
        Ok((waiting, place))
    }

    fn has_room(&self, state: &State<B>, origin: &Origin) -> bool {
        let open = state.origins.get(origin).map_or(0, |entry| entry.open);
        open < self.limits.per_origin.get() && state.total < self.limits.total.get()
    }

    pub(super) fn leave_queue(&self, origin: &Origin, ticket: u64) {
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
}

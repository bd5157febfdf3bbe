//! Where a connection goes that is free: to a waiter, among the idle ones, or away; and when an idle one
//! goes away.

use std::sync::Arc;

use tokio::time::Instant;
use tower_conn_core::CloseReason;

use super::dial::Dial;
use super::lines::Line;
use super::origin::{self, Idle};
use super::work::Work;
use super::{Shared, State};
use crate::PoolObserver;
use crate::conn::{Conn, lock};

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    /// Gives an empty HTTP/1.1 connection to the oldest waiter, keeps it, or closes it.
    pub(super) fn place(&self, state: &mut State<B>, conn: Arc<Conn<B>>, work: &mut Work<B>) {
        if !conn.is_usable() {
            // Its driver knows, or is about to find out.
            conn.handle.request_close(conn.io.end());
            return;
        }
        let now = Instant::now();
        let (timeout, more) = conn.hint(0);
        let uses = conn.handle.exchanges_begun();
        let spent = !more || self.limits.max_uses.is_some_and(|max| uses >= max.get());
        let due = conn.retire_at.is_some_and(|at| at <= now);
        let idle_time = self.limits.idle_time(timeout);
        let retire = if spent {
            Some(CloseReason::MaxRequests)
        } else if due {
            Some(CloseReason::MaxAge)
        } else {
            None
        };
        if let Some(reason) = retire {
            work.retire.push((conn, reason));
            return;
        }
        let total_binds = state.total >= self.limits.total.get();
        let owed = total_binds && self.is_owed(state, &conn.origin);
        let Some(entry) = state.origins.get_mut(&conn.origin) else {
            work.retire.push((conn, CloseReason::Application));
            return;
        };
        if timeout.is_some() {
            entry.hint = timeout;
        }
        if owed {
            state.evicting += 1;
            entry.evicting += 1;
            work.retire.push((conn, CloseReason::Evicted));
            return;
        }
        let binds = total_binds || entry.open >= self.limits.per_origin.get();
        match entry.next_waiter(uses == 0, conn.wire, binds) {
            origin::Next::Waiter(waiter) => {
                state.waiting -= 1;
                if conn.wire.is_shared() {
                    entry.lines.push(Line::one(Arc::clone(&conn)));
                }
                work.grants.push(waiter.grant, Ok(conn));
                return;
            }
            origin::Next::MakeRoom => {
                state.evicting += 1;
                entry.evicting += 1;
                work.retire.push((conn, CloseReason::Evicted));
                return;
            }
            origin::Next::Nobody => {}
        }
        let (until, reason) = match idle_time {
            Some((time, reason)) if time.is_zero() => {
                work.retire.push((conn, reason));
                return;
            }
            Some((time, reason)) => (Some(now + time), reason),
            None => (None, CloseReason::Idle),
        };
        let (until, reason) = match (until, conn.retire_at) {
            (Some(until), Some(at)) if at < until => (Some(at), CloseReason::MaxAge),
            (None, Some(at)) => (Some(at), CloseReason::MaxAge),
            (until, _) => (until, reason),
        };
        entry.idle.push_back(Idle {
            conn,
            since: now,
            until,
            reason,
        });
        if entry.idle.len() > self.limits.idle_per_origin.get() {
            if let Some(idle) = entry.idle.pop_front() {
                work.retire.push((idle.conn, CloseReason::Surplus));
            }
        } else {
            state.idle += 1;
            if state.idle > self.limits.idle.get() {
                if let Some(conn) = state.take_oldest(None) {
                    work.retire.push((conn, CloseReason::Surplus));
                }
            }
        }
        if let Some(until) = until {
            self.wake_at(state, until, work);
        }
        self.make_room(state, work);
    }

    /// Has the timer look at this time at the latest.
    pub(super) fn wake_at(&self, state: &mut State<B>, at: Instant, work: &mut Work<B>) {
        match state.timer {
            None => {
                state.timer = Some(at);
                work.start_timer = true;
            }
            Some(next) if at < next => {
                state.timer = Some(at);
                self.alarm.notify_one();
            }
            Some(_) => {}
        }
    }

    /// Closes what has idled long enough; when to look again, `None` if nothing is left to watch.
    pub(crate) fn sweep(&self) -> Option<Instant> {
        let mut work = Work::default();
        let next = {
            let mut state = lock(&self.state);
            let state = &mut *state;
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            for entry in state.origins.values_mut() {
                let before = entry.idle.len();
                let due = entry.sweep(now, &self.limits, &mut work.retire);
                state.idle -= before - entry.idle.len();
                next = match (next, due) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            let next = next.map(|next| next.max(now + crate::timer::GRAIN));
            state.timer = next;
            next
        };
        self.carry_out(work);
        next
    }
}

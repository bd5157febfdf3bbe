//! Connections that carry several exchanges at once: HTTP/2, and pipelined ones with requests on them.

use std::sync::Arc;

use tokio::time::Instant;
use tower_conn_core::CloseReason;

use super::dial::Dial;
use super::origin::OriginState;
use super::work::Work;
use super::{Shared, State};
use crate::conn::{Conn, Wire, lock};
use crate::policy::Limits;
use crate::{Origin, PoolObserver};

/// HTTP/2 connections are here as long as they are open; pipelined ones while they are not empty.
pub(super) struct Line<B> {
    pub(super) conn: Arc<Conn<B>>,
    /// Exchanges that were put on it and are not over.
    pub(super) in_flight: usize,
}

impl<B> Line<B> {
    pub(super) const fn one(conn: Arc<Conn<B>>) -> Self {
        Self { conn, in_flight: 1 }
    }

    /// Whether the number of its uses leaves one more.
    fn is_spent(&self, limits: &Limits) -> bool {
        let handle = &self.conn.handle;
        let coming = self
            .in_flight
            .saturating_sub(handle.exchanges_open() as usize);
        limits
            .max_uses
            .is_some_and(|max| handle.exchanges_begun() as usize + coming >= max.get() as usize)
    }

    fn takes_more(&self, limits: &Limits) -> bool {
        let due = || self.conn.retire_at.is_some_and(|at| at <= Instant::now());
        self.conn.is_usable()
            && self.conn.has_room_beside(self.in_flight)
            && !self.is_spent(limits)
            && self.conn.hint(self.in_flight).1
            && !due()
    }
}

impl<B> OriginState<B> {
    /// Puts an exchange on the first HTTP/2 connection that takes one more, so that the last ones
    /// become idle first.
    pub(super) fn take_stream(
        &mut self,
        limits: &Limits,
        retire: &mut Vec<(Arc<Conn<B>>, CloseReason)>,
    ) -> Option<Arc<Conn<B>>> {
        let mut at = 0;
        while let Some(line) = self.lines.get_mut(at) {
            if line.conn.wire != Wire::Http2 {
                at += 1;
            } else if !line.conn.is_usable() {
                let line = self.lines.remove(at);
                let reason = line.conn.io.end();
                retire.push((line.conn, reason));
            } else if line.is_spent(limits) {
                let line = self.lines.remove(at);
                retire.push((line.conn, CloseReason::MaxRequests));
            } else if line.conn.has_room_beside(line.in_flight) {
                line.in_flight += 1;
                return Some(Arc::clone(&line.conn));
            } else {
                at += 1;
            }
        }
        None
    }

    /// Puts an exchange behind others, on the pipelined connection with the fewest.
    ///
    /// Each waiter that needs a connection for itself keeps one of them from taking more, so that it
    /// becomes empty: those with the fewest, which nothing is added to, and which therefore stay those.
    pub(super) fn take_place_behind(&mut self, limits: &Limits) -> Option<Arc<Conn<B>>> {
        if !self.health.bears_pipelining(Instant::now()) {
            return None;
        }
        let at = match self.waiters.alone() {
            0 => self.emptiest(limits),
            kept => self.emptiest_but(kept, limits),
        }?;
        self.lines[at].in_flight += 1;
        Some(Arc::clone(&self.lines[at].conn))
    }

    fn pipelined(&self) -> impl Iterator<Item = (usize, &Line<B>)> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| line.conn.wire == Wire::Pipelined)
    }

    /// The pipelined connection with the fewest exchanges of those that take more.
    fn emptiest(&self, limits: &Limits) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for (at, line) in self.pipelined() {
            let better = best.is_none_or(|(fewest, _)| line.in_flight < fewest);
            if better && line.takes_more(limits) {
                best = Some((line.in_flight, at));
            }
            if matches!(best, Some((..=1, _))) {
                // None with requests on it has fewer.
                break;
            }
        }
        best.map(|(_, at)| at)
    }

    /// The same without so many that have the fewest of all.
    fn emptiest_but(&self, kept: usize, limits: &Limits) -> Option<usize> {
        let mut order: Vec<_> = self
            .pipelined()
            .map(|(at, line)| (line.in_flight, at))
            .collect();
        order.sort_unstable();
        let rest = order.into_iter().skip(kept);
        rest.map(|(_, at)| at)
            .find(|&at| self.lines[at].takes_more(limits))
    }

    /// Since when its longest-idle connection has been idle.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let streams = self.empty_streams().map(|(_, since)| since).min();
        self.idle.front().map(|idle| idle.since).or(streams)
    }

    /// Takes the HTTP/2 connection out that has carried nothing for the longest time.
    pub(super) fn take_idle_stream(&mut self) -> Option<Arc<Conn<B>>> {
        let (at, _) = self.empty_streams().min_by_key(|(_, since)| *since)?;
        Some(self.lines.remove(at).conn)
    }

    fn empty_streams(&self) -> impl Iterator<Item = (usize, Instant)> {
        self.lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.in_flight == 0 && line.conn.wire == Wire::Http2)
            .map(|(at, line)| {
                let idle = line.conn.handle.idle_for().unwrap_or_default();
                (at, Instant::now() - idle)
            })
    }

    /// Takes the HTTP/2 connections out on which nothing is outstanding.
    pub(super) fn retire_empty_lines(
        &mut self,
        reason: CloseReason,
        retire: &mut Vec<(Arc<Conn<B>>, CloseReason)>,
    ) {
        self.lines.retain(|line| {
            let keep = line.in_flight > 0 || line.conn.wire != Wire::Http2;
            if !keep {
                retire.push((Arc::clone(&line.conn), reason));
            }
            keep
        });
    }

    fn line_of(&self, conn: &Arc<Conn<B>>) -> Option<usize> {
        self.lines
            .iter()
            .position(|line| Arc::ptr_eq(&line.conn, conn))
    }
}

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    /// Puts as many waiters as there is room for on connections that carry others.
    pub(super) fn share_lines(&self, state: &mut State<B>, origin: &Origin, work: &mut Work<B>) {
        let Some(entry) = state.origins.get_mut(origin) else {
            return;
        };
        while !entry.waiters.is_empty() {
            let (conn, waiter) = match entry.take_stream(&self.limits, &mut work.retire) {
                Some(conn) => (conn, entry.waiters.take_for_stream()),
                None if entry.waiters.sharing() == 0 => return,
                None => match entry.take_place_behind(&self.limits) {
                    Some(conn) => (conn, entry.waiters.take_sharing()),
                    None => return,
                },
            };
            let Some(waiter) = waiter else {
                // All who wait insist on new connections.
                if let Some(at) = entry.line_of(&conn) {
                    entry.lines[at].in_flight -= 1;
                }
                return;
            };
            state.waiting -= 1;
            work.grants.push(waiter.grant, Ok(conn));
        }
    }

    /// An exchange on a connection that carries several is over; or, without one, there is news of it.
    pub(super) fn turn_line(&self, conn: &Arc<Conn<B>>, over: bool) {
        let mut work = Work::default();
        {
            let mut state = lock(&self.state);
            let state = &mut *state;
            let Some(entry) = state.origins.get_mut(&conn.origin) else {
                return;
            };
            let Some(at) = entry.line_of(conn) else {
                return;
            };
            if conn.wire == Wire::Http2 {
                entry.streams = conn.streams();
            }
            let line = &mut entry.lines[at];
            line.in_flight -= usize::from(over);
            let is_done =
                conn.wire == Wire::Pipelined && line.in_flight == 0 && conn.is_empty_or_will_tell();
            if is_done {
                entry.lines.swap_remove(at);
                self.place(state, Arc::clone(conn), &mut work);
            } else if over && self.owes_line(state, &conn.origin) {
                if let Some(entry) = state.origins.get_mut(&conn.origin) {
                    entry.remove(conn);
                    entry.evicting += 1;
                }
                state.evicting += 1;
                work.retire.push((Arc::clone(conn), CloseReason::Evicted));
            } else {
                let Some(entry) = state.origins.get_mut(&conn.origin) else {
                    return;
                };
                let is_idle = entry.lines[at].in_flight == 0;
                if !entry.waiters.is_empty() {
                    self.share_lines(state, &conn.origin, &mut work);
                }
                if is_idle && over && state.waiting > 0 {
                    self.make_room(state, &mut work);
                }
            }
        }
        self.carry_out(work);
    }
}

//! What a pool knows about one origin.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_conn_core::CloseReason;

use super::health::PipelineHealth;
use super::lines::Line;
use super::waiters::{Waiter, Waiters};
use crate::conn::{Conn, Wire};
use crate::policy::Limits;

/// What is assumed before a server has said how many HTTP/2 streams it allows: it should not be fewer
/// (RFC 9113 section 6.5.2).
const INITIAL_STREAMS: usize = 100;

pub(super) struct OriginState<B> {
    /// HTTP/1.1 connections that wait for a request, the longest-idle one first.
    pub(super) idle: VecDeque<Idle<B>>,
    /// Connections that requests share.
    pub(super) lines: Vec<Line<B>>,
    /// Whether the last connection was HTTP/2: then one is opened at a time.
    pub(super) speaks_http2: bool,
    /// How many HTTP/2 streams the server allowed last.
    pub(super) streams: usize,
    pub(super) waiters: Waiters<B>,
    /// Sockets that are open, being opened or being closed.
    pub(super) open: usize,
    pub(super) dialing: usize,
    pub(super) evicting: usize,
    /// How many requests have got a connection before an older one elsewhere.
    pub(super) let_past: u32,
    /// The last idle time that the server announced.
    pub(super) hint: Option<Duration>,
    /// Where the last connection went.
    pub(super) peer: Option<SocketAddr>,
    pub(super) health: PipelineHealth,
}

pub(super) struct Idle<B> {
    pub(super) conn: Arc<Conn<B>>,
    pub(super) since: Instant,
    pub(super) until: Option<Instant>,
    pub(super) reason: CloseReason,
}

/// Who gets a connection that has become free.
pub(super) enum Next<B> {
    Waiter(Waiter<B>),
    /// The oldest waiter wants another connection, and the limits leave no room for one.
    MakeRoom,
    Nobody,
}

impl<B> Default for OriginState<B> {
    fn default() -> Self {
        Self {
            idle: VecDeque::new(),
            lines: Vec::new(),
            speaks_http2: false,
            streams: INITIAL_STREAMS,
            waiters: Waiters::default(),
            open: 0,
            dialing: 0,
            evicting: 0,
            let_past: 0,
            hint: None,
            peer: None,
            health: PipelineHealth::default(),
        }
    }
}

impl<B> OriginState<B> {
    pub(super) fn is_unused(&self) -> bool {
        self.open == 0 && self.waiters.is_empty()
    }

    /// Whether something is known of it that helps the next connection.
    pub(super) fn is_known(&self) -> bool {
        self.hint.is_some() || self.speaks_http2 || self.peer.is_some() || self.health.is_known()
    }

    /// Takes the oldest waiter that an empty connection does for.
    pub(super) fn next_waiter(&mut self, is_new: bool, wire: Wire, limits_bind: bool) -> Next<B> {
        let Some(first) = self.waiters.first() else {
            return Next::Nobody;
        };
        if !first.takes(is_new, wire) && !first.dialing && limits_bind && self.evicting == 0 {
            return Next::MakeRoom;
        }
        match self.waiters.take_for(is_new, wire) {
            Some(waiter) => Next::Waiter(waiter),
            None => Next::Nobody,
        }
    }

    /// The oldest waiter that no connection is being opened for, if one should be: each waiter is
    /// worth one, and all of an HTTP/2 origin together are.
    pub(super) fn wants_dial(&self) -> Option<(u64, &Waiter<B>)> {
        if self.waiters.len() <= self.dialing || (self.speaks_http2 && self.dialing > 0) {
            return None;
        }
        self.waiters.undialed()
    }

    /// Takes a connection out; `true` if it was among the idle ones.
    pub(super) fn remove(&mut self, conn: &Arc<Conn<B>>) -> bool {
        if conn.wire.is_shared() {
            let before = self.lines.len();
            self.lines.retain(|line| !Arc::ptr_eq(&line.conn, conn));
            if self.lines.len() < before {
                return false;
            }
        }
        let found = self
            .idle
            .iter()
            .rposition(|idle| Arc::ptr_eq(&idle.conn, conn));
        found.and_then(|at| self.idle.remove(at)).is_some()
    }

    /// Takes out what is due; when the next one is.
    pub(super) fn sweep(
        &mut self,
        now: Instant,
        limits: &Limits,
        retire: &mut Vec<(Arc<Conn<B>>, CloseReason)>,
    ) -> Option<Instant> {
        let mut next = None;
        let mut sooner = |at: Instant| {
            if next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        };
        // Hints differ from response to response, so the front is not always the first that is due.
        self.idle.retain(|idle| match idle.until {
            Some(until) if until <= now => {
                retire.push((Arc::clone(&idle.conn), idle.reason));
                false
            }
            Some(until) => {
                sooner(until);
                true
            }
            None => true,
        });
        self.lines.retain(|line| {
            if line.conn.wire != Wire::Http2 {
                return true;
            }
            let (due, reason) = http2_due(&line.conn, now, limits);
            let keep = due.is_none_or(|at| at > now);
            if keep {
                due.into_iter().for_each(&mut sooner);
            } else {
                retire.push((Arc::clone(&line.conn), reason));
            }
            keep
        });
        next
    }
}

/// When a shared connection is to be looked at again, or closed if that is now.
pub(super) fn http2_due<B>(
    conn: &Conn<B>,
    now: Instant,
    limits: &Limits,
) -> (Option<Instant>, CloseReason) {
    let idle = limits.idle_timeout.map(|limit| {
        let idle = conn.handle.idle_for().unwrap_or_default();
        now + limit.saturating_sub(idle)
    });
    match (idle, conn.retire_at) {
        (Some(idle), Some(at)) if idle <= at => (Some(idle), CloseReason::Idle),
        (_, Some(at)) => (Some(at), CloseReason::MaxAge),
        (idle, None) => (idle, CloseReason::Idle),
    }
}

//! What a pool knows about one origin.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_conn_core::CloseReason;

use super::Grant;
use crate::conn::Conn;
use crate::policy::Limits;

pub(super) struct OriginState<B> {
    /// HTTP/1.1 connections that wait for a request, the longest-idle one first.
    pub(super) idle: VecDeque<Idle<B>>,
    /// The HTTP/2 connection that requests share.
    pub(super) http2: Option<Arc<Conn<B>>>,
    /// Whether the last connection was HTTP/2: then one is opened at a time.
    pub(super) speaks_http2: bool,
    /// By ticket: in the order in which they came.
    pub(super) waiters: BTreeMap<u64, Waiter<B>>,
    /// Sockets that are open, being opened or being closed.
    pub(super) open: usize,
    pub(super) dialing: usize,
    pub(super) evicting: usize,
    /// The last idle time that the server announced.
    pub(super) hint: Option<Duration>,
    /// Where the last connection went.
    pub(super) peer: Option<SocketAddr>,
}

pub(super) struct Idle<B> {
    pub(super) conn: Arc<Conn<B>>,
    pub(super) since: Instant,
    pub(super) until: Option<Instant>,
    pub(super) reason: CloseReason,
}

pub(super) struct Waiter<B> {
    pub(super) grant: oneshot::Sender<Grant<B>>,
    /// Takes only a connection that has carried no exchange.
    pub(super) fresh: bool,
    /// Whether a connection is being opened for it.
    pub(super) dialing: bool,
}

/// Who gets a connection that has become free.
pub(super) enum Next<B> {
    Waiter(oneshot::Sender<Grant<B>>),
    /// The oldest waiter wants a new connection, and the limits leave no room for one.
    MakeRoom,
    Nobody,
}

impl<B> Default for OriginState<B> {
    fn default() -> Self {
        Self {
            idle: VecDeque::new(),
            http2: None,
            speaks_http2: false,
            waiters: BTreeMap::new(),
            open: 0,
            dialing: 0,
            evicting: 0,
            hint: None,
            peer: None,
        }
    }
}

impl<B> OriginState<B> {
    pub(super) fn is_unused(&self) -> bool {
        self.open == 0 && self.waiters.is_empty()
    }

    /// Whether something is known of it that helps the next connection.
    pub(super) fn is_known(&self) -> bool {
        self.hint.is_some() || self.speaks_http2 || self.peer.is_some()
    }

    /// Takes the oldest waiter that a connection does for.
    pub(super) fn next_waiter(&mut self, is_new: bool, limits_bind: bool) -> Next<B> {
        let Some((_, first)) = self.waiters.first_key_value() else {
            return Next::Nobody;
        };
        if first.fresh && !is_new && !first.dialing && limits_bind && self.evicting == 0 {
            return Next::MakeRoom;
        }
        let fits = self
            .waiters
            .iter()
            .find(|(_, waiter)| is_new || !waiter.fresh)
            .map(|(&ticket, _)| ticket);
        match fits.and_then(|ticket| self.waiters.remove(&ticket)) {
            Some(waiter) => Next::Waiter(waiter.grant),
            None => Next::Nobody,
        }
    }

    /// The oldest waiter that no connection is being opened for, if one should be: each waiter is
    /// worth one, and all of an HTTP/2 origin together are.
    pub(super) fn wants_dial(&self) -> Option<u64> {
        if self.waiters.len() <= self.dialing || (self.speaks_http2 && self.dialing > 0) {
            return None;
        }
        self.waiters
            .iter()
            .find(|(_, waiter)| !waiter.dialing)
            .map(|(&ticket, _)| ticket)
    }

    /// Takes a connection out; `true` if it was among the idle ones.
    pub(super) fn remove(&mut self, conn: &Arc<Conn<B>>) -> bool {
        if self
            .http2
            .as_ref()
            .is_some_and(|shared| Arc::ptr_eq(shared, conn))
        {
            self.http2 = None;
            return false;
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
        if let Some(conn) = &self.http2 {
            let (due, reason) = http2_due(conn, now, limits);
            match due {
                Some(at) if at <= now => retire.extend(self.http2.take().map(|c| (c, reason))),
                Some(at) => sooner(at),
                None => {}
            }
        }
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

//! What all handles of a pool share: who is connected to where, who waits, and who is next.
//!
//! Every change of the state is one short critical section; what follows from it (waking waiters,
//! opening and closing connections, telling the observer) is collected as [`Work`] and done after the
//! lock is released.

mod checkout;
mod dial;
mod health;
mod lines;
mod origin;
mod place;
mod room;
mod waiters;
mod waiting;
mod work;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, RandomState};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, OnExchange};

pub(crate) use self::checkout::Checkout;
pub(crate) use self::dial::{Dial, Opened};
use self::origin::OriginState;
use self::work::Work;
use crate::conn::{Conn, Home, lock};
use crate::io::SocketOwner;
use crate::observe::Watch;
use crate::origin::Taken;
use crate::policy::Limits;
use crate::ports::PortBudget;
use crate::{Origin, PoolError, PoolObserver, Protocol};

pub(crate) type ExchangeObserver = Arc<dyn OnExchange + Send + Sync>;
pub(crate) type Grant<B> = Result<Arc<Conn<B>>, PoolError>;

pub(crate) struct Shared<C, B, O> {
    pub(crate) connector: C,
    pub(crate) limits: Limits,
    pub(crate) protocol: Protocol,
    pub(crate) http1: hyper::client::conn::http1::Builder,
    pub(crate) watch: Arc<Watch<O>>,
    pub(crate) on_exchange: Option<ExchangeObserver>,
    pub(crate) seed: RandomState,
    pub(crate) alarm: Arc<Notify>,
    runtime: OnceLock<Handle>,
    state: Mutex<State<B>>,
    me: Weak<Self>,
}

struct State<B> {
    origins: HashMap<Origin, OriginState<B>, BuildHasherDefault<Taken>>,
    /// Sockets that are open, being opened or being closed.
    total: usize,
    idle: usize,
    waiting: usize,
    /// Connections told to make room whose sockets are not closed yet.
    evicting: usize,
    next_ticket: u64,
    /// When the timer looks next; `None` while there is nothing to look at.
    timer: Option<Instant>,
}

/// Origins without connections of which a hint, an address, or their speaking HTTP/2 is remembered.
const REMEMBERED: usize = 1024;

impl<C, B, O> Shared<C, B, O>
where
    C: Send + Sync + 'static,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(crate) fn new(
        connector: C,
        limits: Limits,
        protocol: Protocol,
        http1: hyper::client::conn::http1::Builder,
        observer: O,
        on_exchange: Option<ExchangeObserver>,
        ports: PortBudget,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            connector,
            limits,
            protocol,
            http1,
            watch: Arc::new(Watch { ports, observer }),
            on_exchange,
            seed: RandomState::new(),
            alarm: Arc::new(Notify::new()),
            runtime: OnceLock::new(),
            state: Mutex::new(State {
                origins: HashMap::default(),
                total: 0,
                idle: 0,
                waiting: 0,
                evicting: 0,
                next_ticket: 0,
                timer: None,
            }),
            me: me.clone(),
        })
    }
}

impl<C, B, O> Shared<C, B, O> {
    pub(crate) fn stats(&self) -> Stats {
        let state = lock(&self.state);
        Stats {
            open: state.total,
            idle: state.idle,
            waiting: state.waiting,
        }
    }
}

/// How many connections a pool has, and how many requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sockets that are open, being opened or being closed.
    pub open: usize,
    /// HTTP/1.1 connections that wait for a request.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
}

impl<B> State<B> {
    /// Takes the longest-idle connection of all origins, or of one. HTTP/2 counts as idle while it
    /// carries nothing, though it is open to all.
    fn take_oldest(&mut self, only: Option<&Origin>) -> Option<Arc<Conn<B>>> {
        let origin = match only {
            Some(origin) => self.origins.get_mut(origin)?,
            None => {
                self.origins
                    .values_mut()
                    .filter_map(|origin| Some((origin.idle_since()?, origin)))
                    .min_by_key(|(since, _)| *since)?
                    .1
            }
        };
        let idle = origin.idle.pop_front();
        self.idle -= usize::from(idle.is_some());
        idle.map(|idle| idle.conn)
            .or_else(|| origin.take_idle_stream())
    }

    /// Forgets an origin without connections, unless there is something worth remembering of it.
    fn tidy(&mut self, origin: &Origin) {
        if let Some(entry) = self.origins.get(origin) {
            if entry.is_unused() && (!entry.is_known() || self.origins.len() > REMEMBERED) {
                self.origins.remove(origin);
            }
        }
    }
}

impl<C, B, O> Home<B> for Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    fn release(&self, conn: Arc<Conn<B>>) {
        let mut work = Work::default();
        self.place(&mut lock(&self.state), conn, &mut work);
        self.carry_out(work);
    }

    fn forget(&self, conn: &Arc<Conn<B>>) {
        let mut state = lock(&self.state);
        let Some(entry) = state.origins.get_mut(&conn.origin) else {
            return;
        };
        let removed = entry.remove(conn);
        if removed {
            state.idle -= 1;
        }
    }

    fn leave(&self, conn: &Arc<Conn<B>>) {
        self.turn_line(conn, true);
    }

    fn offer(&self, conn: &Arc<Conn<B>>) {
        self.turn_line(conn, false);
    }

    fn lost_several(&self, conn: &Conn<B>) {
        if let Some(entry) = lock(&self.state).origins.get_mut(&conn.origin) {
            entry.health.failed(Instant::now());
        }
    }

    fn drain_limits(&self) -> (u64, std::time::Duration) {
        (self.limits.drain_bytes, self.limits.drain_time)
    }
}

impl<C, B, O> SocketOwner for Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    fn socket_closed(&self, origin: &Origin, connection: &Connection) {
        let mut work = Work::default();
        {
            let mut state = lock(&self.state);
            if connection.close_reason() == Some(CloseReason::Evicted) {
                state.evicting = state.evicting.saturating_sub(1);
                if let Some(entry) = state.origins.get_mut(origin) {
                    entry.evicting = entry.evicting.saturating_sub(1);
                }
            }
            self.free_slot(&mut state, origin, &mut work);
        }
        self.carry_out(work);
    }
}

impl<C, B, O> Drop for Shared<C, B, O> {
    fn drop(&mut self) {
        let state = self
            .state
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for entry in state.origins.values_mut() {
            for idle in entry.idle.drain(..) {
                idle.conn.retire(CloseReason::Application);
            }
            for line in entry.lines.drain(..) {
                line.conn.retire(CloseReason::Application);
            }
        }
        self.alarm.notify_one();
    }
}

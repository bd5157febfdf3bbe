//! A connection that is being opened, and what becomes of it.

use std::sync::{Arc, Weak};

use http::Extensions;
use hyper_util::client::legacy::connect::{Connection as Transport, HttpInfo};
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, Side};

use super::{Dial, Opened, Wanted, connect_error};
use crate::conn::{Conn, Home, Sender, Wire, lock};
use crate::error::is_addr_not_available;
use crate::io::{IoState, PoolIo, SocketGuard, SocketOwner, tcp};
use crate::observe::Watch;
use crate::shared::lines::Line;
use crate::shared::origin::{OriginState, http2_due};
use crate::shared::work::Work;
use crate::shared::{Shared, State};
use crate::{Origin, PoolError, PoolErrorKind, PoolEvent, PoolObserver, Protocol};

/// A connection that is being opened; undone when dropped.
pub(super) struct Dialing<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(super) pool: Arc<Shared<C, B, O>>,
    pub(super) origin: Origin,
    ticket: u64,
    switches: bool,
    streams: usize,
    state: Open,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    /// The place in the limits is held here.
    Slot,
    /// The place is held by the socket.
    Socket,
    /// The waiter has its answer.
    Done,
}

impl<C, B, O> Dialing<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(super) fn new(pool: Arc<Shared<C, B, O>>, wanted: Wanted) -> Self {
        Self {
            pool,
            origin: wanted.origin,
            ticket: wanted.ticket,
            switches: wanted.switches,
            streams: wanted.streams,
            state: Open::Slot,
        }
    }

    /// Puts a transport under watch; from here on its place is given up when it is dropped.
    pub(super) fn watch<T>(&mut self, io: T) -> (PoolIo<T>, Opened)
    where
        T: Transport + Send + 'static,
    {
        let connected = io.connected();
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        let mut builder = Connection::builder(Side::Client);
        if let Some(info) = extras.get::<HttpInfo>() {
            builder = builder
                .local_addr(info.local_addr())
                .peer_addr(info.remote_addr());
        }
        if let Some(observer) = &self.pool.on_exchange {
            builder = builder.on_exchange(Arc::clone(observer));
        }
        let bare_tcp = match tcp(&io) {
            Some(tcp) => {
                // A request in two writes must not wait for the peer's delayed acknowledgement.
                let _ = tcp.set_nodelay(true);
                true
            }
            None => false,
        };
        let handle = builder.build();
        let wire = match self.pool.protocol {
            Protocol::Http2 => Wire::Http2,
            Protocol::Auto if connected.is_negotiated_h2() => Wire::Http2,
            Protocol::Auto if !self.switches && self.may_pipeline() => Wire::Pipelined,
            Protocol::Auto => Wire::Http1,
        };
        let state = Arc::new(IoState::new());
        let owner: Weak<dyn SocketOwner> = Arc::downgrade(&self.pool) as Weak<dyn SocketOwner>;
        let watch: Arc<Watch<dyn PoolObserver>> = Arc::clone(&self.pool.watch) as _;
        let guard = SocketGuard::new(
            owner,
            Arc::clone(&watch),
            self.origin.clone(),
            handle.clone(),
            Arc::clone(&state),
        );
        self.state = Open::Socket;
        if let Some(peer) = handle.peer_addr() {
            self.pool.watch.ports.opened(peer);
        }
        let io = PoolIo::new(io, wire, guard);
        let opened = Opened {
            handle,
            state,
            watch,
            connected,
            wire,
            streams: self.streams,
            bare_tcp,
        };
        (io, opened)
    }

    fn may_pipeline(&self) -> bool {
        let now = Instant::now();
        let bears = |entry: &OriginState<B>| entry.health.bears_pipelining(now);
        self.pool.limits.depth.is_some()
            && lock(&self.pool.state)
                .origins
                .get(&self.origin)
                .is_none_or(bears)
    }

    /// Gives the connection to whoever has waited longest, which need not be who asked for it.
    pub(super) fn succeed(mut self, opened: Opened, sender: Sender<B>) -> Arc<Conn<B>> {
        let pool = Arc::clone(&self.pool);
        pool.watch
            .observer
            .on_event(&PoolEvent::Opened(&opened.handle));
        let handle = opened.handle.clone();
        let mut work = Work::default();
        let (conn, lost) = {
            let mut state = lock(&pool.state);
            let state = &mut *state;
            let entry = state.origins.entry(self.origin.clone()).or_default();
            entry.dialing -= 1;
            entry.peer = handle.peer_addr();
            entry.speaks_http2 = opened.wire == Wire::Http2;
            let lost = !entry.waiters.dialed(self.ticket);
            let retire_at = pool
                .limits
                .retirement(&pool.seed, handle.id())
                .map(|age| handle.opened_at() + age);
            let home: Weak<dyn Home<B>> = Arc::downgrade(&pool) as Weak<dyn Home<B>>;
            let conn = Arc::new(Conn::new(
                opened,
                self.origin.clone(),
                retire_at,
                entry.hint,
                sender,
                home,
            ));
            if conn.wire == Wire::Http2 {
                pool.share(state, Arc::clone(&conn), self.ticket, &mut work);
            } else {
                pool.place(state, Arc::clone(&conn), &mut work);
            }
            pool.pump(state, &self.origin, &mut work);
            (conn, lost)
        };
        self.state = Open::Done;
        if lost {
            pool.watch.observer.on_event(&PoolEvent::RaceLost(&handle));
        }
        pool.carry_out(work);
        conn
    }

    /// Fails the waiter that the connection was to be for, if it still waits.
    pub(super) fn fail(mut self, error: PoolError) {
        let mut work = Work::default();
        self.undo(&mut work, Some(error));
        self.pool.carry_out(work);
    }

    fn undo(&mut self, work: &mut Work<B>, error: Option<PoolError>) {
        let held = std::mem::replace(&mut self.state, Open::Done);
        let pool = &self.pool;
        let mut state = lock(&pool.state);
        let state = &mut *state;
        let Some(entry) = state.origins.get_mut(&self.origin) else {
            return;
        };
        entry.dialing -= 1;
        let others = entry.open - usize::from(held == Open::Slot);
        match error {
            Some(error) => {
                let no_port = is_addr_not_available(&error);
                if let (true, Some(peer)) = (no_port, entry.peer) {
                    pool.watch.ports.exhausted(peer);
                }
                if no_port && others > entry.dialing && entry.peer.is_some() {
                    // There are connections to wait for.
                    entry.waiters.dialed(self.ticket);
                } else if let Some(waiter) = entry.waiters.remove(self.ticket) {
                    state.waiting -= 1;
                    let error = if no_port {
                        connect_error(PoolErrorKind::PortsExhausted).because(error)
                    } else {
                        error
                    };
                    work.grants.push(waiter.grant, Err(error));
                }
            }
            None => {
                state.waiting -= entry.waiters.len();
                for waiter in entry.waiters.take_all() {
                    let canceled = connect_error(PoolErrorKind::Canceled);
                    work.grants.push(waiter.grant, Err(canceled));
                }
            }
        }
        if held == Open::Slot {
            pool.free_slot(state, &self.origin, work);
        } else {
            pool.pump(state, &self.origin, work);
        }
    }
}

impl<C, B, O> Drop for Dialing<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    fn drop(&mut self) {
        if self.state == Open::Done {
            return;
        }
        // A connector that panics fails its own request. Without a panic the runtime is shutting
        // down, and another task would not run either: then all of them fail.
        let error = std::thread::panicking().then(|| connect_error(PoolErrorKind::Canceled));
        let mut work = Work::default();
        self.undo(&mut work, error);
        self.pool.carry_out(work);
    }
}

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    /// Gives a new HTTP/2 connection to those who wait, and to those who come.
    fn share(&self, state: &mut State<B>, conn: Arc<Conn<B>>, ticket: u64, work: &mut Work<B>) {
        let Some(entry) = state.origins.get_mut(&conn.origin) else {
            return;
        };
        let (due, _) = http2_due(&conn, Instant::now(), &self.limits);
        if entry
            .waiters
            .get(ticket)
            .is_some_and(|waiter| waiter.need.fresh)
        {
            // Whoever insists on a new connection has a reason: what is idle goes.
            entry.retire_empty_lines(CloseReason::Surplus, &mut work.retire);
            let taken = entry.waiters.remove(ticket);
            state.waiting -= usize::from(taken.is_some());
            let in_flight = usize::from(taken.is_some());
            if let Some(waiter) = taken {
                work.grants.push(waiter.grant, Ok(Arc::clone(&conn)));
            }
            entry.lines.insert(0, Line { conn, in_flight });
        } else {
            // Opened before the first one was known to be HTTP/2, it may be one too many.
            self.share_lines(state, &conn.origin, work);
            let Some(entry) = state.origins.get_mut(&conn.origin) else {
                return;
            };
            if !entry.lines.is_empty() && entry.waiters.is_empty() {
                work.retire.push((conn, CloseReason::Surplus));
                return;
            }
            entry.lines.push(Line {
                conn: Arc::clone(&conn),
                in_flight: 0,
            });
            self.share_lines(state, &conn.origin, work);
        }
        if let Some(at) = due {
            self.wake_at(state, at, work);
        }
    }
}

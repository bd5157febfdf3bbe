//! What the service and the driver of one connection share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use tower_conn_core::Connection;

use super::entry::Entry;
use super::{Builder, Cause, ErrorKind};

pub(super) struct Shared<B> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    state: Mutex<State<B>>,
    driver: Arc<AtomicWaker>,
    connection: Connection,
    idempotent: bool,
}

pub(super) struct State<B> {
    /// Accepted, and not sent yet.
    queue: VecDeque<Entry<B>>,
    /// How many in the queue let nothing follow.
    barriers: usize,
    /// How many requests the connection takes now.
    pub(super) depth: usize,
    /// Sent, and not answered completely.
    pub(super) outstanding: usize,
    /// Promised by `poll_ready`, and not called yet.
    reserved: usize,
    /// Something outstanding lets nothing follow.
    pub(super) held: bool,
    /// A HEAD has been answered.
    pub(super) head_proven: bool,
    pub(super) closed: Option<Cause>,
    pub(super) services: usize,
    waiters: Vec<(usize, Waker)>,
    next_id: usize,
}

impl<B> Shared<B> {
    pub(super) fn new(config: &Builder, connection: Connection) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    queue: VecDeque::new(),
                    barriers: 0,
                    depth: if config.proven { config.depth } else { 1 },
                    outstanding: 0,
                    reserved: 0,
                    held: false,
                    head_proven: false,
                    closed: None,
                    services: 0,
                    waiters: Vec::new(),
                    next_id: 0,
                }),
                driver: Arc::default(),
                connection,
                idempotent: config.idempotent,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn driver(&self) -> &Arc<AtomicWaker> {
        &self.inner.driver
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    pub(super) fn idempotent(&self) -> bool {
        self.inner.idempotent
    }

    /// Changes the state, and wakes who waits for a place if there may be one now.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State<B>) -> R) -> R {
        let (result, waiters) = {
            let mut state = self.lock();
            let result = change(&mut state);
            let waiters = if state.closed.is_some() || state.has_room() {
                std::mem::take(&mut state.waiters)
            } else {
                Vec::new()
            };
            (result, waiters)
        };
        for (_, waiter) in waiters {
            waiter.wake();
        }
        result
    }

    pub(super) fn enter(&self) -> usize {
        let mut state = self.lock();
        state.services += 1;
        state.next_id += 1;
        state.next_id
    }

    pub(super) fn leave(&self, id: usize, reserved: bool) {
        let last = self.update(|state| {
            state.services -= 1;
            state.reserved -= usize::from(reserved);
            state.waiters.retain(|(waiter, _)| *waiter != id);
            state.services == 0
        });
        if last {
            self.driver().wake();
        }
    }

    /// Reserves a place.
    pub(super) fn poll_reserve(&self, id: usize, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut state = self.lock();
        if let Some(cause) = &state.closed {
            return Poll::Ready(Err(cause.clone()));
        }
        if state.has_room() {
            state.reserved += 1;
            return Poll::Ready(Ok(()));
        }
        match state.waiters.iter_mut().find(|(waiter, _)| *waiter == id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiters.push((id, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Takes a reserved place; the entry fails if the connection has closed meanwhile.
    pub(super) fn submit(&self, entry: Entry<B>) {
        let mut state = self.lock();
        state.reserved -= 1;
        if let Some(cause) = state.closed.clone() {
            drop(state);
            return entry.fail(ErrorKind::NotSent, cause);
        }
        state.barriers += usize::from(entry.is_barrier());
        state.queue.push_back(entry);
        drop(state);
        self.driver().wake();
    }
}

impl<B> State<B> {
    /// How many more requests that may follow others are taken.
    pub(super) fn room(&self) -> usize {
        if self.closed.is_some() || self.held || self.barriers > 0 {
            return 0;
        }
        let taken = self.outstanding + self.queue.len() + self.reserved;
        self.depth.saturating_sub(taken)
    }

    fn has_room(&self) -> bool {
        self.room() > 0
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next request, if `may` agrees.
    pub(super) fn pop_if(&mut self, may: impl FnOnce(&Entry<B>) -> bool) -> Option<Entry<B>> {
        if !may(self.queue.front()?) {
            return None;
        }
        let entry = self.queue.pop_front()?;
        self.barriers -= usize::from(entry.is_barrier());
        Some(entry)
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Entry<B>) -> bool) {
        self.queue.retain_mut(keep);
        self.barriers = self.queue.iter().filter(|entry| entry.is_barrier()).count();
    }

    pub(super) fn take_all(&mut self) -> VecDeque<Entry<B>> {
        self.barriers = 0;
        std::mem::take(&mut self.queue)
    }
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<B> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Shared")
            .field("connection", &self.inner.connection)
            .field("depth", &state.depth)
            .field("queued", &state.waiting())
            .field("outstanding", &state.outstanding)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

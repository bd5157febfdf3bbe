use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::raw::RawRequest;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of its connection, from 1 in the order of acceptance.
    pub connection: usize,
    /// Its place on that connection, from 1.
    pub nth: usize,
    /// The request. If the script did not wait for the body, the head alone with `complete: false`.
    pub request: RawRequest,
}

/// A connection that the peer accepted.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// From 1, in the order of acceptance.
    pub number: usize,
    /// How many requests have arrived on it.
    pub requests: usize,
    /// How it ended, `None` while it is open.
    pub end: Option<End>,
}

/// How a connection of the peer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The script closed or reset it.
    ByPeer,
    /// The client closed it between two messages.
    ByClient,
    /// The client closed it inside a request.
    InRequest,
    /// The client reset it.
    Reset,
    /// What arrived was not HTTP/1, or an IO error occurred.
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Records {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) connections: Vec<ConnectionRecord>,
    pub(super) requests: Vec<Seen>,
    panicked: Option<String>,
}

impl Records {
    pub(super) fn accepted(&self) -> usize {
        self.update(|state| {
            let number = state.connections.len() + 1;
            state.connections.push(ConnectionRecord {
                number,
                requests: 0,
                end: None,
            });
            number
        })
    }

    /// Notes a request (its head, if the body is still to come) and tells its place on the connection and in all.
    pub(super) fn request(&self, connection: usize, request: &RawRequest) -> (usize, usize) {
        self.update(|state| {
            let record = &mut state.connections[connection - 1];
            record.requests += 1;
            let nth = record.requests;
            state.requests.push(Seen {
                connection,
                nth,
                request: request.clone(),
            });
            (nth, state.requests.len())
        })
    }

    /// Replaces a request noted by its head.
    pub(super) fn complete(&self, total: usize, request: &RawRequest) {
        self.update(|state| state.requests[total - 1].request = request.clone());
    }

    pub(super) fn ended(&self, connection: usize, end: End) {
        self.update(|state| {
            state.connections[connection - 1].end.get_or_insert(end);
        });
    }

    pub(super) fn panicked(&self, what: String) {
        self.update(|state| {
            state.panicked.get_or_insert(what);
        });
    }

    /// The records, unless the script panicked.
    pub(super) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        let state = self.lock();
        if let Some(what) = state.panicked.clone() {
            drop(state);
            panic!("the peer's script panicked: {what}");
        }
        look(&state)
    }

    pub(super) async fn until(&self, mut reached: impl FnMut(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Enabled before the look, so that no change between the two is missed.
            changed.as_mut().enable();
            if self.look(&mut reached) {
                return;
            }
            changed.await;
        }
    }

    fn update<R>(&self, update: impl FnOnce(&mut State) -> R) -> R {
        let result = update(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

//! The states that an open connection can be in.

use serde::Serialize;
use tower_conn_core::Connection;
use tower_idle_reaper::{IdleReaper, ReapHandle};

use super::board::Board;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// An exchange is open, or the head of one arrives.
    Active,
    Idle,
    /// It closes when its exchange is over.
    Draining,
    /// It left HTTP.
    Tunnel,
}

/// How many connections are in which state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct States {
    pub(crate) active: usize,
    pub(crate) idle: usize,
    pub(crate) draining: usize,
    pub(crate) tunnel: usize,
}

impl State {
    pub(crate) fn of(connection: &Connection, tunnel: bool) -> Self {
        if tunnel || ReapHandle::new(connection).is_some_and(|handle| handle.is_tunnel()) {
            Self::Tunnel
        } else if connection.is_closing() {
            Self::Draining
        } else if connection.is_idle() {
            Self::Idle
        } else {
            Self::Active
        }
    }
}

impl States {
    pub(crate) fn client_facing(reaper: &IdleReaper) -> Self {
        let mut states = Self::default();
        for connection in reaper.open_connections() {
            states.count(State::of(&connection, false));
        }
        states
    }

    pub(crate) fn upstream(board: &Board) -> Self {
        let mut states = Self::default();
        board.for_each_upstream(|upstream| {
            states.count(State::of(&upstream.connection, upstream.tunnel));
        });
        states
    }

    fn count(&mut self, state: State) {
        let count = match state {
            State::Active => &mut self.active,
            State::Idle => &mut self.idle,
            State::Draining => &mut self.draining,
            State::Tunnel => &mut self.tunnel,
        };
        *count += 1;
    }

    pub(crate) const fn by_name(self) -> [(&'static str, usize); 4] {
        [
            ("active", self.active),
            ("idle", self.idle),
            ("draining", self.draining),
            ("tunnel", self.tunnel),
        ]
    }
}

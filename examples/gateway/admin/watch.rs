//! The one observer of all layers: passes what they report to the board, if there is one.

use std::sync::Arc;

use tower_conn_core::{CloseReason, Connection, ExchangeEvent, OnExchange};
use tower_conn_pool::{PoolEvent, PoolObserver};
use tower_hop_by_hop::{OnStrip, StripEvent};
use tower_idempotent_retry::{Decision, Event, Observe, StopReason};
use tower_idle_reaper::OnClose;
use tower_pipeline_guard::{AheadEvent, OnAhead};

use super::board::Board;

/// What the gateway reports to: nothing, unless `--admin` is given.
#[derive(Clone)]
pub(crate) struct Watch(Option<Arc<Board>>);

impl Watch {
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    pub(crate) const fn board(board: Arc<Board>) -> Self {
        Self(Some(board))
    }

    /// The board, if anybody looks at it.
    pub(crate) const fn get(&self) -> Option<&Arc<Board>> {
        self.0.as_ref()
    }

    /// A client-facing connection was accepted.
    pub(crate) fn accepted(&self, connection: &Connection) {
        if let Some(board) = &self.0 {
            board.opened(connection);
        }
    }
}

impl OnExchange for Watch {
    fn on_exchange(&self, connection: &Connection, event: ExchangeEvent) {
        let Some(board) = &self.0 else { return };
        match event {
            ExchangeEvent::Begun { number, .. } => board.begun(connection, number),
            ExchangeEvent::Ended { number, .. } => board.ended(connection, number),
            _ => {}
        }
    }
}

impl OnClose for Watch {
    fn on_close(&self, connection: &Connection, reason: CloseReason) {
        if let Some(board) = &self.0 {
            board.closed(connection, reason);
        }
    }
}

impl PoolObserver for Watch {
    fn on_event(&self, event: &PoolEvent<'_>) {
        let Some(board) = &self.0 else { return };
        match event {
            PoolEvent::Opened(connection) => board.opened(connection),
            PoolEvent::Closed(connection, reason) => board.closed(connection, *reason),
            PoolEvent::Queued(..) => board.queued.add(1),
            PoolEvent::Hint { .. } => board.hints.add(1),
            PoolEvent::RaceLost(_) => board.races_lost.add(1),
            _ => {}
        }
    }
}

impl OnStrip for Watch {
    fn on_strip(&self, event: StripEvent<'_>) {
        let Some(board) = &self.0 else { return };
        match event {
            StripEvent::Stripped { message, report } => board.stripped(message, report),
            StripEvent::Rejected(rejection) => board.rejected(rejection),
            _ => {}
        }
    }
}

impl Observe for Watch {
    fn on_decision(&self, event: &Event<'_>) {
        let Some(board) = &self.0 else { return };
        match event.decision {
            Decision::Retry(retry) => board.retries.add([retry.reason.as_str()], 1),
            Decision::Stop(StopReason::Accepted) => {}
            Decision::Stop(reason) => board.given_up.add([reason.as_str()], 1),
        }
    }
}

impl OnAhead for Watch {
    fn on_ahead(&self, event: AheadEvent) {
        if let Some(board) = &self.0 {
            board.ahead(event);
        }
    }
}

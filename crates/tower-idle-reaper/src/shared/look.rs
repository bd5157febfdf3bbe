//! Looking at one connection: what is known, what is due, what is done.

use std::sync::atomic::Ordering;

use tower_conn_core::CloseReason;

use super::{BODY_FAILED, Shared, UPGRADED};
use crate::limits::{Action, Facts, NEVER, Phase};

impl Shared<'_> {
    fn facts(&self, now: u32) -> Facts {
        let connection = &self.link.connection();
        let (mut phase, since) = self.phase();
        if phase == Phase::Head && connection.exchanges_open() > 0 {
            // Pipelined: the clock of this head starts when the engine comes to it.
            phase = Phase::Quiet;
        }
        let reaper = self.reaper();
        let (reading, writing) = self.chunk.clocks(self.slot);
        let (reading, writing) = (reading.unwrap_or_default(), writing.unwrap_or_default());
        Facts {
            now,
            opened: reaper.opened(connection),
            phase,
            since,
            bytes: self.bytes_in().saturating_sub(reading.mark),
            waited: reading.waited,
            stalled: writing.stalled,
            blocked: writing.blocked,
            blocked_bytes: self.bytes_out().saturating_sub(writing.mark),
            active: since,
            age_at: reaper.age_at(connection),
            close_at: reaper.drain.close_at(connection, reaper.limits.tick()),
            cut_at: self.state.cut_at.load(Ordering::Relaxed),
            closing: connection.is_closing(),
            upgraded: self.has(UPGRADED),
        }
    }

    /// Does what is due and sees to it that the connection is looked at again.
    pub(crate) fn look(&self, now: u32) {
        let connection = &self.link.connection();
        let limits = &self.reaper().limits;
        // Bounded, although each action switches off the clock that it came from.
        for _ in 0..4 {
            let (action, due) = limits.verdict(&self.facts(now));
            match action {
                None => {
                    if due != NEVER {
                        self.look_at(due);
                    }
                    return;
                }
                Some(Action::Close(reason)) => {
                    connection.request_close(reason);
                    if reason == CloseReason::MaxAge {
                        let at = limits.cut_after_age(now);
                        if at != NEVER {
                            self.cut_at(at);
                        }
                    }
                }
                Some(Action::Cut(reason)) => {
                    self.cut(reason);
                    return;
                }
                Some(Action::Expire) => {
                    let reason = connection.close_reason().unwrap_or(CloseReason::Aborted);
                    self.cut(reason);
                    return;
                }
                Some(Action::FailBody) => {
                    self.state.set_phase(Phase::Quiet, 0);
                    self.set(BODY_FAILED);
                    connection.request_close(CloseReason::BodyTimeout);
                    connection.wake();
                }
                Some(Action::EndLinger) => {
                    self.end_linger();
                    return;
                }
            }
        }
    }
}

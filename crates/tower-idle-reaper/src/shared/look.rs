//! Looking at one connection: what is known, what is due, what is done.

use std::sync::atomic::Ordering;

use tower_conn_core::{CloseReason, Connection};

use super::{BODY_FAILED, Shared, UPGRADED};
use crate::limits::{Action, Facts, NEVER, Phase};

impl Shared<'_> {
    fn facts(&self, connection: &Connection, now: u32) -> Facts {
        let (mut phase, since) = self.phase();
        if phase == Phase::Head && connection.exchanges_open() > 0 {
            // Pipelined: the clock of this head starts when the engine comes to it.
            phase = Phase::Quiet;
        }
        let reaper = self.reaper();
        Facts {
            now,
            opened: reaper.opened(connection),
            phase,
            since,
            bytes: self.phase_bytes(),
            waited: self.waited(),
            stalled: self.state.stalled.load(Ordering::Relaxed),
            blocked: self.state.blocked.load(Ordering::Relaxed),
            blocked_bytes: self
                .bytes_out()
                .saturating_sub(self.state.blocked_mark.load(Ordering::Relaxed)),
            active: since,
            age_at: reaper.age_at(connection),
            close_at: reaper.drain.close_at(connection, reaper.limits.tick()),
            cut_at: self.state.cut_at.load(Ordering::Relaxed),
            closing: connection.is_closing(),
            upgraded: self.has(UPGRADED),
        }
    }

    /// Does what is due and sees to it that the connection is looked at again.
    pub(crate) fn look(&self, connection: &Connection, now: u32) {
        let limits = &self.reaper().limits;
        // Bounded, although each action switches off the clock that it came from.
        for _ in 0..4 {
            let (action, due) = limits.verdict(&self.facts(connection, now));
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
                    self.cut(connection, reason);
                    return;
                }
                Some(Action::Expire) => {
                    let reason = connection.close_reason().unwrap_or(CloseReason::Aborted);
                    self.cut(connection, reason);
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

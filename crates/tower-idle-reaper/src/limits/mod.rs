//! The rules: what is due on one connection, as a pure function of what is known about it.

use std::time::Duration;

use tower_conn_core::CloseReason;

use crate::policy::{Policy, Rate};

/// A tick that is never reached.
pub(crate) const NEVER: u32 = u32::MAX;

/// What the reading side of a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing that has a clock of its own.
    #[default]
    Quiet,
    /// No byte has arrived yet.
    FirstByte,
    /// A head has begun to arrive.
    Head,
    /// The server waits for more of a request body.
    Body,
    /// The connection lingers.
    Linger,
}

impl Phase {
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::FirstByte,
            2 => Self::Head,
            3 => Self::Body,
            4 => Self::Linger,
            _ => Self::Quiet,
        }
    }
}

/// What is known about a connection. Stamps are ticks; 0 stands for "not at present".
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) now: u32,
    pub(crate) opened: u32,
    pub(crate) phase: Phase,
    /// Since when it is in its phase; for a body, since the last byte of it.
    pub(crate) since: u32,
    /// Bytes that came in the phase.
    pub(crate) bytes: u64,
    /// Ticks spent waiting for a body before `since`; for lingering, the tick of the last byte.
    pub(crate) waited: u32,
    /// Since when the peer has taken nothing of what is ready for it.
    pub(crate) stalled: u32,
    /// Since when it has been holding bytes up, and how many it has taken since.
    pub(crate) blocked: u32,
    pub(crate) blocked_bytes: u64,
    /// When a byte last passed, either way.
    pub(crate) active: u32,
    pub(crate) age_at: u32,
    pub(crate) close_at: u32,
    pub(crate) cut_at: u32,
    pub(crate) closing: bool,
    pub(crate) upgraded: bool,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask it to close when no exchange is open.
    Close(CloseReason),
    /// Close it at once.
    Cut(CloseReason),
    /// Close it at once, for the reason for which it was asked to close.
    Expire,
    /// Let the request body end in an error, and close after the answer.
    FailBody,
    /// Stop lingering.
    EndLinger,
}

/// A policy in ticks.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    tick: Duration,
    pub(crate) first_byte: u32,
    pub(crate) head: u32,
    head_rate: Option<Rate>,
    pub(crate) idle: u32,
    pub(crate) body_gap: u32,
    body_rate: Option<Rate>,
    pub(crate) write_stall: u32,
    write_rate: Option<Rate>,
    age_grace: u32,
    pub(crate) linger_total: u32,
    pub(crate) linger_gap: u32,
    tunnel_idle: u32,
    tunnel_age: u32,
}

impl Limits {
    pub(crate) fn new(policy: &Policy) -> Self {
        let tick = policy.tick();
        let ticks = |limit: Option<Duration>| limit.map_or(NEVER, |limit| ticks(limit, tick));
        Self {
            tick,
            first_byte: ticks(policy.first_byte),
            head: ticks(policy.head),
            head_rate: policy.head_rate,
            idle: ticks(policy.idle),
            body_gap: ticks(policy.body_gap),
            body_rate: policy.body_rate,
            write_stall: ticks(policy.write_stall),
            write_rate: policy.write_rate,
            age_grace: ticks(policy.max_age.and_then(|age| age.grace)),
            linger_total: ticks(policy.linger.map(|linger| linger.total)),
            linger_gap: ticks(policy.linger.map(|linger| linger.gap)),
            tunnel_idle: ticks(policy.tunnel_idle),
            tunnel_age: ticks(policy.tunnel_age),
        }
    }

    pub(crate) const fn tick(&self) -> Duration {
        self.tick
    }

    /// When an exchange that outlives its connection's age is cut, if the age is reached now.
    pub(crate) const fn cut_after_age(&self, now: u32) -> u32 {
        after(now, self.age_grace)
    }

    /// When a tunnel that begins now must be looked at first.
    pub(crate) fn tunnel_due(&self, opened: u32, now: u32) -> u32 {
        after(opened, self.tunnel_age).min(after(now, self.tunnel_idle))
    }

    /// When a head that begins now must be looked at first.
    pub(crate) fn head_due(&self, now: u32) -> u32 {
        after(now, self.head).min(self.rate_due(self.head_rate, now, now))
    }

    /// The same for a body.
    pub(crate) fn body_due(&self, now: u32, waited: u32) -> u32 {
        let began = now.saturating_sub(waited);
        after(now, self.body_gap).min(self.rate_due(self.body_rate, began, now))
    }

    /// The same for writes that begin to be held up.
    pub(crate) fn write_due(&self, stalled: u32, blocked: u32, now: u32) -> u32 {
        let rate = if blocked == 0 {
            NEVER
        } else {
            self.rate_due(self.write_rate, blocked, now)
        };
        if stalled == 0 {
            rate
        } else {
            after(stalled, self.write_stall).min(rate)
        }
    }

    /// What is due, and the tick at which to look again.
    pub(crate) fn verdict(&self, facts: &Facts) -> (Option<Action>, u32) {
        let (due, action) = self
            .clocks(facts)
            .into_iter()
            .min_by_key(|&(due, _)| due)
            .unwrap_or((NEVER, None));
        match action {
            Some(action) if due <= facts.now => (Some(action), NEVER),
            _ => (None, due),
        }
    }

    /// Every clock that runs: when it ends, and what happens then.
    fn clocks(&self, facts: &Facts) -> [(u32, Option<Action>); 8] {
        let now = facts.now;
        let cut = |reason| Some(Action::Cut(reason));
        let off = (NEVER, None);
        let (phase, phase_rate) = match facts.phase {
            Phase::Quiet => (off, off),
            Phase::FirstByte if facts.closing => (off, off),
            Phase::FirstByte => (
                (
                    after(facts.since, self.first_byte),
                    Some(Action::Close(CloseReason::FirstByteTimeout)),
                ),
                off,
            ),
            Phase::Head => {
                let action = cut(CloseReason::HeadTimeout);
                let time = now.saturating_sub(facts.since);
                (
                    (after(facts.since, self.head), action),
                    self.rate(self.head_rate, facts.bytes, time, now, action),
                )
            }
            Phase::Body => {
                let action = Some(Action::FailBody);
                let time = facts.waited + now.saturating_sub(facts.since);
                (
                    (after(facts.since, self.body_gap), action),
                    self.rate(self.body_rate, facts.bytes, time, now, action),
                )
            }
            Phase::Linger => {
                let total = after(facts.since, self.linger_total);
                let gap = after(facts.waited, self.linger_gap);
                ((total.min(gap), Some(Action::EndLinger)), off)
            }
        };
        let stall = match facts.stalled {
            0 => off,
            since => (after(since, self.write_stall), cut(CloseReason::WriteStall)),
        };
        let write_rate = match facts.blocked {
            0 => off,
            since => {
                let time = now.saturating_sub(since);
                let action = cut(CloseReason::WriteStall);
                self.rate(self.write_rate, facts.blocked_bytes, time, now, action)
            }
        };
        let age = match (facts.upgraded, facts.closing) {
            (true, _) => (
                after(facts.opened, self.tunnel_age),
                cut(CloseReason::MaxAge),
            ),
            (false, true) => off,
            (false, false) => (facts.age_at, Some(Action::Close(CloseReason::MaxAge))),
        };
        let tunnel = if facts.upgraded {
            (
                after(facts.active, self.tunnel_idle),
                cut(CloseReason::Idle),
            )
        } else {
            off
        };
        let close = if facts.closing || facts.close_at == 0 {
            off
        } else {
            (facts.close_at, Some(Action::Close(CloseReason::Draining)))
        };
        let expiry = match facts.cut_at {
            0 => off,
            at => (at, Some(Action::Expire)),
        };
        [
            expiry, phase, phase_rate, stall, write_rate, age, tunnel, close,
        ]
    }

    fn rate(
        &self,
        rate: Option<Rate>,
        bytes: u64,
        time: u32,
        now: u32,
        action: Option<Action>,
    ) -> (u32, Option<Action>) {
        match rate {
            None => (NEVER, None),
            Some(limit) if limit.is_missed(bytes, self.tick * time) => (now, action),
            Some(_) => (self.rate_due(rate, now.saturating_sub(time), now), None),
        }
    }

    /// A rate is looked at when its grace has passed, and once a second after that.
    fn rate_due(&self, rate: Option<Rate>, began: u32, now: u32) -> u32 {
        rate.map_or(NEVER, |rate| {
            let second = ticks(Duration::from_secs(1), self.tick);
            after(began, ticks(rate.grace, self.tick)).max(now.saturating_add(second))
        })
    }
}

/// How many ticks a duration lasts, rounded up.
pub(crate) fn ticks(duration: Duration, tick: Duration) -> u32 {
    let ticks = duration.as_nanos().div_ceil(tick.as_nanos().max(1));
    u32::try_from(ticks).map_or(NEVER, |n| n)
}

/// The first tick that is certainly `limit` after something that happened in the tick `since`.
pub(crate) const fn after(since: u32, limit: u32) -> u32 {
    since.saturating_add(limit).saturating_add(1)
}

#[cfg(test)]
mod tests;

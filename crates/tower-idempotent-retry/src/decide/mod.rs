//! The decision: to try again, when and how, or not, and why.
//!
//! A pure function of what is known of the attempt, of the request, of its body, and of what is
//! left of attempts, time and budget. Its only other inputs are the random numbers and the wall
//! clock that the policy is given.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::evidence::Evidence;
use crate::policy::{OverCap, Policy};
use crate::retry_after::RetryAfter;
use crate::safety::ReplaySafety;

/// What a decision knows of the request, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) safety: ReplaySafety,
    /// It carries `Early-Data: 1`: it may have been received in early data (RFC 8470 section 5.1).
    pub(crate) early_data: bool,
    /// It carries `Expect: 100-continue`.
    pub(crate) expects: bool,
    pub(crate) max_attempts: u32,
    /// How often it has been answered 408.
    pub(crate) answered_408: u32,
}

/// What a decision knows of the attempt that has ended, or that takes too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptFacts<'a> {
    /// Which attempt it was, from 1.
    pub(crate) number: u32,
    pub(crate) evidence: Evidence,
    pub(crate) reused: Option<bool>,
    pub(crate) timed_out: bool,
    /// The fields of the response, if there is one.
    pub(crate) response: Option<&'a HeaderMap>,
    /// Whether the body can be sent again.
    pub(crate) body: bool,
    /// How much of the total time is left.
    pub(crate) remaining: Option<Duration>,
}

/// What happens after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two outcomes")]
pub enum Decision {
    /// The request is sent again.
    Retry(Retry),
    /// The result of the attempt is the result of the request.
    Stop(StopReason),
}

/// How a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Why.
    pub reason: RetryReason,
    /// After how long.
    pub delay: Duration,
    /// Whether it asks for a new connection: [`FreshConnection`](crate::FreshConnection).
    pub fresh: bool,
    /// Whether it was taken from the budget. Repeating what the peer did not process is not.
    pub charged: bool,
    pub(crate) without_expect: bool,
}

/// Why a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryReason {
    /// It was not sent.
    NotSent,
    /// The peer proves that it did not process it.
    NotProcessed,
    /// A connection that had carried exchanges before failed before a response.
    StaleConnection,
    /// A connection failed before a response, and it was new, or it is not known whether it was.
    NoResponse,
    /// The attempt took longer than the attempt timeout.
    AttemptTimeout,
    /// The status of the response.
    Status(StatusCode),
}

impl RetryReason {
    /// A short `snake_case` name, meant as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NotProcessed => "not_processed",
            Self::StaleConnection => "stale_connection",
            Self::NoResponse => "no_response",
            Self::AttemptTimeout => "attempt_timeout",
            Self::Status(_) => "status",
        }
    }
}

impl fmt::Display for RetryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            other => f.write_str(other.as_str()),
        }
    }
}

/// Why no further attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The response is not one to retry.
    Accepted,
    /// The failure is not one to retry: another attempt would fail in the same way, or the response
    /// was handed up already.
    Permanent,
    /// The attempt may have been applied, and the request may not be repeated then.
    Unsafe,
    /// [`stale_only`](crate::RetryLayer::stale_only), and the connection is not known to have been reused.
    NotStale,
    /// The server says not to retry.
    ServerRefuses,
    /// As many attempts were made as are allowed.
    MaxAttempts,
    /// The body cannot be sent again: more of it was sent than is kept, or its source failed, or the
    /// transport still holds it.
    Body,
    /// `Retry-After` asks for a longer wait than is allowed.
    RetryAfter,
    /// The next attempt would begin after the total time is over, or the time is over.
    Deadline,
    /// The budget is empty.
    Budget,
    /// The inner service was not ready for another attempt, or failed to become so.
    NotReady,
}

impl StopReason {
    /// A short `snake_case` name, meant as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Permanent => "permanent",
            Self::Unsafe => "unsafe",
            Self::NotStale => "not_stale",
            Self::ServerRefuses => "server_refuses",
            Self::MaxAttempts => "max_attempts",
            Self::Body => "body",
            Self::RetryAfter => "retry_after",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::NotReady => "not_ready",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A retry that evidence and method allow.
#[derive(Clone, Copy)]
struct Permit {
    reason: RetryReason,
    charged: bool,
    fresh: bool,
    /// The first retry need not wait: the failure says nothing of the load of the server.
    immediate: bool,
    without_expect: bool,
}

impl Permit {
    const fn new(reason: RetryReason) -> Self {
        Self {
            reason,
            charged: true,
            fresh: false,
            immediate: false,
            without_expect: false,
        }
    }
}

/// Decides. The budget is asked last, and only for a retry that would be made otherwise.
pub(crate) fn decide(
    policy: &Policy,
    request: &RequestFacts,
    attempt: &AttemptFacts<'_>,
    withdraw: impl FnOnce() -> bool,
) -> Decision {
    match plan(policy, request, attempt) {
        Ok(retry) if retry.charged && !withdraw() => Decision::Stop(StopReason::Budget),
        Ok(retry) => Decision::Retry(retry),
        Err(reason) => Decision::Stop(reason),
    }
}

fn plan(
    policy: &Policy,
    request: &RequestFacts,
    attempt: &AttemptFacts<'_>,
) -> Result<Retry, StopReason> {
    let permit = match attempt.evidence {
        Evidence::Responded(status) => responded(policy, request, attempt, status)?,
        other => failed(policy, request, attempt, other)?,
    };
    if attempt.number >= request.max_attempts {
        return Err(StopReason::MaxAttempts);
    }
    if !attempt.body {
        return Err(StopReason::Body);
    }
    let delay = delay(policy, attempt, permit)?;
    if attempt
        .remaining
        .is_some_and(|remaining| delay >= remaining)
    {
        return Err(StopReason::Deadline);
    }
    Ok(Retry {
        reason: permit.reason,
        delay,
        fresh: permit.fresh,
        charged: permit.charged,
        without_expect: permit.without_expect,
    })
}

/// Whether an attempt without a response may be repeated.
fn failed(
    policy: &Policy,
    request: &RequestFacts,
    attempt: &AttemptFacts<'_>,
    evidence: Evidence,
) -> Result<Permit, StopReason> {
    let reused = attempt.reused == Some(true);
    match evidence {
        Evidence::NotSent => Ok(Permit {
            charged: false,
            fresh: true,
            immediate: reused,
            ..Permit::new(RetryReason::NotSent)
        }),
        Evidence::NotProcessed => Ok(Permit {
            charged: false,
            fresh: true,
            immediate: true,
            ..Permit::new(RetryReason::NotProcessed)
        }),
        Evidence::Ambiguous => {
            if !request.safety.is_repeatable() {
                return Err(StopReason::Unsafe);
            }
            if !policy.ambiguous_on_new && !reused {
                return Err(StopReason::NotStale);
            }
            let reason = match (attempt.timed_out, reused) {
                (true, _) => RetryReason::AttemptTimeout,
                (false, true) => RetryReason::StaleConnection,
                (false, false) => RetryReason::NoResponse,
            };
            Ok(Permit {
                fresh: true,
                immediate: reason == RetryReason::StaleConnection,
                ..Permit::new(reason)
            })
        }
        _ => Err(StopReason::Permanent),
    }
}

/// Whether a request that was answered may be sent again.
fn responded(
    policy: &Policy,
    request: &RequestFacts,
    attempt: &AttemptFacts<'_>,
    status: StatusCode,
) -> Result<Permit, StopReason> {
    if !(status.is_client_error() || status.is_server_error()) {
        return Err(StopReason::Accepted);
    }
    let hint = server_hint(policy, attempt.response);
    let conflict = status == StatusCode::CONFLICT
        && policy.conflict_with_key
        && request.safety == ReplaySafety::Keyed;
    let listed = match status {
        // RFC 9110 section 15.5.14: temporary only if the response says until when.
        StatusCode::PAYLOAD_TOO_LARGE => {
            policy.statuses.contains(status) && attempt.response.and_then(RetryAfter::of).is_some()
        }
        // RFC 9110 section 10.1.1: repeated without the expectation.
        StatusCode::EXPECTATION_FAILED => {
            policy.statuses.contains(status) && request.expects && !policy.proxy
        }
        // RFC 8470 section 5.2: forwarded, because the early data was not this hop's.
        StatusCode::TOO_EARLY if policy.proxy && request.early_data => false,
        _ => policy.statuses.contains(status) || conflict,
    };
    if !listed && hint != Some(true) {
        return Err(StopReason::Accepted);
    }
    if hint == Some(false) {
        return Err(StopReason::ServerRefuses);
    }
    let permit = Permit::new(RetryReason::Status(status));
    if status == StatusCode::EXPECTATION_FAILED && listed {
        return Ok(Permit {
            charged: false,
            immediate: true,
            without_expect: true,
            ..permit
        });
    }
    if policy.unprocessed.contains(status) {
        let misdirected = status == StatusCode::MISDIRECTED_REQUEST;
        return Ok(Permit {
            charged: false,
            fresh: misdirected,
            immediate: misdirected,
            ..permit
        });
    }
    if !request.safety.is_repeatable() {
        return Err(StopReason::Unsafe);
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        if request.answered_408 > policy.max_after_408 {
            return Err(StopReason::MaxAttempts);
        }
        // RFC 9110 section 15.5.9: on a new connection if the old one is unusable.
        return Ok(Permit {
            fresh: true,
            ..permit
        });
    }
    Ok(permit)
}

/// What the server says about retrying, in the field that the policy reads: `true` or `false`.
fn server_hint(policy: &Policy, response: Option<&HeaderMap>) -> Option<bool> {
    let headers = response?;
    if policy
        .refusal
        .as_ref()
        .is_some_and(|name| headers.contains_key(name))
    {
        return Some(false);
    }
    let value = headers.get(policy.server_hint.as_ref()?)?.as_bytes();
    if value.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if value.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

fn delay(
    policy: &Policy,
    attempt: &AttemptFacts<'_>,
    permit: Permit,
) -> Result<Duration, StopReason> {
    let backoff = if permit.immediate && attempt.number == 1 {
        Duration::ZERO
    } else {
        policy.backoff.delay(attempt.number)
    };
    let asked = policy.retry_after_cap.and_then(|cap| {
        let asked = RetryAfter::of(attempt.response?)?.delay(policy.wall_clock.now());
        Some((asked, cap))
    });
    match asked {
        None => Ok(backoff),
        Some((asked, cap)) if asked <= cap => Ok(asked.saturating_add(backoff)),
        Some((_, cap)) => match policy.over_cap {
            OverCap::GiveUp => Err(StopReason::RetryAfter),
            OverCap::Clamp => Ok(cap.saturating_add(backoff)),
        },
    }
}

#[cfg(test)]
mod tests;

//! What a request keeps so that it can be sent again.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, request};
use tokio::time::Instant;
use tower_conn_core::FreshConnection;

use crate::budget::RetryBudget;
use crate::decide::{AttemptFacts, Decision, RequestFacts, Retry, StopReason, decide};
use crate::evidence::Failure;
use crate::extensions::{Attempt, Deadline, MarkIdempotent, MaxAttempts};
use crate::observe::{Event, Observe};
use crate::policy::{AttemptHeader, Policy};
use crate::replay::{Replay, ReplayBody};
use crate::safety::ReplaySafety;

/// `Early-Data` (RFC 8470 section 5.1).
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// The bounds of one request, from the policy and its own extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_attempts: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) attempt_timeout: Option<Duration>,
}

impl Limits {
    pub(crate) fn of<B>(policy: &Policy, request: &Request<B>) -> Self {
        let extensions = request.extensions();
        let total = policy
            .total_timeout
            .and_then(|total| Instant::now().checked_add(total));
        let own = extensions.get::<Deadline>().map(|own| own.0);
        let deadline = total.into_iter().chain(own).min();
        let max_attempts = extensions
            .get::<MaxAttempts>()
            .map_or(policy.max_attempts, |own| own.0);
        Self {
            max_attempts: max_attempts.get(),
            deadline,
            attempt_timeout: policy.attempt_timeout,
        }
    }

    pub(crate) fn facts(&self, policy: &Policy, head: &request::Parts) -> RequestFacts {
        let headers = &head.headers;
        let marked = head.extensions.get::<MarkIdempotent>().is_some();
        let trusted_key = policy.trusted_key.as_ref();
        RequestFacts {
            safety: ReplaySafety::of(&head.method, headers, marked, trusted_key),
            early_data: headers
                .get(EARLY_DATA)
                .is_some_and(|value| value.as_bytes() == b"1"),
            expects: headers
                .get(header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            max_attempts: self.max_attempts,
            answered_408: 0,
        }
    }

    /// How much of the total time is left.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// When an attempt that begins now takes too long.
    pub(crate) fn attempt_ends(&self, number: u32) -> Option<Instant> {
        let own = self
            .attempt_timeout
            .filter(|_| number < self.max_attempts)
            .and_then(|limit| Instant::now().checked_add(limit));
        own.into_iter().chain(self.deadline).min()
    }
}

/// What it takes to send a request again.
pub(crate) struct Again<S, C, O, B> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) classify: C,
    pub(crate) observe: O,
    pub(crate) budget: Option<RetryBudget>,
    /// The caller's head, from which every attempt starts.
    pub(crate) head: request::Parts,
    pub(crate) replay: Replay<B>,
    pub(crate) facts: RequestFacts,
    /// Set from the first call on.
    pub(crate) service: Option<S>,
}

impl<S, C, O: Observe, B> Again<S, C, O, B> {
    /// The request of an attempt, from 1.
    pub(crate) fn request(
        &self,
        body: ReplayBody<B>,
        number: u32,
        fresh: bool,
    ) -> Request<ReplayBody<B>> {
        let mut request = Request::from_parts(self.head.clone(), body);
        if let Some((name, style)) = &self.policy.attempt_header {
            let value = match style {
                AttemptHeader::Count => Some(number),
                AttemptHeader::Previous => (number > 1).then_some(number - 1),
            };
            match value {
                Some(value) => {
                    let value = HeaderValue::from(value);
                    request.headers_mut().insert(name.clone(), value);
                }
                None => {
                    request.headers_mut().remove(name);
                }
            }
        }
        if let Some(number) = std::num::NonZeroU32::new(number).filter(|_| number > 1) {
            request.extensions_mut().insert(Attempt(number));
        }
        if fresh {
            request.extensions_mut().insert(FreshConnection);
        }
        request
    }

    /// Decides what happens after an attempt, and reports it: how it is repeated and with which body, or
    /// why it is not.
    pub(crate) fn decide(
        &mut self,
        number: u32,
        failure: Failure,
        timed_out: bool,
        response: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<(Retry, ReplayBody<B>), StopReason> {
        // A transport that has answered may still be sending the body, and is left alone. One that
        // has failed may not have let go of it yet.
        let take_over = response.is_none();
        let attempt = AttemptFacts {
            number,
            evidence: failure.evidence,
            reused: failure.reused,
            timed_out,
            response,
            body: self.replay.check(take_over).is_ok(),
            remaining: limits.remaining(),
        };
        let budget = self.budget.as_ref();
        let decision = decide(&self.policy, &self.facts, &attempt, || {
            budget.is_none_or(RetryBudget::withdraw)
        });
        let next = match decision {
            Decision::Stop(reason) => Err(reason),
            Decision::Retry(retry) => match self.replay.next(take_over) {
                Ok(body) => Ok((retry, body)),
                Err(_) => Err(StopReason::Body),
            },
        };
        self.observe.on_decision(&Event {
            method: &self.head.method,
            uri: &self.head.uri,
            attempt: number,
            evidence: failure.evidence,
            reused: failure.reused,
            decision: match &next {
                Ok((retry, _)) => Decision::Retry(*retry),
                Err(reason) => Decision::Stop(*reason),
            },
        });
        if matches!(&next, Ok((retry, _)) if retry.without_expect) {
            self.head.headers.remove(header::EXPECT);
            self.facts.expects = false;
        }
        next
    }
}

//! Options.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use crate::backoff::Backoff;
use crate::budget::{Budget, BudgetSource, Destinations, RetryBudget};
use crate::classify::DefaultClassify;
use crate::policy::{AttemptHeader, IDEMPOTENCY_KEY, OverCap, Policy, WallClock};
use crate::service::Retry;

/// Sends requests again when that is safe; see the [crate documentation](crate).
///
/// Begin with the preset for your role and change what differs. A layer's budget is shared by all
/// services made from it and from its clones; changing the budget afterwards makes a new one.
///
/// | | [`client`](Self::client) | [`proxy`](Self::proxy) | [`rfc_strict`](Self::rfc_strict) | [`stale_only`](Self::stale_only) |
/// |---|---|---|---|---|
/// | Attempts | 3 | 3 | 2 | 2 |
/// | Trusts `Idempotency-Key` | yes | no | no | no |
/// | No response, connection reused | if repeatable | if repeatable | if repeatable | if repeatable |
/// | No response, connection new | if repeatable | if repeatable | if repeatable | no |
/// | Statuses | 408 413 417 421 425 429 502 503 504 | the same, without 417 | the same | none |
/// | Backoff | 50 ms to 1 s | 25 ms to 250 ms | 50 ms to 1 s | none |
///
/// In all of them a request that was not sent, or that the peer proves it did not process, is sent
/// again whatever its method.
#[derive(Clone)]
#[must_use]
pub struct RetryLayer<C = DefaultClassify, O = ()> {
    policy: Arc<Policy>,
    classify: C,
    observe: O,
}

impl RetryLayer {
    fn preset(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
            classify: DefaultClassify,
            observe: (),
        }
    }

    /// For the client at the origin of requests: an `Idempotency-Key` is taken as its word that
    /// the request can be repeated.
    pub fn client() -> Self {
        Self::preset(Policy::client())
    }

    /// For an intermediary, which must not repeat a request that is not idempotent (RFC 9110
    /// section 9.2.2): an `Idempotency-Key` that came from downstream is not knowledge. A 425 is handed on
    /// when the request says it was received in early data (RFC 8470 section 5.2), and 417 always.
    pub fn proxy() -> Self {
        Self::preset(Policy::proxy())
    }

    /// RFC 9110 section 9.2.2 to the letter: a failed automatic retry is not retried, and only the
    /// method, or [`MarkIdempotent`](crate::MarkIdempotent), says what is idempotent.
    pub fn rfc_strict() -> Self {
        Self::preset(Policy::rfc_strict())
    }

    /// Only what the race for a kept connection breaks: one more attempt, at once and on a fresh connection,
    /// when a reused connection fails before the response. This is what browsers and Go do.
    ///
    /// It depends on evidence that the connection was reused
    /// ([`ReuseConnector`](crate::ReuseConnector), or a pool that says so).
    pub fn stale_only() -> Self {
        Self::preset(Policy::stale_only())
    }
}

impl<C, O> fmt::Debug for RetryLayer<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<C, O> RetryLayer<C, O> {
    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }

    /// How many attempts are made at most, the first one included. [`MaxAttempts`](crate::MaxAttempts)
    /// on a request overrides it.
    pub fn max_attempts(self, attempts: NonZeroU32) -> Self {
        self.change(|policy| policy.max_attempts = attempts)
    }

    /// The time for a request up to its response head, over all attempts and the waits between them.
    /// Default: none. A wait that would end after it is not begun: the result in hand is returned.
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.change(|policy| policy.total_timeout = Some(timeout))
    }

    /// The time for one attempt up to its response head. Default: none.
    ///
    /// An attempt is cut off only in favour of another one: a request that may not be repeated, and
    /// the last attempt of one that may, have until the total timeout. Cutting off an attempt costs an
    /// HTTP/1 connection.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        self.change(|policy| policy.attempt_timeout = Some(timeout))
    }

    /// How long to wait before each retry. The first retry after a stale connection, and after a request
    /// that the peer did not process, does not wait.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.change(|policy| policy.backoff = backoff)
    }

    /// Up to which wait `Retry-After` is honoured. Default: 30 s. The wait is what it says plus the backoff,
    /// so that callers told the same time do not come back together.
    pub fn retry_after_cap(self, cap: Duration) -> Self {
        self.change(|policy| policy.retry_after_cap = Some(cap))
    }

    /// What to do when `Retry-After` is above the cap. Default: [`OverCap::GiveUp`].
    pub fn over_cap(self, over_cap: OverCap) -> Self {
        self.change(|policy| policy.over_cap = over_cap)
    }

    /// Takes no notice of `Retry-After` in choosing the wait.
    pub fn ignore_retry_after(self) -> Self {
        self.change(|policy| policy.retry_after_cap = None)
    }

    /// After which statuses a repeatable request is sent again, in place of the preset's. Some keep rules of their
    /// own: 413 needs a `Retry-After`, 417 an `Expect`; 421 and 425 are retried whatever the method.
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.change(|policy| policy.statuses = statuses.into_iter().collect())
    }

    /// Which of the retried statuses mean that the server did not process the request, so that it is sent
    /// again whatever its method. Default: 421 and 425. Add 429 where you know that the limiter stands
    /// before everything else.
    pub fn unprocessed_statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.change(|policy| policy.unprocessed = statuses.into_iter().collect())
    }

    /// Whether a 409 to a request with a trusted key is retried: a server that implements the key answers
    /// so while the first one is in progress. Default: no.
    pub fn conflict_with_key(self, retry: bool) -> Self {
        self.change(|policy| policy.conflict_with_key = retry)
    }

    /// How often a request is sent again after a 408. Default: once.
    pub fn max_after_408(self, times: u32) -> Self {
        self.change(|policy| policy.max_after_408 = times)
    }

    /// Whether a request that may not be repeated asks for a [`FreshConnection`](crate::FreshConnection) at once, since it cannot
    /// be saved when a kept connection turns out to be stale. It costs such requests a handshake each. Default: no.
    pub fn fresh_if_unsafe(self, fresh: bool) -> Self {
        self.change(|policy| policy.fresh_if_unsafe = fresh)
    }

    /// A response field by which the server says whether to retry, such as `stripe-should-retry`: `false` forbids it,
    /// `true` allows it for any error status. The method rules hold. Default: none.
    pub fn server_hint(self, name: HeaderName) -> Self {
        self.change(|policy| policy.server_hint = Some(name))
    }

    /// A response field whose presence forbids a retry. Default: `x-envoy-overloaded`.
    pub fn refusal(self, name: HeaderName) -> Self {
        self.change(|policy| policy.refusal = Some(name))
    }

    /// Whether an `Idempotency-Key` makes a request repeatable. In a proxy this is a promise that every server
    /// behind it honours the key, for every client.
    pub fn trust_idempotency_key(self, trust: bool) -> Self {
        self.change(|policy| policy.trusted_key = trust.then_some(IDEMPOTENCY_KEY))
    }

    /// The name of the field that makes a request repeatable, where it is not `Idempotency-Key`.
    pub fn trusted_key(self, name: HeaderName) -> Self {
        self.change(|policy| policy.trusted_key = Some(name))
    }

    /// How many bytes of a request body are kept to be sent again. Default: 64 KiB. A longer body is sent as
    /// it is, once.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.change(|policy| policy.body_limit = bytes)
    }

    /// How much of a response that is retried is read, and for how long, so that its connection can be used again.
    /// Default: 4 KiB, 50 ms. More is not read, and the connection is closed.
    pub fn drain(self, bytes: usize, timeout: Duration) -> Self {
        self.change(|policy| {
            policy.drain_limit = bytes;
            policy.drain_timeout = timeout;
        })
    }

    /// The budget of each destination (the authority of the URI, or else Host). Default: [`Budget::default`].
    pub fn budget(self, budget: Budget) -> Self {
        self.change(|policy| {
            policy.budget = BudgetSource::PerDestination(Destinations::new(budget));
        })
    }

    /// One budget for all destinations, which can be shared with other layers.
    pub fn shared_budget(self, budget: RetryBudget) -> Self {
        self.change(|policy| policy.budget = BudgetSource::Shared(budget))
    }

    /// No budget: a failing server sees as many attempts as are allowed for each request.
    pub fn no_budget(self) -> Self {
        self.change(|policy| policy.budget = BudgetSource::Unlimited)
    }

    /// Whether a retry is given up when the inner service is not ready for it at once, which is a sign of
    /// load. Default: no, it is waited for.
    pub fn shed_if_not_ready(self, shed: bool) -> Self {
        self.change(|policy| policy.shed_if_not_ready = shed)
    }

    /// Tells the server which attempt a request is. Default: not.
    pub fn attempt_header(self, name: HeaderName, value: AttemptHeader) -> Self {
        self.change(|policy| policy.attempt_header = Some((name, value)))
    }

    /// The time of day, for `Retry-After` dates. Default: the system's. All other times are tokio's.
    pub fn wall_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.wall_clock = WallClock(Some(Arc::new(now))))
    }

    /// Reads evidence from errors in another way; see [`Classify`](crate::Classify).
    pub fn classify<C2>(self, classify: C2) -> RetryLayer<C2, O> {
        RetryLayer {
            policy: self.policy,
            classify,
            observe: self.observe,
        }
    }

    /// Sees every decision; see [`Observe`](crate::Observe).
    pub fn observe<O2>(self, observe: O2) -> RetryLayer<C, O2> {
        RetryLayer {
            policy: self.policy,
            classify: self.classify,
            observe,
        }
    }
}

impl<S, C: Clone, O: Clone> Layer<S> for RetryLayer<C, O> {
    type Service = Retry<S, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::from_parts(
            inner,
            Arc::clone(&self.policy),
            self.classify.clone(),
            self.observe.clone(),
        )
    }
}

//! What a layer is configured to do.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode};

use crate::backoff::Backoff;
use crate::budget::{Budget, BudgetSource, Destinations};
use crate::status::StatusSet;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What to do when the server asks for a wait beyond the cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverCap {
    /// Hand the response on at once.
    #[default]
    GiveUp,
    /// Wait for as long as the cap.
    Clamp,
}

/// How the number of an attempt is written into a request header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptHeader {
    /// Which attempt this is, from 1, on every attempt (as Envoy's `x-envoy-attempt-count`).
    Count,
    /// How many attempts came before; absent on the first (as gRPC's `grpc-previous-rpc-attempts`).
    Previous,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// RFC 9110 section 9.2.2 and RFC 8470 section 5.2 ask more of a proxy.
    pub(crate) proxy: bool,
    /// The field whose presence makes a request repeatable.
    pub(crate) trusted_key: Option<HeaderName>,
    pub(crate) max_attempts: NonZeroU32,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) statuses: StatusSet,
    pub(crate) unprocessed: StatusSet,
    pub(crate) conflict_with_key: bool,
    pub(crate) max_after_408: u32,
    pub(crate) ambiguous_on_new: bool,
    pub(crate) fresh_if_unsafe: bool,
    pub(crate) retry_after_cap: Option<Duration>,
    pub(crate) over_cap: OverCap,
    pub(crate) server_hint: Option<HeaderName>,
    pub(crate) refusal: Option<HeaderName>,
    pub(crate) body_limit: usize,
    pub(crate) drain_limit: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) shed_if_not_ready: bool,
    pub(crate) attempt_header: Option<(HeaderName, AttemptHeader)>,
    pub(crate) budget: BudgetSource,
    pub(crate) wall_clock: WallClock,
}

/// 413 and 417 have rules of their own.
const STATUSES: StatusSet = StatusSet::of(&[
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::EXPECTATION_FAILED,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
]);

/// Statuses by which a server says that it did not process the request (RFC 9110 section 15.5.20,
/// RFC 8470 section 5.2).
const UNPROCESSED: StatusSet =
    StatusSet::of(&[StatusCode::MISDIRECTED_REQUEST, StatusCode::TOO_EARLY]);

const fn attempts(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

impl Policy {
    pub(crate) fn client() -> Self {
        Self {
            proxy: false,
            trusted_key: Some(IDEMPOTENCY_KEY),
            max_attempts: attempts(3),
            total_timeout: None,
            attempt_timeout: None,
            backoff: Backoff::default(),
            statuses: STATUSES,
            unprocessed: UNPROCESSED,
            conflict_with_key: false,
            max_after_408: 1,
            ambiguous_on_new: true,
            fresh_if_unsafe: false,
            retry_after_cap: Some(Duration::from_secs(30)),
            over_cap: OverCap::GiveUp,
            server_hint: None,
            refusal: Some(HeaderName::from_static("x-envoy-overloaded")),
            body_limit: 64 * 1024,
            drain_limit: 4 * 1024,
            drain_timeout: Duration::from_millis(50),
            shed_if_not_ready: false,
            attempt_header: None,
            budget: BudgetSource::PerDestination(Destinations::new(Budget::default())),
            wall_clock: WallClock(None),
        }
    }

    pub(crate) fn proxy() -> Self {
        Self {
            proxy: true,
            trusted_key: None,
            backoff: Backoff::full_jitter(Duration::from_millis(25), Duration::from_millis(250)),
            ..Self::client()
        }
    }

    pub(crate) fn rfc_strict() -> Self {
        Self {
            trusted_key: None,
            max_attempts: attempts(2),
            ..Self::client()
        }
    }

    pub(crate) fn stale_only() -> Self {
        Self {
            trusted_key: None,
            max_attempts: attempts(2),
            backoff: Backoff::none(),
            statuses: StatusSet::of(&[]),
            ambiguous_on_new: false,
            ..Self::client()
        }
    }
}

/// The time of day, which dates in `Retry-After` are compared with.
#[derive(Clone)]
pub(crate) struct WallClock(pub(crate) Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>);

impl WallClock {
    pub(crate) fn now(&self) -> SystemTime {
        self.0.as_ref().map_or_else(SystemTime::now, |now| now())
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").finish_non_exhaustive()
    }
}

//! What happened to a request on its way.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::Extensions;

use crate::BoxError;
use crate::decide::{Retry, RetryReason, StopReason};

/// How a request came to its result: in the extensions of the response, and in the error.
///
/// A response accepted on the first attempt carries none, which saves an allocation on the common
/// path; [`RetryInfo::of`] says so too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryInfo {
    /// How many attempts were made.
    pub attempts: u32,
    /// Why each of them but the last was followed by another.
    pub reasons: Vec<RetryReason>,
    /// How much time was spent waiting between attempts.
    pub waited: Duration,
    /// Whether an attempt before the last may have been applied by the server, so that the result
    /// can be that of a repetition: a DELETE answered 404, a conditional PUT answered 412
    /// (RFC 9110 section 9.2.2).
    pub earlier_attempt_may_have_applied: bool,
    /// Why no further attempt was made.
    pub stopped: StopReason,
}

impl RetryInfo {
    pub(crate) const fn new() -> Self {
        Self {
            attempts: 1,
            reasons: Vec::new(),
            waited: Duration::ZERO,
            earlier_attempt_may_have_applied: false,
            stopped: StopReason::Accepted,
        }
    }

    /// What happened to the request whose response has these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(const { Self::new() })
    }

    /// Another attempt is made.
    pub(crate) fn retrying(&mut self, retry: Retry, waited: Duration) {
        self.attempts = self.attempts.saturating_add(1);
        self.reasons.push(retry.reason);
        self.waited = self.waited.saturating_add(waited);
        // What is not charged is what the peer did not process.
        self.earlier_attempt_may_have_applied |= retry.charged;
    }

    /// Whether there is anything to tell.
    pub(crate) fn is_plain(&self) -> bool {
        self.attempts == 1 && self.stopped == StopReason::Accepted
    }
}

/// The request failed: the error of the last attempt, and how it came to it.
///
/// [`Retry`](crate::Retry) fails with a boxed one of these. Its [`source`](Error::source) is the
/// error of the inner service, unchanged.
///
/// ```
/// use tower_idempotent_retry::{BoxError, RetryError};
///
/// fn attempts(error: &BoxError) -> u32 {
///     error.downcast_ref::<RetryError>().map_or(0, |error| error.info().attempts)
/// }
/// # let _ = attempts;
/// ```
#[derive(Debug)]
pub struct RetryError {
    info: RetryInfo,
    source: BoxError,
}

impl RetryError {
    pub(crate) fn boxed(info: RetryInfo, source: BoxError) -> BoxError {
        Box::new(Self { info, source })
    }

    /// How the request came to this error.
    #[must_use]
    pub const fn info(&self) -> &RetryInfo {
        &self.info
    }

    /// The error of the inner service.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }

    /// Whether the total time, or the request's [`Deadline`](crate::Deadline), ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.source.is::<DeadlineExceeded>()
    }
}

impl fmt::Display for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.attempts {
            1 => f.write_str("the request failed"),
            attempts => write!(f, "the request failed after {attempts} attempts"),
        }
    }
}

impl Error for RetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The source of a [`RetryError`] when time ran out.
#[derive(Debug)]
pub(crate) struct DeadlineExceeded;

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the total time for the request ran out")
    }
}

impl Error for DeadlineExceeded {}

//! What the client makes of a hint.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Response;

use crate::KeepAliveHint;

/// How long a client reuses a connection.
///
/// ```
/// use std::time::Duration;
/// use tower_keep_alive::{KeepAliveHint, ReusePolicy};
///
/// let policy = ReusePolicy::new();
/// let announced = |seconds| KeepAliveHint::new(Some(Duration::from_secs(seconds)), None);
/// // 2 s before the server may close it, and never after 90 s.
/// assert_eq!(policy.idle_limit(announced(5)), Some(Duration::from_secs(3)));
/// assert_eq!(policy.idle_limit(announced(300)), Some(Duration::from_secs(90)));
/// assert_eq!(policy.idle_limit(KeepAliveHint::NONE), Some(Duration::from_secs(90)));
/// // Too short to be of use: the connection is not reused.
/// assert_eq!(policy.idle_limit(announced(2)), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ReusePolicy {
    margin: Duration,
    ceiling: Duration,
    max_uses: Option<NonZeroU32>,
    max_age: Option<Duration>,
    strict: bool,
    reuse_http10: bool,
}

impl ReusePolicy {
    /// A margin of 2 s, a ceiling of 90 s, any number of uses and any age; HTTP/1.0 is not reused.
    pub const fn new() -> Self {
        Self {
            margin: Duration::from_secs(2),
            ceiling: Duration::from_secs(90),
            max_uses: None,
            max_age: None,
            strict: false,
            reuse_http10: false,
        }
    }

    /// How long before the end of the announced time a connection is given up: a request takes time
    /// to arrive, and the server's clock has started earlier. Default: 2 s.
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// How long a connection may be idle, whatever is announced. Default: 90 s.
    pub const fn ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// How many requests a connection may carry. Default: any number.
    pub fn max_uses(mut self, uses: impl Into<Option<NonZeroU32>>) -> Self {
        self.max_uses = uses.into();
        self
    }

    /// The age from which on a connection is not reused. Default: any age.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// Whether a hint counts only beside `Connection: keep-alive`, as RFC 2068 has it. Default: no.
    pub const fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Whether a connection is reused on which an HTTP/1.0 response with `keep-alive` came back.
    /// Default: no.
    ///
    /// hyper's client speaks HTTP/1.0 on it from then on, and loses a request body of unknown length
    /// without an error. Only for clients that know better.
    pub const fn reuse_http10(mut self, reuse: bool) -> Self {
        self.reuse_http10 = reuse;
        self
    }

    /// How long a connection may be idle after this hint; `None` if it should not be reused at all.
    #[must_use]
    pub fn idle_limit(&self, hint: KeepAliveHint) -> Option<Duration> {
        if hint.max() == Some(0) {
            return None;
        }
        let limit = match hint.timeout() {
            Some(timeout) => self.ceiling.min(timeout.saturating_sub(self.margin)),
            None => self.ceiling,
        };
        (!limit.is_zero()).then_some(limit)
    }

    /// The hint of a response, as this policy reads it.
    #[must_use]
    pub fn hint_of<B>(&self, response: &Response<B>) -> KeepAliveHint {
        if self.strict {
            KeepAliveHint::strict(response)
        } else {
            KeepAliveHint::of(response)
        }
    }

    pub(crate) const fn reuses_http10(&self) -> bool {
        self.reuse_http10
    }

    pub(crate) const fn uses(&self) -> Option<NonZeroU32> {
        self.max_uses
    }

    pub(crate) const fn age(&self) -> Option<Duration> {
        self.max_age
    }
}

impl Default for ReusePolicy {
    fn default() -> Self {
        Self::new()
    }
}

//! What a request says about its retries, as extensions of the request.

use std::num::NonZeroU32;

use http::Extensions;
use tokio::time::Instant;

/// On a request: send it once, whatever happens. Its body is passed through as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoRetry;

/// On a request: repeating it does no harm, whatever its method.
///
/// RFC 9110 section 9.2.2 lets a client repeat a request if it knows that the semantics are
/// idempotent. This is how the caller says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkIdempotent;

/// On a request: the number of attempts, in place of the layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAttempts(pub NonZeroU32);

/// On a request: when it must be done. The layer's total timeout holds as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// On a request below the layer, from the second attempt on: which attempt this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(pub(crate) NonZeroU32);

impl Attempt {
    /// Which attempt the request with these extensions is, from 1.
    #[must_use]
    pub fn of(extensions: &Extensions) -> NonZeroU32 {
        extensions.get::<Self>().map_or(NonZeroU32::MIN, |it| it.0)
    }
}

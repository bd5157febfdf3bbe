//! A wish of a request.

/// A request extension: send this request on a new connection, not on one that has been used.
///
/// Put on a request that is sent again because a kept connection failed: the next kept connection
/// is likely to be as stale as the last. Clients that know it take a new connection; others ignore
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a marker")]
pub struct FreshConnection;

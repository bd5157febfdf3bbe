//! A wish of a request.

/// In a request's extensions: use a connection that has carried no exchange yet.
///
/// For the second attempt after a stale connection, because the next kept connection is likely to be
/// as stale as the last, and for what should not run into one. Clients that know it use a new
/// connection, for which an idle one makes room if the limits leave none; others ignore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a marker")]
pub struct FreshConnection;

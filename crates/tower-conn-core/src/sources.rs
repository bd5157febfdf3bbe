//! The sources of an error.

use std::error::Error;
use std::{io, iter};

/// How far a chain is followed; one that is longer says nothing more.
const DEEPEST: usize = 32;

/// The error, its source, the source of that, and so on: 32 of them at most.
///
/// Unlike [`Error::source`], this finds what an [`io::Error`] holds. That names as its source the source
/// of what it holds, and so hides the latter: what hyper-rustls says of a certificate is held by one within
/// another.
///
/// ```
/// use std::io;
/// use tower_conn_core::sources;
///
/// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
/// let error = io::Error::other(io::Error::other(refused));
/// let kinds: Vec<_> = sources(&error)
///     .filter_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()))
///     .collect();
/// use io::ErrorKind::{ConnectionRefused, Other};
/// assert_eq!(kinds, [Other, Other, ConnectionRefused]);
/// ```
pub fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| source(error)).take(DEEPEST)
}

fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(held) => Some(held),
        None => error.source(),
    }
}

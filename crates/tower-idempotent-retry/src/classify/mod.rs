//! From an error to evidence.

mod chain;
#[cfg(feature = "hyper-util")]
pub(crate) mod reuse;

use std::error::Error;

use crate::evidence::Failure;

/// Reads from an error of the inner service what is known of the request.
///
/// The error is given as it is, or, if the inner service fails with a boxed error, what is in the
/// box. Closures are classifiers; they can fall back on [`DefaultClassify`]:
///
/// ```
/// use std::error::Error;
/// use tower_idempotent_retry::{Classify, DefaultClassify, Evidence, Failure, RetryLayer};
/// # #[derive(Debug)] struct QueueFull;
/// # impl std::fmt::Display for QueueFull { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("full") } }
/// # impl Error for QueueFull {}
///
/// let layer = RetryLayer::client().classify(|error: &(dyn Error + 'static)| {
///     if error.is::<QueueFull>() {
///         Failure::new(Evidence::NotSent)
///     } else {
///         DefaultClassify.classify(error)
///     }
/// });
/// # let _ = layer;
/// ```
pub trait Classify {
    /// What is known of a request that failed with this error.
    fn classify(&self, error: &(dyn Error + 'static)) -> Failure;
}

impl<F, R> Classify for F
where
    F: Fn(&(dyn Error + 'static)) -> R,
    R: Into<Failure>,
{
    fn classify(&self, error: &(dyn Error + 'static)) -> Failure {
        self(error).into()
    }
}

/// Knows the errors of the standard library and tokio, and, by features of these names, of hyper,
/// hyper-util, h2, tower and of tower-conn-pool (`pool`). What it does not know is [`Ambiguous`](crate::Evidence::Ambiguous).
///
/// It walks the sources of an error (at most 32 of them):
///
/// | Found | Evidence |
/// |---|---|
/// | hyper-util `Error::is_connect` (feature `hyper-util`) | `NotSent`; `Permanent` if among the causes, or held by one, is an `io::Error` of kind `InvalidData` or `InvalidInput` (a TLS certificate, a malformed name) |
/// | tower-conn-pool `PoolError` (feature `pool`) | what its `delivery` says; `Permanent` for an invalid URI and at shutdown |
/// | hyper `Error::is_canceled` (feature `hyper`): the request never reached the connection | `NotSent` |
/// | hyper `Error::is_user` (feature `hyper`): the request body failed | `Permanent` |
/// | h2: `RST_STREAM` with `REFUSED_STREAM`, or GOAWAY below the stream, sent by the peer (feature `h2`) | `NotProcessed` |
/// | `io::ErrorKind::ConnectionRefused`, `AddrNotAvailable` | `NotSent` |
/// | tower `Overloaded` (feature `tower`) | `NotSent` |
/// | a [`RetryError`](crate::RetryError) of another layer, some attempt of which may have been applied | `Ambiguous` |
/// | anything else: end of stream or reset before a response, `Elapsed`, malformed responses, other errors of HTTP/2 | `Ambiguous` |
///
/// A GOAWAY that *this* side sent, because the peer broke the protocol, proves nothing. hyper's
/// `is_incomplete_message` proves nothing either: it is the same for a request that was never read and
/// for one whose response was cut.
///
/// Whether the connection was reused is known from the errors of hyper-util's legacy client over a
/// [`ReuseConnector`](crate::ReuseConnector) (feature `hyper-util`), and from those of tower-conn-pool.
///
/// Evidence for errors of hyper and h2 rests on types that hyper does not promise to keep in its
/// sources; the tests of this crate hold it against real sockets for each release.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultClassify;

impl Classify for DefaultClassify {
    fn classify(&self, error: &(dyn Error + 'static)) -> Failure {
        chain::classify(error)
    }
}

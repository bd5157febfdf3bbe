//! Walks the sources of an error.

use std::error::Error;
use std::io;

use tower_conn_core::sources;

use crate::evidence::{Evidence, Failure};
use crate::info::RetryError;

pub(super) fn classify(error: &(dyn Error + 'static)) -> Failure {
    let chain = || sources(error);
    // A retry layer further in: what its last attempt proves says nothing of the earlier ones.
    let repeated = chain()
        .filter_map(<dyn Error>::downcast_ref::<RetryError>)
        .any(|error| error.info().earlier_attempt_may_have_applied);
    let evidence = if repeated {
        Evidence::Ambiguous
    } else {
        match chain().find_map(proof) {
            Some(Proof::NoConnection) if chain().any(is_permanent_io) => Evidence::Permanent,
            Some(Proof::NoConnection) => Evidence::NotSent,
            #[cfg(any(feature = "hyper", feature = "h2", feature = "pool", feature = "tower"))]
            Some(Proof::Of(evidence)) => evidence,
            None => Evidence::Ambiguous,
        }
    };
    let mut failure = Failure::new(evidence);
    failure.reused = chain().find_map(reused);
    failure
}

enum Proof {
    /// Connecting failed.
    NoConnection,
    #[cfg(any(feature = "hyper", feature = "h2", feature = "pool", feature = "tower"))]
    Of(Evidence),
}

/// What TLS libraries make of a certificate they do not trust and of a malformed name.
fn is_permanent_io(error: &(dyn Error + 'static)) -> bool {
    io_kind(error).is_some_and(|kind| {
        matches!(
            kind,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        )
    })
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// What this one error proves, if anything. The outermost that proves something counts.
fn proof(error: &(dyn Error + 'static)) -> Option<Proof> {
    #[cfg(feature = "pool")]
    if let Some(error) = error.downcast_ref::<tower_conn_pool::PoolError>() {
        use tower_conn_pool::{Delivery, PoolErrorKind};

        return match (error.delivery(), error.kind()) {
            // It fails on any connection.
            (_, PoolErrorKind::Request) => Some(Proof::Of(Evidence::Permanent)),
            (Delivery::NotSent, PoolErrorKind::InvalidUri | PoolErrorKind::Canceled) => {
                Some(Proof::Of(Evidence::Permanent))
            }
            (Delivery::NotSent, PoolErrorKind::Connect) => Some(Proof::NoConnection),
            (Delivery::NotSent, _) => Some(Proof::Of(Evidence::NotSent)),
            (Delivery::NotProcessed, _) => Some(Proof::Of(Evidence::NotProcessed)),
            (Delivery::Responded, _) => Some(Proof::Of(Evidence::Committed)),
            // Its source may tell that the request body failed.
            _ => None,
        };
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(Proof::NoConnection);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return if error.is_canceled() {
            Some(Proof::Of(Evidence::NotSent))
        } else if error.is_user() {
            Some(Proof::Of(Evidence::Permanent))
        } else {
            None
        };
    }
    #[cfg(feature = "h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // h2 gives a GOAWAY of the peer to the streams above its last stream, and to no others.
        return (error.is_remote() && (refused || error.is_go_away()))
            .then_some(Proof::Of(Evidence::NotProcessed));
    }
    #[cfg(feature = "tower")]
    if error.is::<tower::load_shed::error::Overloaded>() {
        return Some(Proof::Of(Evidence::NotSent));
    }
    match io_kind(error)? {
        // These happen to connecting sockets only.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable => {
            Some(Proof::NoConnection)
        }
        _ => None,
    }
}

/// Whether the connection had been used before.
fn reused(error: &(dyn Error + 'static)) -> Option<bool> {
    #[cfg(feature = "pool")]
    if let Some(error) = error.downcast_ref::<tower_conn_pool::PoolError>() {
        return error
            .connection_use()
            .map(tower_conn_pool::ConnectionUse::is_reused);
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return super::reuse::of_error(error);
    }
    let _ = error;
    None
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::decide::{RetryReason, StopReason};
    use crate::info::RetryInfo;

    #[derive(Debug)]
    struct Outer(Box<dyn Error + Send + Sync>);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn evidence(kind: io::ErrorKind) -> Evidence {
        classify(&Outer(Box::new(Outer(Box::new(io::Error::from(kind)))))).evidence()
    }

    #[test]
    fn only_kinds_that_happen_to_connecting_sockets_prove_anything() {
        assert_eq!(
            evidence(io::ErrorKind::ConnectionRefused),
            Evidence::NotSent
        );
        assert_eq!(evidence(io::ErrorKind::AddrNotAvailable), Evidence::NotSent);
        for kind in [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::TimedOut,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::InvalidData,
        ] {
            assert_eq!(evidence(kind), Evidence::Ambiguous, "{kind}");
        }
    }

    /// hyper-rustls reports a certificate that is not trusted as an `io::Error` in an `io::Error`.
    #[test]
    fn what_an_io_error_holds_is_looked_at() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let held = Outer(Box::new(io::Error::other(io::Error::other(refused))));
        assert_eq!(classify(&held).evidence(), Evidence::NotSent);

        let untrusted = io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate");
        let held = io::Error::other(untrusted);
        assert!(sources(&held).any(is_permanent_io));
    }

    #[test]
    fn the_walk_is_bounded() {
        let mut error: Box<dyn Error + Send + Sync> =
            io::Error::from(io::ErrorKind::ConnectionRefused).into();
        for _ in 0..100 {
            error = Box::new(Outer(error));
        }
        assert_eq!(classify(&*error).evidence(), Evidence::Ambiguous);
    }

    #[test]
    fn an_inner_layer_that_repeated_proves_nothing() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused).into();
        let mut info = RetryInfo::new();
        info.stopped = StopReason::MaxAttempts;
        info.reasons.push(RetryReason::StaleConnection);
        let once = RetryError::boxed(info.clone(), refused());
        assert_eq!(classify(&*once).evidence(), Evidence::NotSent);
        info.earlier_attempt_may_have_applied = true;
        let twice = RetryError::boxed(info, refused());
        assert_eq!(classify(&*twice).evidence(), Evidence::Ambiguous);
    }
}

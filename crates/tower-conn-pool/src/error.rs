//! Why a request got no response, and how far it came.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use http::Request;
use tower_conn_core::{Connection, sources};

use crate::ConnectionUse;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request got no response, or its response body failed.
///
/// Carries what a retry needs to decide: [`delivery`](Self::delivery) says how far the request came,
/// [`connection`](Self::connection) and [`connection_use`](Self::connection_use) on what, and
/// [`take_request`](Self::take_request) gives the request back if it was never written.
pub struct PoolError(Box<Inner>);

struct Inner {
    kind: PoolErrorKind,
    delivery: Delivery,
    connection: Option<Connection>,
    usage: Option<ConnectionUse>,
    source: Option<BoxError>,
    // A request body need not be Sync, an error must be.
    request: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolErrorKind {
    /// The request's URI has no scheme or no host.
    InvalidUri,
    /// No connection could be opened; the source is the connector's error.
    Connect,
    /// No connection was opened within the connect timeout.
    ConnectTimeout,
    /// As many requests wait as may.
    QueueFull,
    /// Too many local ports are in use or in TIME_WAIT towards this destination to open another
    /// connection, and there is none to wait for; or the system said so (EADDRNOTAVAIL, which it also says
    /// if the connector was told to connect from an address that this machine does not have).
    PortsExhausted,
    /// The request cannot be sent on a pipelined connection, or its body failed there; the source says
    /// why.
    Request,
    /// The connection failed before the response head; the source is hyper's error, or why the pipelined
    /// connection ended.
    Exchange,
    /// The response body failed, or ended before its framing said so.
    Body,
    /// The runtime that opens connections is shutting down, or the connector panicked.
    Canceled,
}

impl PoolErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::InvalidUri => "the request URI is not absolute",
            Self::Connect => "no connection could be opened",
            Self::ConnectTimeout => "no connection was opened in time",
            Self::QueueFull => "too many requests wait for a connection",
            Self::PortsExhausted => "no local port is left to connect from",
            Self::Request => "the request cannot be sent",
            Self::Exchange => "the connection failed before the response",
            Self::Body => "the response body failed",
            Self::Canceled => "opening the connection was given up",
        }
    }
}

/// How far a failed request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// No byte of it was written to a connection. It can be sent again whatever its method.
    NotSent,
    /// It was sent, and the peer proves that it did not process it: HTTP/2 REFUSED_STREAM, or a
    /// GOAWAY below its stream (RFC 9113 section 8.7). It can be sent again whatever its method.
    NotProcessed,
    /// Some of it was sent and nothing is known. Only an idempotent request can be sent again
    /// (RFC 9110 section 9.2.2).
    Ambiguous,
    /// The response head was handed up.
    Responded,
}

impl PoolError {
    pub(crate) fn new(kind: PoolErrorKind, delivery: Delivery) -> Self {
        Self(Box::new(Inner {
            kind,
            delivery,
            connection: None,
            usage: None,
            source: None,
            request: Mutex::new(None),
        }))
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn on(mut self, connection: Connection, usage: Option<ConnectionUse>) -> Self {
        self.0.connection = Some(connection);
        self.0.usage = usage;
        self
    }

    pub(crate) fn returning<B: Send + 'static>(mut self, request: Request<B>) -> Self {
        self.0.request = Mutex::new(Some(Box::new(request)));
        self
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> PoolErrorKind {
        self.0.kind
    }

    /// How far the request came.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Whether a byte of the request was written to a connection.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.0.delivery != Delivery::NotSent
    }

    /// Whether no connection could be had: nothing was sent, and the fault is not the request's.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.kind,
            PoolErrorKind::Connect
                | PoolErrorKind::ConnectTimeout
                | PoolErrorKind::PortsExhausted
                | PoolErrorKind::Canceled
        )
    }

    /// The connection that the request was on; `None` if it never got one.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.0.connection.as_ref()
    }

    /// Whether that connection was new or reused, and how long it had been idle.
    #[must_use]
    pub fn connection_use(&self) -> Option<&ConnectionUse> {
        self.0.usage.as_ref()
    }

    /// The request, whole, if it was never written; `None` if it was, if it was taken before, or if
    /// its body is not of this type.
    pub fn take_request<B: 'static>(&mut self) -> Option<Request<B>> {
        let slot = self
            .0
            .request
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        match slot.take()?.downcast() {
            Ok(request) => Some(*request),
            Err(other) => {
                *slot = Some(other);
                None
            }
        }
    }
}

impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolError")
            .field("kind", &self.0.kind)
            .field("delivery", &self.0.delivery)
            .field("connection", &self.0.connection)
            .field("connection_use", &self.0.usage)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.text())
    }
}

impl Error for PoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// Whether the peer proves that it did not process the request (RFC 9113 sections 6.8 and 8.7).
///
/// h2 reports a stream as failed by GOAWAY only if its id is above the last one that GOAWAY names.
pub(crate) fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|error| {
        error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (error.is_go_away() || refused)
        })
    })
}

/// Whether there was no local address to connect from.
pub(crate) fn is_addr_not_available(error: &(dyn Error + 'static)) -> bool {
    sources(error)
        .filter_map(<dyn Error>::downcast_ref::<io::Error>)
        .any(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_handed_back_once_and_as_its_own_type() {
        let mut error = PoolError::new(PoolErrorKind::Exchange, Delivery::NotSent)
            .returning(Request::new("body".to_owned()));
        assert!(error.take_request::<u8>().is_none());
        let request = error.take_request::<String>().expect("the request");
        assert_eq!(request.body(), "body");
        assert!(error.take_request::<String>().is_none());
    }

    #[test]
    fn an_io_error_is_found_behind_others() {
        let inner = io::Error::other(io::Error::from(io::ErrorKind::AddrNotAvailable));
        let outer = PoolError::new(PoolErrorKind::Connect, Delivery::NotSent).because(inner);
        assert!(is_addr_not_available(&outer));
        assert!(!is_addr_not_available(&io::Error::other("no")));
    }
}

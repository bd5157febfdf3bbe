//! What became of a request that got no response, and why.

use std::fmt;
use std::io;
use std::sync::Arc;

use http::Request;
use tower_conn_core::CloseReason;

use crate::EchoMismatch;
use crate::h1::{DecodeError, EncodeError};

/// A request got no response.
pub struct Error<B> {
    inner: Box<Inner<B>>,
}

struct Inner<B> {
    kind: ErrorKind,
    cause: Cause,
    request: Option<Request<B>>,
}

/// What is known about a request without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No byte of it was sent: it can be sent again, whatever it is.
    NotSent,
    /// All or some of it was sent, and no complete response head came back. The server may have
    /// processed it, or not (RFC 9112 section 9.6).
    Unanswered,
    /// It cannot be sent as HTTP/1.1, or its body failed.
    Invalid,
}

/// Why a connection ended, or refused a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The server closed the connection.
    Closed,
    /// A message before announced the end of the connection.
    Closing,
    /// The transport failed.
    Io(Arc<io::Error>),
    /// Bytes arrived that nobody had asked for.
    Unsolicited,
    /// What arrived is not a response, or not one whose end could be agreed on.
    Decode(DecodeError),
    /// The head of the response did not arrive in time ([`Builder::head_timeout`](super::Builder::head_timeout)).
    HeadTimeout,
    /// The response of a caller who had gone away was too long, or took too long, to be read to its end.
    Abandoned,
    /// The request is not one that can be sent.
    Encode(EncodeError),
    /// The body of the request failed, or was not of the length it had announced.
    RequestBody(Arc<dyn std::error::Error + Send + Sync>),
    /// The handle of the connection was closed, or its driver dropped.
    Aborted,
    /// The connection left HTTP.
    Upgraded,
    /// The response carried the request id of another request ([`EchoGuardLayer`](crate::EchoGuardLayer)).
    Echo,
}

impl<B> Error<B> {
    pub(super) fn new(kind: ErrorKind, cause: Cause, request: Option<Request<B>>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                cause,
                request,
            }),
        }
    }

    /// What is known about the request.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Why there is no response.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.inner.cause
    }

    /// The request, as it was, if its body has not been touched.
    #[must_use]
    pub fn request(&self) -> Option<&Request<B>> {
        self.inner.request.as_ref()
    }

    /// The request, as it was, if its body has not been touched.
    #[must_use]
    pub fn into_request(self) -> Option<Request<B>> {
        self.inner.request
    }
}

impl<B> fmt::Debug for Error<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("cause", &self.inner.cause)
            .field("whole", &self.inner.request.is_some())
            .finish()
    }
}

impl<B> fmt::Display for Error<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner.kind {
            ErrorKind::NotSent => "the request was not sent",
            ErrorKind::Unanswered => "the request was not answered",
            ErrorKind::Invalid => "the request cannot be sent",
        })
    }
}

impl<B> std::error::Error for Error<B> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.inner.cause)
    }
}

impl<B> From<EchoMismatch> for Error<B> {
    fn from(_: EchoMismatch) -> Self {
        Self::new(ErrorKind::Unanswered, Cause::Echo, None)
    }
}

impl Cause {
    pub(super) fn io(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }

    /// The reason noted on the connection's handle.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::Closed => CloseReason::PeerClosed,
            Self::Closing => CloseReason::PeerRequested,
            Self::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                CloseReason::PeerReset
            }
            Self::Io(_) => CloseReason::Transport,
            Self::Unsolicited => CloseReason::UnsolicitedBytes,
            Self::Decode(DecodeError::IncompleteHead | DecodeError::IncompleteBody) => {
                CloseReason::IncompleteMessage
            }
            Self::Decode(DecodeError::Framing(_) | DecodeError::LengthAndCoding) => {
                CloseReason::FaultyFraming
            }
            Self::Decode(_) => CloseReason::ProtocolError,
            Self::HeadTimeout => CloseReason::HeadTimeout,
            Self::Abandoned => CloseReason::BodyDropped,
            Self::Encode(_) | Self::RequestBody(_) => CloseReason::Application,
            Self::Aborted => CloseReason::Aborted,
            Self::Upgraded => CloseReason::Upgraded,
            Self::Echo => CloseReason::ProtocolError,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the server closed the connection",
            Self::Closing => "the end of the connection was announced",
            Self::Io(error) => return error.fmt(f),
            Self::Unsolicited => "bytes arrived that nobody had asked for",
            Self::Decode(error) => return error.fmt(f),
            Self::HeadTimeout => "the response did not begin in time",
            Self::Abandoned => "a response that nobody waits for was too long",
            Self::Encode(error) => return error.fmt(f),
            Self::RequestBody(_) => "the body of a request failed",
            Self::Aborted => "the connection was given up",
            Self::Upgraded => "the connection left HTTP",
            Self::Echo => "the response belongs to another request",
        })
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::RequestBody(error) => Some(&**error),
            _ => None,
        }
    }
}

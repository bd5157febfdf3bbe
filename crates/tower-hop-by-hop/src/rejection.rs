//! Why a message does not pass.

use std::fmt;

use http::{HeaderName, StatusCode};
use tower_conn_core::framing::FramingError;

/// A message that this hop does not forward, and why.
///
/// The layers answer with [`status`](Self::status), an empty body and this value in the response's
/// extensions, so that a service further out can word the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub(crate) message: Message,
    pub(crate) reason: RejectReason,
}

/// Which message a report or a rejection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Message {
    /// A request, on its way to the upstream.
    Request,
    /// A response, on its way to the client.
    Response,
}

/// Why a message does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// An option nominates this protected name ([`ProtectedNames::Reject`](crate::ProtectedNames)).
    ProtectedName(HeaderName),
    /// A `Connection` member is not a token ([`MalformedOptions::Reject`](crate::MalformedOptions)).
    MalformedOption,
    /// There are more options than the [limit](crate::Policy::max_options).
    TooManyOptions,
    /// A transfer coding other than chunked ([`TransferCodings`](crate::TransferCodings)).
    TransferCoding,
    /// `Transfer-Encoding` frames no body that both sides would agree on.
    Framing(FramingError),
    /// Connection-specific fields in an HTTP/2 request (RFC 9113 section 8.2.2).
    NotInHttp2,
    /// A 101 that names no protocol, or one that was not offered (RFC 9110 section 7.8).
    UnofferedUpgrade,
    /// An interim response for an HTTP/1.0 client, which would not understand it (RFC 9110 section
    /// 15.2). Whoever forwards interim responses drops it and goes on.
    InterimToHttp10,
}

// ===== impl Rejection =====

impl Rejection {
    pub(crate) const fn new(message: Message, reason: RejectReason) -> Self {
        Self { message, reason }
    }

    /// Which message was refused.
    #[must_use]
    pub const fn message(&self) -> Message {
        self.message
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &RejectReason {
        &self.reason
    }

    /// The status that tells the client: 502 where the response is at fault, 501 for a transfer coding
    /// of a request that cannot be decoded, and 400.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match (self.message, &self.reason) {
            (Message::Response, _) => StatusCode::BAD_GATEWAY,
            (Message::Request, RejectReason::TransferCoding) => StatusCode::NOT_IMPLEMENTED,
            (Message::Request, _) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.message {
            Message::Request => "request",
            Message::Response => "response",
        };
        write!(f, "{message} not forwarded: {}", self.reason)
    }
}

impl std::error::Error for Rejection {}

// ===== impl RejectReason =====

impl RejectReason {
    /// A short `snake_case` name, stable across releases, meant as a metric label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ProtectedName(_) => "protected_name",
            Self::MalformedOption => "malformed_option",
            Self::TooManyOptions => "too_many_options",
            Self::TransferCoding => "transfer_coding",
            Self::Framing(_) => "framing",
            Self::NotInHttp2 => "not_in_http2",
            Self::UnofferedUpgrade => "unoffered_upgrade",
            Self::InterimToHttp10 => "interim_to_http10",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtectedName(name) => write!(f, "Connection nominates {name}"),
            Self::MalformedOption => f.write_str("Connection has a member that is not a token"),
            Self::TooManyOptions => f.write_str("Connection has too many members"),
            Self::TransferCoding => f.write_str("a transfer coding other than chunked"),
            Self::Framing(error) => write!(f, "{error}"),
            Self::NotInHttp2 => f.write_str("connection-specific fields in HTTP/2"),
            Self::UnofferedUpgrade => {
                f.write_str("the upgrade was not offered, or names no protocol")
            }
            Self::InterimToHttp10 => f.write_str("an interim response for an HTTP/1.0 client"),
        }
    }
}

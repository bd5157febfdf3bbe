//! What can be wrong with the framing of a message.

use std::fmt;

/// The framing of a message is faulty: where it ends cannot be agreed on.
///
/// A server answers such a request with 400 and closes; a client or proxy drops such a response and
/// its connection, and a proxy answers 502 (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FramingError {
    /// A `Content-Length` that is not a decimal number below 2^64.
    InvalidLength,
    /// `Content-Length` values that differ.
    ConflictingLengths,
    /// A `Transfer-Encoding` that is not a list of codings: an empty member, a name that is no token,
    /// a quoted parameter, or anything but visible ASCII. Where such a list ends is read differently
    /// by different recipients.
    InvalidCoding,
    /// A request whose last transfer coding is not chunked.
    ChunkedNotLast,
    /// Chunked applied more than once.
    ChunkedTwice,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    CodingInHttp10,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidLength => "Content-Length is not a decimal number",
            Self::ConflictingLengths => "Content-Length values differ",
            Self::InvalidCoding => "Transfer-Encoding is not a list of codings",
            Self::ChunkedNotLast => "the last transfer coding of a request is not chunked",
            Self::ChunkedTwice => "chunked is applied more than once",
            Self::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 message",
        })
    }
}

impl std::error::Error for FramingError {}

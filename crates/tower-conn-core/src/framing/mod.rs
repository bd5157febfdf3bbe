//! How the body of a message is delimited (RFC 9112 section 6).

mod codings;
mod error;
mod length;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use self::codings::{Codings, codings};
pub use self::error::FramingError;
pub use self::length::content_length;

/// How the end of a message body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "RFC 9112 section 6.3 and HTTP/2 know no other"
)]
pub enum BodyFraming {
    /// There is no body, and nothing needs to say so: it ends with the head.
    Empty,
    /// `Content-Length`.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// The end of the connection. Only a response can be delimited so.
    Close,
    /// The end of the stream, in HTTP/2 and HTTP/3.
    Stream,
}

impl BodyFraming {
    /// Whether the end of the body can be told without closing the connection.
    #[must_use]
    pub const fn is_self_delimited(self) -> bool {
        !matches!(self, Self::Close)
    }
}

/// The framing of a request's body, from its head as received.
///
/// `Transfer-Encoding` wins over `Content-Length`; see [`has_both`] for what that obliges to.
///
/// # Errors
///
/// [`FramingError`] where RFC 9112 section 6.3 has the server answer 400.
pub fn request_framing(version: Version, headers: &HeaderMap) -> Result<BodyFraming, FramingError> {
    if version >= Version::HTTP_2 {
        return stream_framing(headers);
    }
    match codings(version, headers)? {
        Codings::None => {
            Ok(content_length(headers)?.map_or(BodyFraming::Empty, BodyFraming::Length))
        }
        Codings::EndsChunked => Ok(BodyFraming::Chunked),
        Codings::Other => Err(FramingError::ChunkedNotLast),
    }
}

/// The framing of a response's body, from its head as received and the method of its request.
///
/// Responses to HEAD, 1xx, 204, 304 and a successful CONNECT have no body, whatever their fields say.
///
/// # Errors
///
/// [`FramingError`] where RFC 9112 section 6.3 has the recipient discard the response.
pub fn response_framing(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<BodyFraming, FramingError> {
    if !response_has_body(method, status) {
        return Ok(BodyFraming::Empty);
    }
    if version >= Version::HTTP_2 {
        return stream_framing(headers);
    }
    match codings(version, headers)? {
        Codings::None => {
            Ok(content_length(headers)?.map_or(BodyFraming::Close, BodyFraming::Length))
        }
        Codings::EndsChunked => Ok(BodyFraming::Chunked),
        Codings::Other => Ok(BodyFraming::Close),
    }
}

/// Whether a response of this status to this method can have a body (RFC 9112 section 6.3, 1 and 2).
#[must_use]
pub fn response_has_body(method: &Method, status: StatusCode) -> bool {
    !(method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (method == Method::CONNECT && status.is_success()))
}

/// Whether both `Content-Length` and `Transfer-Encoding` are there: a possible smuggling attempt.
/// Who accepts such a message removes `Content-Length` before forwarding and closes the connection
/// after the exchange (RFC 9112 sections 6.1 and 6.3).
#[must_use]
pub fn has_both(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH)
}

fn stream_framing(headers: &HeaderMap) -> Result<BodyFraming, FramingError> {
    Ok(content_length(headers)?.map_or(BodyFraming::Stream, BodyFraming::Length))
}

#[cfg(test)]
mod tests;

//! How the body of a message is delimited (RFC 9112 section 6).

use std::fmt;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use crate::options::{is_token, trim_ows};

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

/// The value of `Content-Length`; repeated equal values count as one (RFC 9110 section 8.6).
///
/// # Errors
///
/// [`FramingError::InvalidLength`] or [`FramingError::ConflictingLengths`].
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        // Not `list_members`: an empty member is not a length, and others refuse it.
        for member in line.as_bytes().split(|&byte| byte == b',') {
            let value = parse_decimal(trim_ows(member)).ok_or(FramingError::InvalidLength)?;
            match length {
                Some(first) if first != value => return Err(FramingError::ConflictingLengths),
                _ => length = Some(value),
            }
        }
    }
    Ok(length)
}

fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

enum Codings {
    None,
    EndsChunked,
    Other,
}

fn codings(version: Version, headers: &HeaderMap) -> Result<Codings, FramingError> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Codings::None);
    }
    if version < Version::HTTP_11 {
        return Err(FramingError::CodingInHttp10);
    }
    let (mut chunked, mut last) = (0, false);
    for line in headers.get_all(TRANSFER_ENCODING) {
        // Not `list_members`: an empty member is not a coding, and others take it for the last one.
        for coding in line.as_bytes().split(|&byte| byte == b',').map(trim_ows) {
            if !is_coding(coding) {
                return Err(FramingError::InvalidCoding);
            }
            last = coding.eq_ignore_ascii_case(b"chunked");
            chunked += u32::from(last);
        }
    }
    match (chunked, last) {
        (2.., _) => Err(FramingError::ChunkedTwice),
        (1, true) => Ok(Codings::EndsChunked),
        _ => Ok(Codings::Other),
    }
}

/// Whether this is a transfer coding (RFC 9112 section 7), without quoted parameters: nobody sends
/// them, and their commas do not separate members.
fn is_coding(member: &[u8]) -> bool {
    let mut parts = member.splitn(2, |&byte| byte == b';');
    let name = parts.next().map(trim_ows).unwrap_or_default();
    let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~') && *byte != b'"';
    is_token(name)
        && parts
            .next()
            .is_none_or(|parameters| parameters.iter().all(plain))
}

fn stream_framing(headers: &HeaderMap) -> Result<BodyFraming, FramingError> {
    Ok(content_length(headers)?.map_or(BodyFraming::Stream, BodyFraming::Length))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn request(fields: &[(&'static str, &'static str)]) -> Result<BodyFraming, FramingError> {
        request_framing(Version::HTTP_11, &headers(fields))
    }

    fn response(
        method: &Method,
        status: u16,
        fields: &[(&'static str, &'static str)],
    ) -> Result<BodyFraming, FramingError> {
        let status = StatusCode::from_u16(status).expect("a status");
        response_framing(method, status, Version::HTTP_11, &headers(fields))
    }

    #[test]
    fn a_request_without_framing_fields_has_no_body() {
        assert_eq!(request(&[]), Ok(BodyFraming::Empty));
        assert_eq!(
            request(&[("content-length", "0")]),
            Ok(BodyFraming::Length(0))
        );
    }

    #[test]
    fn transfer_encoding_wins_over_content_length() {
        let fields = [("content-length", "10"), ("transfer-encoding", "Chunked")];
        assert_eq!(request(&fields), Ok(BodyFraming::Chunked));
        assert!(has_both(&headers(&fields)));
    }

    #[test]
    fn a_request_must_end_in_chunked() {
        let gzip_last = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "gzip"),
        ];
        assert_eq!(request(&gzip_last), Err(FramingError::ChunkedNotLast));
        assert_eq!(
            response(&Method::GET, 200, &gzip_last),
            Ok(BodyFraming::Close)
        );
        assert_eq!(
            request(&[("transfer-encoding", "chunked, chunked")]),
            Err(FramingError::ChunkedTwice)
        );
        assert_eq!(
            request(&[("transfer-encoding", "gzip, chunked")]),
            Ok(BodyFraming::Chunked)
        );
        assert_eq!(
            request(&[("transfer-encoding", "xchunked")]),
            Err(FramingError::ChunkedNotLast)
        );
    }

    #[test]
    fn a_list_of_codings_that_others_end_elsewhere_is_refused() {
        for bad in [
            &b""[..],
            b"chunked,",
            b"gzip,, chunked",
            b"gzip\xff, chunked",
            b"gz ip, chunked",
            b"gzip;a=\xff, chunked",
            b"gzip;a=\"b, chunked",
        ] {
            let mut map = HeaderMap::new();
            let value = HeaderValue::from_bytes(bad).expect("a field value");
            map.append(TRANSFER_ENCODING, value);
            assert_eq!(
                request_framing(Version::HTTP_11, &map),
                Err(FramingError::InvalidCoding),
                "{bad:?}"
            );
        }
        assert_eq!(
            request(&[("transfer-encoding", "gzip ; q=1,\tchunked")]),
            Ok(BodyFraming::Chunked)
        );
    }

    #[test]
    fn http10_has_no_transfer_codings() {
        let map = headers(&[("transfer-encoding", "chunked")]);
        assert_eq!(
            request_framing(Version::HTTP_10, &map),
            Err(FramingError::CodingInHttp10)
        );
    }

    #[test]
    fn lengths_are_plain_decimals_and_agree() {
        assert_eq!(
            request(&[("content-length", "5, 5")]),
            Ok(BodyFraming::Length(5))
        );
        assert_eq!(
            request(&[("content-length", "5"), ("content-length", "6")]),
            Err(FramingError::ConflictingLengths)
        );
        assert_eq!(
            request(&[("content-length", "18446744073709551615")]),
            Ok(BodyFraming::Length(u64::MAX))
        );
        for bad in [
            "",
            ",",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "18446744073709551616",
            "5, x",
            "5,",
            ", 5",
            "5,,5",
        ] {
            assert_eq!(
                request(&[("content-length", bad)]),
                Err(FramingError::InvalidLength),
                "{bad}"
            );
        }
    }

    #[test]
    fn some_responses_never_have_a_body() {
        let length = [("content-length", "99")];
        assert_eq!(
            response(&Method::HEAD, 200, &length),
            Ok(BodyFraming::Empty)
        );
        assert_eq!(
            response(&Method::CONNECT, 200, &length),
            Ok(BodyFraming::Empty)
        );
        for status in [101, 103, 204, 304] {
            assert_eq!(
                response(&Method::GET, status, &length),
                Ok(BodyFraming::Empty),
                "{status}"
            );
        }
        assert_eq!(
            response(&Method::CONNECT, 407, &length),
            Ok(BodyFraming::Length(99))
        );
        assert_eq!(response(&Method::GET, 200, &[]), Ok(BodyFraming::Close));
        assert!(!BodyFraming::Close.is_self_delimited());
    }

    #[test]
    fn http2_bodies_end_with_their_stream() {
        assert_eq!(
            request_framing(Version::HTTP_2, &headers(&[])),
            Ok(BodyFraming::Stream)
        );
        let length = headers(&[("content-length", "3")]);
        assert_eq!(
            request_framing(Version::HTTP_2, &length),
            Ok(BodyFraming::Length(3))
        );
    }
}

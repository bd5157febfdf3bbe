//! Why bytes are no response.

use std::fmt;

use tower_conn_core::framing::FramingError;

/// The bytes are not a response to the request, or not one whose end could be agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// The head is not that of an HTTP/1.0 or HTTP/1.1 response.
    Head,
    /// A line of a head or trailer section ends in LF without CR.
    LoneLf,
    /// The head is longer than [`Limits::head`](super::Limits::head).
    HeadTooLarge,
    /// There are more fields than [`Limits::fields`](super::Limits::fields).
    TooManyFields,
    /// There are more 1xx responses than [`Limits::informational`](super::Limits::informational).
    TooManyInformational,
    /// 101 to a request that did not ask to upgrade.
    UnexpectedUpgrade,
    /// `Transfer-Encoding` on a 1xx or 204 response, which have no body.
    CodingWithoutBody,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// The framing fields contradict themselves.
    Framing(FramingError),
    /// A chunk size is not a hexadecimal number below 2^64 on a line of its own.
    ChunkSize,
    /// The extensions are longer than [`Limits::chunk_extensions`](super::Limits::chunk_extensions).
    ChunkExtensions,
    /// The data of a chunk is not followed by CRLF.
    ChunkEnd,
    /// The trailer section is faulty, or longer than [`Limits::trailers`](super::Limits::trailers).
    Trailers,
    /// The connection ended inside a head.
    IncompleteHead,
    /// The connection ended inside a body.
    IncompleteBody,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Head => "not the head of an HTTP/1 response",
            Self::LoneLf => "a line ends in LF without CR",
            Self::HeadTooLarge => "the head is too long",
            Self::TooManyFields => "there are too many fields",
            Self::TooManyInformational => "there are too many informational responses",
            Self::UnexpectedUpgrade => "101 to a request that did not ask to upgrade",
            Self::CodingWithoutBody => "Transfer-Encoding on a response without a body",
            Self::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Self::Framing(error) => return error.fmt(f),
            Self::ChunkSize => "faulty chunk size",
            Self::ChunkExtensions => "the chunk extensions are too long",
            Self::ChunkEnd => "the data of a chunk is not followed by CRLF",
            Self::Trailers => "faulty trailer section",
            Self::IncompleteHead => "the connection ended inside a head",
            Self::IncompleteBody => "the connection ended inside a body",
        };
        f.write_str(text)
    }
}

impl std::error::Error for DecodeError {}

impl From<FramingError> for DecodeError {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

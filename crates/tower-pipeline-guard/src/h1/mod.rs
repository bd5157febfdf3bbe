//! HTTP/1.1 without IO: a request encoder, and a response decoder that knows where each message ends.
//!
//! On a connection that carries several requests at once the end of each response decides to whom the
//! next bytes belong. So the decoder takes nothing on trust:
//!
//! - a response is framed by RFC 9112 section 6.3, with the method of the request it answers;
//! - `Content-Length` together with `Transfer-Encoding`, lengths that differ, chunked applied twice,
//!   `Transfer-Encoding` in HTTP/1.0 or on a 1xx or 204: an error, not a guess;
//! - lines end in CRLF; a lone LF, a lone CR, a folded field and a space before a colon are errors;
//! - everything has a cap, see [`Limits`].
//!
//! An error is final: the bytes behind it belong to nobody.
//!
//! ```
//! use bytes::BytesMut;
//! use http::Method;
//! use tower_pipeline_guard::h1::{Decoder, Event};
//!
//! let mut decoder = Decoder::new(Default::default());
//! let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204");
//! decoder.expect(&Method::GET);
//! let Some(Event::Head(head)) = decoder.decode(&mut input).unwrap() else { panic!() };
//! assert!(head.persistent);
//! assert!(matches!(decoder.decode(&mut input), Ok(Some(Event::Data(data))) if data == "hi"));
//! assert!(matches!(decoder.decode(&mut input), Ok(Some(Event::End))));
//! assert_eq!(input, "HTTP/1.1 204");
//! ```

mod chunked;
mod decode;
mod encode;
mod error;
mod lines;

pub use self::decode::{Decoder, Event, Head};
pub use self::encode::{EncodeError, encode_chunk, encode_head, encode_last_chunk};
pub use self::error::DecodeError;
pub(crate) use self::lines::NextHead;

/// What is accepted of one response at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a head, from the status line to the empty line. Default 64 KiB.
    pub head: usize,
    /// Fields of a head, and of a trailer section; never more than 256. Default 100.
    pub fields: usize,
    /// Informational (1xx) responses before the final one. Default 16.
    pub informational: usize,
    /// Bytes of all chunk extensions of one body. Default 16 KiB.
    pub chunk_extensions: usize,
    /// Bytes of a trailer section. Default 16 KiB.
    pub trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            fields: 100,
            informational: 16,
            chunk_extensions: 16 * 1024,
            trailers: 16 * 1024,
        }
    }
}

/// The most fields that are ever parsed at once.
const MAX_FIELDS: usize = 256;

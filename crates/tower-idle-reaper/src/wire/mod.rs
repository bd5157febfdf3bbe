//! Where in the stream of requests a byte belongs: between requests, in a head, in a body.
//!
//! This follows the framing of what has been handed to the HTTP engine just closely enough to know
//! which clock runs. It decides nothing about a message: the engine is the only parser that counts,
//! and it refuses what is malformed.

use crate::shared::Body;

/// The client preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";
const FRAME_HEAD: u8 = 9;
const SETTINGS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Between requests; empty lines here are no head (RFC 9112 section 2.2).
    Boundary,
    /// In a line of a head whose content is of no interest.
    Line,
    /// At the start of a head line, after the request line.
    LineStart,
    /// A CR at the start of a head line.
    LineStartCr,
    /// In a field name that may be one of the two that matter.
    Name(Field, u8),
    /// In the value of Content-Length.
    Length,
    Body,
    /// In the hexadecimal length of a chunk.
    ChunkSize,
    ChunkExtension,
    ChunkData,
    /// After the data of a chunk, up to the end of line.
    ChunkEnd,
    TrailerStart,
    TrailerStartCr,
    Trailer,
    /// In the preface of HTTP/2, that many bytes of it.
    Preface(u8),
    /// In the head of the first frame, that many bytes of it.
    FirstFrame(u8),
    Http2,
    /// Not followed: a tunnel, or bytes that are not plain HTTP.
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ContentLength,
    TransferEncoding,
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::ContentLength => b"content-length:",
            Self::TransferEncoding => b"transfer-encoding:",
        }
    }
}

/// Follows the requests of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    /// In a head, the length of the body; in a body, how much of it or of the chunk is left.
    count: u64,
    at: At,
    fresh: bool,
    /// How many heads have ended, modulo 2^16.
    heads: u16,
    /// A head came behind another one, or may have.
    counted: bool,
    /// The last head ended with the bytes that were delivered, and was not looked into.
    unread_head: bool,
    chunked: bool,
}

impl Wire {
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            at: At::Boundary,
            fresh: true,
            heads: 0,
            counted: false,
            unread_head: false,
            chunked: false,
        }
    }

    /// Follows nothing.
    pub(crate) const fn opaque() -> Self {
        Self {
            at: At::Opaque,
            ..Self::new()
        }
    }

    #[inline]
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.at, At::Http2)
    }

    #[inline]
    pub(crate) const fn is_opaque(&self) -> bool {
        matches!(self.at, At::Opaque)
    }

    /// Whether part of a head has been delivered, or part of the opening of HTTP/2.
    #[inline]
    pub(crate) const fn in_head(&self) -> bool {
        matches!(
            self.at,
            At::Line
                | At::LineStart
                | At::LineStartCr
                | At::Name(..)
                | At::Length
                | At::Preface(_)
                | At::FirstFrame(_)
        )
    }

    /// Whether the connection is, as far as can be told, opening HTTP/2.
    pub(crate) const fn is_opening_http2(&self) -> bool {
        matches!(self.at, At::Preface(_) | At::FirstFrame(_))
    }

    /// Whether more of a request body is to come.
    #[inline]
    pub(crate) const fn in_body(&self) -> bool {
        matches!(
            self.at,
            At::Body
                | At::ChunkSize
                | At::ChunkExtension
                | At::ChunkData
                | At::ChunkEnd
                | At::TrailerStart
                | At::TrailerStartCr
                | At::Trailer
        )
    }

    /// How many heads have ended, modulo 2^16: the number of the request whose body is to come.
    /// `None` if that can only be the one that is next to begin.
    pub(crate) const fn counted_heads(&self) -> Option<u16> {
        if self.counted { Some(self.heads) } else { None }
    }

    /// Whether the last head was not looked into, so that a body has to be told with
    /// [`expect_body`](Self::expect_body).
    #[inline]
    pub(crate) const fn has_unread_head(&self) -> bool {
        self.unread_head
    }

    /// The request whose head was not looked into has a body.
    pub(crate) fn expect_body(&mut self, body: Body) {
        if self.unread_head {
            (self.at, self.count) = match body {
                Body::Length(n) => (At::Body, u64::from(n)),
                Body::Chunked => (At::ChunkSize, 0),
                Body::Huge => (At::Opaque, 0),
            };
            self.unread_head = false;
        }
    }

    /// Follows what is, by its looks, a whole head of a request without a body, the next after so
    /// many. `false`, and nothing is done, if it is not, or not the time for one, or if
    /// [`counted_heads`](Self::counted_heads) would be another.
    #[inline]
    pub(crate) fn feed_whole_head(&mut self, bytes: &[u8], begun: u32) -> bool {
        let whole = self.at == At::Boundary && !self.counted && is_whole_head_without_body(bytes);
        if whole {
            self.fresh = false;
            self.unread_head = true;
            self.heads = (begun as u16).wrapping_add(1);
        }
        whole
    }

    /// Follows bytes that are about to be delivered; `true` if any of them belongs to a head that
    /// had not begun before. Heads are counted on from the exchanges that have begun, if this is
    /// between requests: one for which no exchange was begun is not counted.
    ///
    /// A head that can be skipped is not looked into. For use when the engine comes to it before more
    /// is delivered: its body, if it has one, must be told by then.
    pub(crate) fn feed(&mut self, bytes: &[u8], begun: u32) -> bool {
        self.counted = false;
        if self.feed_whole_head(bytes, begun) {
            return true;
        }
        if self.at == At::Boundary {
            self.heads = begun as u16;
        }
        self.feed_ahead(bytes)
    }

    /// The same for bytes that are read ahead of the exchange that is open: looks into every head,
    /// since its body may be delivered before anyone tells of it.
    pub(crate) fn feed_ahead(&mut self, bytes: &[u8]) -> bool {
        self.counted = true;
        self.unread_head = false;
        let mut began = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            began |= self.at == At::Boundary && !matches!(rest[0], b'\r' | b'\n');
            rest = self.step(rest);
        }
        began
    }

    /// Consumes at least one byte, as many as belong together.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (byte, rest) = (bytes[0], &bytes[1..]);
        match self.at {
            At::Boundary => {
                if self.fresh && byte == PREFACE[0] {
                    self.at = At::Preface(1);
                } else if !matches!(byte, b'\r' | b'\n') {
                    self.chunked = false;
                    self.count = 0;
                    self.at = At::Line;
                }
                self.fresh = false;
                rest
            }
            At::Line => self.skip_line(bytes, At::LineStart),
            At::LineStart => {
                match byte.to_ascii_lowercase() {
                    b'\n' => self.head_ended(),
                    b'\r' => self.at = At::LineStartCr,
                    b'c' => self.at = At::Name(Field::ContentLength, 1),
                    b't' => self.at = At::Name(Field::TransferEncoding, 1),
                    _ => self.at = At::Line,
                }
                rest
            }
            At::LineStartCr => {
                if byte == b'\n' {
                    self.head_ended();
                } else {
                    self.at = At::Line;
                }
                rest
            }
            At::Name(field, matched) => {
                let name = field.name();
                if byte.to_ascii_lowercase() != name[usize::from(matched)] {
                    self.at = At::Line;
                    return bytes;
                }
                self.at = match (field, usize::from(matched) + 1 == name.len()) {
                    (_, false) => At::Name(field, matched + 1),
                    (Field::ContentLength, true) => {
                        self.count = 0;
                        At::Length
                    }
                    (Field::TransferEncoding, true) => {
                        self.chunked = true;
                        At::Line
                    }
                };
                rest
            }
            At::Length => match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    self.count = self.count.saturating_mul(10).saturating_add(digit);
                    rest
                }
                b' ' | b'\t' => rest,
                _ => {
                    self.at = At::Line;
                    bytes
                }
            },
            At::Body => self.skip_data(bytes, At::Boundary),
            At::ChunkSize => match (byte as char).to_digit(16) {
                Some(digit) => {
                    self.count = self.count.saturating_mul(16) | u64::from(digit);
                    rest
                }
                None => {
                    self.at = At::ChunkExtension;
                    bytes
                }
            },
            At::ChunkExtension => {
                let next = match self.count {
                    0 => At::TrailerStart,
                    _ => At::ChunkData,
                };
                self.skip_line(bytes, next)
            }
            At::ChunkData => self.skip_data(bytes, At::ChunkEnd),
            At::ChunkEnd => {
                self.count = 0;
                self.skip_line(bytes, At::ChunkSize)
            }
            At::TrailerStart => {
                self.at = match byte {
                    b'\n' => At::Boundary,
                    b'\r' => At::TrailerStartCr,
                    _ => At::Trailer,
                };
                rest
            }
            At::TrailerStartCr => {
                self.at = if byte == b'\n' {
                    At::Boundary
                } else {
                    At::Trailer
                };
                rest
            }
            At::Trailer => self.skip_line(bytes, At::TrailerStart),
            At::Preface(matched) => {
                let matched = usize::from(matched);
                if byte == PREFACE[matched] {
                    self.at = if matched + 1 == PREFACE.len() {
                        At::FirstFrame(0)
                    } else {
                        At::Preface(matched as u8 + 1)
                    };
                    rest
                } else {
                    // Not HTTP/2 after all: no line of a head ends before the preface differs from
                    // it, except in the preface itself, which is no request.
                    self.chunked = false;
                    self.count = 0;
                    self.at = At::Line;
                    bytes
                }
            }
            At::FirstFrame(seen) => {
                self.at = match seen {
                    3 if byte != SETTINGS => At::Opaque,
                    _ if seen + 1 == FRAME_HEAD => At::Http2,
                    _ => At::FirstFrame(seen + 1),
                };
                rest
            }
            At::Http2 | At::Opaque => &[],
        }
    }

    fn skip_line<'a>(&mut self, bytes: &'a [u8], next: At) -> &'a [u8] {
        match bytes.iter().position(|&b| b == b'\n') {
            Some(end) => {
                self.at = next;
                &bytes[end + 1..]
            }
            None => &[],
        }
    }

    fn skip_data<'a>(&mut self, bytes: &'a [u8], then: At) -> &'a [u8] {
        if (bytes.len() as u64) < self.count {
            self.count -= bytes.len() as u64;
            return &[];
        }
        self.at = then;
        &bytes[self.count as usize..]
    }

    const fn head_ended(&mut self) {
        self.heads = self.heads.wrapping_add(1);
        self.at = if self.chunked {
            self.count = 0;
            At::ChunkSize
        } else if self.count > 0 {
            At::Body
        } else {
            At::Boundary
        };
    }
}

/// The common case, told without following every byte: a request that by its method should have no
/// body, and that ends with its head. Several requests are none, although they may end like one.
#[inline]
fn is_whole_head_without_body(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'G' | b'H' | b'O' | b'D'))
        && bytes.ends_with(HEAD_END)
        && !may_hold_empty_line(&bytes[..bytes.len() - HEAD_END.len() + 1])
}

/// Whether anything in it looks like the end of an empty line: many bytes at a time, of which
/// compilers make a few vector operations, if they see this alone.
#[inline(never)]
fn may_hold_empty_line(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<33>() else {
        return bytes.windows(2).any(|pair| may_be_empty(pair[0], pair[1]));
    };
    let mut rest = bytes;
    while let Some(block) = rest.first_chunk::<65>() {
        if block_may_hold_empty_line(block) {
            return true;
        }
        rest = &rest[64..];
    }
    match rest.first_chunk::<33>() {
        Some(first) => block_may_hold_empty_line(first) || block_may_hold_empty_line(last),
        None => block_may_hold_empty_line(last),
    }
}

#[inline]
fn block_may_hold_empty_line<const N: usize>(block: &[u8; N]) -> bool {
    let pairs = block[..N - 1].iter().zip(&block[1..]);
    pairs.fold(false, |found, (&a, &b)| found | may_be_empty(a, b))
}

/// Whether a line ends here and the next one is empty, or begins as no header field does: with one
/// comparison for CR and LF.
#[inline]
const fn may_be_empty(end: u8, next: u8) -> bool {
    (end == b'\n') & ((next as i8) <= b'\r' as i8)
}

#[cfg(test)]
mod tests;

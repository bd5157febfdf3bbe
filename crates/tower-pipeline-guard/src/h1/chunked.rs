//! The chunked transfer coding (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::lines::HeadEnd;
use super::{DecodeError, Limits, MAX_FIELDS};

/// A chunk size line without extensions: 16 digits, white space a peer may put behind them, CRLF.
const SIZE_LINE: usize = 16 + 16 + 2;

#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers(HeadEnd),
}

#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The body is complete; with what the trailer section said.
    End(HeaderMap),
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Size,
            extensions: 0,
        }
    }

    pub(super) fn decode(
        &mut self,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Piece>, DecodeError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some(size) = self.size(input, limits)? else {
                        return Ok(None);
                    };
                    self.state = match size {
                        0 => State::Trailers(HeadEnd::default()),
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = usize::try_from(*left).map_or(input.len(), |n| n.min(input.len()));
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(Some(Piece::Data(input.split_to(take).freeze())));
                }
                State::DataEnd => {
                    if !b"\r\n".starts_with(&input[..input.len().min(2)]) {
                        return Err(DecodeError::ChunkEnd);
                    }
                    if input.len() < 2 {
                        return Ok(None);
                    }
                    input.advance(2);
                    self.state = State::Size;
                }
                State::Trailers(end) => return trailers(end, input, limits),
            }
        }
    }

    fn size(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<u64>, DecodeError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        if !first.is_ascii_hexdigit() {
            return Err(DecodeError::ChunkSize);
        }
        let room = SIZE_LINE + limits.chunk_extensions - self.extensions;
        let Some(newline) = memchr::memchr(b'\n', &input[..input.len().min(room)]) else {
            return if input.len() < room {
                Ok(None)
            } else {
                Err(DecodeError::ChunkExtensions)
            };
        };
        let line = &input[..=newline];
        if line.iter().filter(|&&byte| byte == b'\r').count() != 1 {
            return Err(DecodeError::ChunkSize);
        }
        let Ok(httparse::Status::Complete((length, size))) = httparse::parse_chunk_size(line)
        else {
            return Err(DecodeError::ChunkSize);
        };
        if length != line.len() {
            return Err(DecodeError::ChunkSize);
        }
        if let Some(semicolon) = memchr::memchr(b';', line) {
            self.extensions += line.len() - semicolon;
            if self.extensions > limits.chunk_extensions {
                return Err(DecodeError::ChunkExtensions);
            }
        }
        input.advance(length);
        Ok(Some(size))
    }
}

fn trailers(
    end: &mut HeadEnd,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Piece>, DecodeError> {
    let found = end.find(input).map_err(|_| DecodeError::LoneLf)?;
    if found.unwrap_or(input.len()) > limits.trailers {
        return Err(DecodeError::Trailers);
    }
    let Some(length) = found else {
        return Ok(None);
    };
    let section = input.split_to(length).freeze();
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let fields = &mut fields[..limits.fields.min(MAX_FIELDS)];
    match httparse::parse_headers(&section, fields) {
        Ok(httparse::Status::Complete((parsed, fields))) if parsed == length => {
            fields_of(&section, fields)
                .map(|map| Some(Piece::End(map)))
                .ok_or(DecodeError::Trailers)
        }
        _ => Err(DecodeError::Trailers),
    }
}

/// The fields of a section as a map; `None` if a name or a value is not allowed. Values are not copied.
pub(super) fn fields_of(section: &Bytes, fields: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        map.append(
            HeaderName::from_bytes(field.name.as_bytes()).ok()?,
            HeaderValue::from_maybe_shared(section.slice_ref(field.value)).ok()?,
        );
    }
    Some(map)
}

//! Finds the end of one message in a growing buffer. No IO and no clock.

use bytes::Bytes;

use super::{Ended, Fields, Framing, RawMessage};

/// Which side's messages are decoded; a response's framing depends on the method it answers.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Request,
    Response { method: String },
}

/// Where the decoder stands in the buffer that it is shown again and again.
#[derive(Debug)]
pub(super) struct Decoder {
    kind: Kind,
    state: State,
    pos: usize,
    head_len: usize,
    start_line: Bytes,
    fields: Fields,
    framing: Framing,
    chunked_body: Vec<u8>,
    chunks: Vec<u64>,
    trailers: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length { end: usize },
    ChunkSize,
    ChunkData { left: usize },
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

type Step<T> = Result<Option<T>, &'static str>;

impl Decoder {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Head,
            pos: 0,
            head_len: 0,
            start_line: Bytes::new(),
            fields: Fields::default(),
            framing: Framing::None,
            chunked_body: Vec::new(),
            chunks: Vec::new(),
            trailers: Fields::default(),
        }
    }

    pub(super) fn head_done(&self) -> bool {
        self.state != State::Head
    }

    pub(super) fn head_len(&self) -> usize {
        self.head_len
    }

    /// Whether this decoder, set aside inside a body, is the one to go on with.
    pub(super) fn continues(&self, kind: &Kind) -> bool {
        self.head_done() && matches!(self.kind, Kind::Request) == matches!(kind, Kind::Request)
    }

    /// Whether the end of a line is what it waits for. Lines are read again from their start at each turn, so that
    /// they need a bound of their own.
    pub(super) fn waits_for_line(&self) -> bool {
        matches!(
            self.state,
            State::Head | State::ChunkSize | State::ChunkEnd | State::Trailers
        )
    }

    /// How many bytes of the buffer belong to the message so far.
    pub(super) fn consumed(&self) -> usize {
        self.pos
    }

    /// Reads on; `true` when the message is complete. `buf` starts at the message's first byte and only grows.
    pub(super) fn advance(&mut self, buf: &[u8]) -> Result<bool, &'static str> {
        loop {
            let next = match self.state {
                State::Head => self.head(buf)?,
                State::Length { end } => {
                    self.pos = buf.len().min(end);
                    (self.pos == end).then_some(State::Done)
                }
                State::ChunkSize => self.chunk_size(buf)?,
                State::ChunkData { left } => self.chunk_data(buf, left),
                State::ChunkEnd => match line(buf, self.pos)? {
                    Some((b"", next)) => {
                        self.pos = next;
                        Some(State::ChunkSize)
                    }
                    Some(_) => return Err("a chunk is longer than its size says"),
                    None => None,
                },
                State::Trailers => self.trailers(buf)?,
                State::UntilClose => {
                    self.pos = buf.len();
                    None
                }
                State::Done => return Ok(true),
            };
            match next {
                Some(state) => self.state = state,
                None => return Ok(false),
            }
        }
    }

    /// The message out of its bytes; `ended` if the connection ended before the decoder was satisfied.
    pub(super) fn finish(self, raw: Bytes, ended: Option<Ended>) -> RawMessage {
        let body = match self.framing {
            Framing::Chunked => self.chunked_body.into(),
            _ => raw.slice(self.head_len.min(raw.len())..),
        };
        let complete = match self.state {
            State::Done => true,
            State::UntilClose => ended == Some(Ended::Fin),
            _ => false,
        };
        RawMessage {
            raw,
            start_line: self.start_line,
            fields: self.fields,
            framing: self.framing,
            body,
            chunks: self.chunks,
            trailers: self.trailers,
            complete,
        }
    }

    /// The head alone, the body still to come.
    pub(super) fn head_only(&self, raw: Bytes) -> RawMessage {
        RawMessage {
            raw,
            start_line: self.start_line.clone(),
            fields: self.fields.clone(),
            framing: self.framing,
            body: Bytes::new(),
            chunks: Vec::new(),
            trailers: Fields::default(),
            complete: matches!(self.framing, Framing::None | Framing::Length(0)),
        }
    }

    fn head(&mut self, buf: &[u8]) -> Step<State> {
        // A head is short; reading it again from its start at each turn keeps this simple.
        let Some((start, mut at)) = line(buf, 0)? else {
            return Ok(None);
        };
        if start.is_empty() {
            return Err("an empty line where a start line was expected");
        }
        let Some((fields, end)) = field_lines(buf, at)? else {
            return Ok(None);
        };
        at = end;
        self.start_line = Bytes::copy_from_slice(start);
        self.fields = fields;
        self.pos = at;
        self.head_len = at;
        self.framing = framing(&self.kind, &self.start_line, &self.fields)?;
        Ok(Some(match self.framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::Length {
                end: usize::try_from(length)
                    .ok()
                    .and_then(|length| length.checked_add(at))
                    .ok_or("Content-Length is beyond this machine")?,
            },
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        }))
    }

    fn chunk_size(&mut self, buf: &[u8]) -> Step<State> {
        let Some((text, next)) = line(buf, self.pos)? else {
            return Ok(None);
        };
        let digits = text.split(|&byte| byte == b';').next().unwrap_or_default();
        let digits = digits.trim_ascii_end();
        let size = (!digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
            .then(|| std::str::from_utf8(digits).ok())
            .flatten()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or("not a chunk size")?;
        self.pos = next;
        if size == 0 {
            return Ok(Some(State::Trailers));
        }
        self.chunks.push(size as u64);
        Ok(Some(State::ChunkData { left: size }))
    }

    fn chunk_data(&mut self, buf: &[u8], left: usize) -> Option<State> {
        let take = left.min(buf.len() - self.pos);
        self.chunked_body
            .extend_from_slice(&buf[self.pos..self.pos + take]);
        self.pos += take;
        if take == left {
            return Some(State::ChunkEnd);
        }
        self.state = State::ChunkData { left: left - take };
        None
    }

    fn trailers(&mut self, buf: &[u8]) -> Step<State> {
        let Some((fields, end)) = field_lines(buf, self.pos)? else {
            return Ok(None);
        };
        self.trailers = fields;
        self.pos = end;
        Ok(Some(State::Done))
    }
}

/// The line at `at` without its CRLF, and where the next one starts.
fn line(buf: &[u8], at: usize) -> Step<(&[u8], usize)> {
    let rest = &buf[at..];
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
        return Ok(None);
    };
    match rest[..end].split_last() {
        Some((b'\r', line)) => Ok(Some((line, at + end + 1))),
        _ => Err("a line ends in a bare LF"),
    }
}

/// Field lines up to and with the empty line.
fn field_lines(buf: &[u8], mut at: usize) -> Step<(Fields, usize)> {
    let mut fields = Fields::default();
    loop {
        let Some((text, next)) = line(buf, at)? else {
            return Ok(None);
        };
        at = next;
        if text.is_empty() {
            return Ok(Some((fields, at)));
        }
        if matches!(text[0], b' ' | b'\t') {
            return Err("a folded field line");
        }
        let colon = text
            .iter()
            .position(|&byte| byte == b':')
            .filter(|&colon| colon > 0)
            .ok_or("a field line without a name")?;
        fields.push(
            Bytes::copy_from_slice(&text[..colon]),
            Bytes::copy_from_slice(text[colon + 1..].trim_ascii()),
        );
    }
}

/// RFC 9112 6.3.
fn framing(kind: &Kind, start_line: &[u8], fields: &Fields) -> Result<Framing, &'static str> {
    if let Kind::Response { method } = kind {
        let status = super::message::status(start_line).ok_or("not a status line")?;
        let bodiless = matches!(status, 100..=199 | 204 | 304);
        let tunnel = method == "CONNECT" && matches!(status, 200..=299);
        if method == "HEAD" || bodiless || tunnel {
            return Ok(Framing::None);
        }
    }
    if fields.contains("transfer-encoding") {
        let codings = fields.tokens("transfer-encoding");
        return match (codings.last().map(String::as_str), kind) {
            (Some("chunked"), _) => Ok(Framing::Chunked),
            (_, Kind::Response { .. }) => Ok(Framing::UntilClose),
            (_, Kind::Request) => Err("a request whose last transfer coding is not chunked"),
        };
    }
    let lengths = fields.tokens("content-length");
    match (lengths.first(), kind) {
        (Some(first), _) => {
            let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || lengths.iter().any(|other| other != first) {
                return Err("Content-Length is not one number");
            }
            let length = first
                .parse()
                .map_err(|_| "Content-Length is beyond 64 bits")?;
            Ok(Framing::Length(length))
        }
        (None, _) if fields.contains("content-length") => Err("an empty Content-Length"),
        (None, Kind::Request) => Ok(Framing::None),
        (None, Kind::Response { .. }) => Ok(Framing::UntilClose),
    }
}

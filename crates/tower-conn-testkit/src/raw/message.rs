use std::{fmt, ops::Deref};

use bytes::Bytes;

use super::{Fields, RawError};

/// How the end of a message's body was found (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// No body by rule: a request without framing fields, an answer to HEAD, 1xx, 204, 304, or a
    /// 2xx answer to CONNECT. What follows belongs to the next message or to the tunnel.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding` ending in `chunked`.
    Chunked,
    /// A response that lasts until the connection ends.
    UntilClose,
}

/// One HTTP/1 message as it was on the wire. [`RawRequest`] and [`RawResponse`] dereference to it.
#[derive(Clone)]
pub struct RawMessage {
    /// Every byte of the message, from the start line to the last byte of body or trailers.
    pub raw: Bytes,
    /// The first line without its CRLF.
    pub start_line: Bytes,
    /// The header lines.
    pub fields: Fields,
    /// How the end of the body was found.
    pub framing: Framing,
    /// The body without chunk framing.
    pub body: Bytes,
    /// The size of each chunk of a chunked body, the last one (0) not counted.
    pub chunks: Vec<u64>,
    /// The trailer lines of a chunked body.
    pub trailers: Fields,
    /// Whether the message came to its proper end. `false`: the connection ended inside the body,
    /// or a body that lasts until the close was ended by a reset.
    pub complete: bool,
}

impl RawMessage {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The members of a list field: `tokens("connection")`. See [`Fields::tokens`].
    #[must_use]
    pub fn tokens(&self, name: &str) -> Vec<String> {
        self.fields.tokens(name)
    }

    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field(
                "start_line",
                &format_args!("{}", self.start_line.escape_ascii()),
            )
            .field("fields", &self.fields)
            .field("framing", &self.framing)
            .field("body", &self.body)
            .field("trailers", &self.trailers)
            .field("complete", &self.complete)
            .finish()
    }
}

impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("RawMessage", f)
    }
}

/// A request as a server sees it on the wire.
#[derive(Clone)]
pub struct RawRequest {
    /// The method, in the case of the wire.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `HTTP/1.1`, as on the wire.
    pub version: String,
    /// Everything else.
    pub message: RawMessage,
}

impl RawRequest {
    pub(super) fn parse(message: RawMessage) -> Result<Self, RawError> {
        let line = latin1(&message.start_line);
        match line.split(' ').collect::<Vec<_>>()[..] {
            [method, target, version] if is_version(version) => Ok(Self {
                method: method.to_owned(),
                target: target.to_owned(),
                version: version.to_owned(),
                message,
            }),
            _ => Err(RawError::Malformed {
                reason: "not a request line",
                unread: message.raw,
            }),
        }
    }
}

impl Deref for RawRequest {
    type Target = RawMessage;

    fn deref(&self) -> &RawMessage {
        &self.message
    }
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt_as("RawRequest", f)
    }
}

/// A response as a client sees it on the wire.
#[derive(Clone)]
pub struct RawResponse {
    /// `HTTP/1.1`, as on the wire.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: String,
    /// Everything else.
    pub message: RawMessage,
}

impl RawResponse {
    pub(super) fn parse(message: RawMessage) -> Result<Self, RawError> {
        let line = latin1(&message.start_line);
        let mut parts = line.splitn(3, ' ');
        match (parts.next(), status(&message.start_line)) {
            (Some(version), Some(status)) => Ok(Self {
                version: version.to_owned(),
                status,
                reason: parts.nth(1).unwrap_or_default().to_owned(),
                message,
            }),
            _ => Err(RawError::Malformed {
                reason: "not a status line",
                unread: message.raw,
            }),
        }
    }
}

impl Deref for RawResponse {
    type Target = RawMessage;

    fn deref(&self) -> &RawMessage {
        &self.message
    }
}

impl fmt::Debug for RawResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt_as("RawResponse", f)
    }
}

/// The status code of a status line (RFC 9112 4), the reason phrase and its space left out or not.
pub(super) fn status(start_line: &[u8]) -> Option<u16> {
    let line = latin1(start_line);
    let mut parts = line.splitn(3, ' ');
    let version = parts.next()?;
    let code = parts.next()?;
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    (is_version(version) && digits)
        .then(|| code.parse().ok())
        .flatten()
}

fn is_version(text: &str) -> bool {
    matches!(text.as_bytes(), [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

//! The `Keep-Alive` field: `timeout` and `max` (RFC 2068 section 19.7.1.1, draft-thomson-hybi-http-timeout).

use std::fmt::{self, Write as _};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use http::{Response, Version};
use tower_conn_core::names::KEEP_ALIVE;
use tower_conn_core::options::{has_connection_option, trim_ows};

/// What the other side announces about an idle connection.
///
/// Both members are optional, and a field that cannot be understood is no hint: nothing here fails.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue};
/// use tower_keep_alive::KeepAliveHint;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("keep-alive", HeaderValue::from_static("max=100, Timeout = \"5\", x=y"));
/// let hint = KeepAliveHint::parse(&headers);
/// assert_eq!(hint.timeout(), Some(Duration::from_secs(5)));
/// assert_eq!(hint.max(), Some(100));
/// assert_eq!(hint.to_string(), "timeout=5, max=100");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeepAliveHint {
    timeout: Option<Duration>,
    max: Option<u32>,
}

impl KeepAliveHint {
    /// No hint.
    pub const NONE: Self = Self::new(None, None);

    /// A hint from its members.
    #[must_use]
    pub const fn new(timeout: Option<Duration>, max: Option<u32>) -> Self {
        Self { timeout, max }
    }

    /// Reads every `Keep-Alive` line, whatever the message says otherwise.
    ///
    /// Names are case-insensitive and may come in any order; white space may stand around everything;
    /// a value may be quoted. A time may have a fraction, which is cut off, and end in `s`. A parameter
    /// with any other value, or one too large to be a number here, is passed over, as are unknown
    /// ones; of several the smallest counts.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut hint = Self::NONE;
        for line in headers.get_all(KEEP_ALIVE) {
            for parameter in Parameters(line.as_bytes()) {
                hint.take(parameter);
            }
        }
        hint
    }

    /// The hint of a response, for the client that received it.
    ///
    /// None above HTTP/1.1, where the field is malformed and says nothing about the shared connection,
    /// and none beside `Connection: close`. A response without `Connection: keep-alive` is taken at
    /// its word: the hint can only make an idle connection go earlier. RFC 2068 has it ignored;
    /// that is [`strict`](Self::strict).
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Self {
        let headers = response.headers();
        if response.version() > Version::HTTP_11
            || !headers.contains_key(KEEP_ALIVE)
            || has_connection_option(headers, "close")
        {
            return Self::NONE;
        }
        Self::parse(headers)
    }

    /// Like [`of`](Self::of), and none unless the response carries `Connection: keep-alive`
    /// (RFC 2068 section 19.7.1.1).
    #[must_use]
    pub fn strict<B>(response: &Response<B>) -> Self {
        if has_connection_option(response.headers(), "keep-alive") {
            Self::of(response)
        } else {
            Self::NONE
        }
    }

    /// How long the other side says it leaves an idle connection open.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// How many more requests the other side says it takes on the connection.
    #[must_use]
    pub const fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether nothing is announced.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.timeout.is_none() && self.max.is_none()
    }

    /// The field value that announces this hint; `None` if there is nothing to announce.
    #[must_use]
    pub fn to_value(&self) -> Option<HeaderValue> {
        if self.is_none() {
            return None;
        }
        let mut text = Text::new();
        write!(text, "{self}").ok()?;
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }

    fn take(&mut self, parameter: &[u8]) {
        let Some(at) = parameter.iter().position(|&byte| byte == b'=') else {
            return;
        };
        let (name, value) = (trim_ows(&parameter[..at]), unquote(&parameter[at + 1..]));
        if name.eq_ignore_ascii_case(b"timeout") {
            let seconds = value.and_then(seconds).map(Duration::from_secs);
            self.timeout = smallest(self.timeout, seconds);
        } else if name.eq_ignore_ascii_case(b"max") {
            let max = value.and_then(digits).and_then(|max| max.try_into().ok());
            self.max = smallest(self.max, max);
        }
    }
}

impl fmt::Display for KeepAliveHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.timeout, self.max) {
            (Some(timeout), Some(max)) => write!(f, "timeout={}, max={max}", timeout.as_secs()),
            (Some(timeout), None) => write!(f, "timeout={}", timeout.as_secs()),
            (None, Some(max)) => write!(f, "max={max}"),
            (None, None) => Ok(()),
        }
    }
}

pub(crate) fn smallest<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What stands between the quotes, or the value as it is; `None` if the quotes do not match.
fn unquote(value: &[u8]) -> Option<&[u8]> {
    match trim_ows(value) {
        [b'"', inner @ .., b'"'] => Some(trim_ows(inner)),
        [b'"', ..] => None,
        value => Some(value),
    }
}

fn seconds(value: &[u8]) -> Option<u64> {
    let value = value
        .strip_suffix(b"s")
        .or_else(|| value.strip_suffix(b"S"))
        .unwrap_or(value);
    match value.iter().position(|&byte| byte == b'.') {
        Some(at) => digits(&value[at + 1..]).and_then(|_| digits(&value[..at])),
        None => digits(value),
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The members of one line, split at commas that stand outside quotes.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        for (at, &byte) in self.0.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    let parameter = &self.0[..at];
                    self.0 = &self.0[at + 1..];
                    return Some(parameter);
                }
                _ => {}
            }
        }
        Some(std::mem::take(&mut self.0))
    }
}

/// The text of a field value, without an allocation of its own. Room for the longest: 18 characters of
/// names, 20 digits of seconds and 10 of requests.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self {
            bytes: [0; 48],
            len: 0,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! `Via`: which protocol a message came in, and through whom (RFC 9110 section 7.6.3).

mod layer;
mod loop_guard;
mod service;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};
use tower_conn_core::options::is_token;

pub use self::layer::ViaLayer;
pub use self::loop_guard::{LoopGuard, LoopGuardFuture, LoopGuardLayer};
pub use self::service::{Via, ViaFuture};
use crate::error::ConfigError;

/// The entries that one intermediary adds, ready made.
#[derive(Clone, Debug)]
pub struct ViaEntry {
    http09: HeaderValue,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
    http3: HeaderValue,
}

// ===== impl ViaEntry =====

impl ViaEntry {
    /// The entries of an intermediary of this name: a pseudonym, or `host[:port]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidPseudonym`] if it is neither.
    pub fn new(received_by: &str) -> Result<Self, ConfigError> {
        // A comma or a parenthesis, which an authority may have, would start an entry or a comment.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~%:[]".contains(&byte);
        let is_host = received_by.bytes().all(is_plain)
            && received_by.parse::<http::uri::Authority>().is_ok();
        if !is_token(received_by.as_bytes()) && !is_host {
            return Err(ConfigError::InvalidPseudonym);
        }
        let entry = |version: &str| {
            HeaderValue::try_from(format!("{version} {received_by}"))
                .map_err(|_| ConfigError::InvalidPseudonym)
        };
        Ok(Self {
            http09: entry("0.9")?,
            http10: entry("1.0")?,
            http11: entry("1.1")?,
            http2: entry("2.0")?,
            http3: entry("3.0")?,
        })
    }

    /// Adds the entry for a message that was *received* in this version, behind those of other
    /// intermediaries, which stay as they are.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, Version};
    /// use tower_hop_by_hop::ViaEntry;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("via", HeaderValue::from_static("1.0 fred"));
    /// ViaEntry::new("edge").unwrap().add_to(&mut headers, Version::HTTP_2);
    /// assert_eq!(headers.get_all("via").iter().collect::<Vec<_>>(), ["1.0 fred", "2.0 edge"]);
    /// ```
    pub fn add_to(&self, headers: &mut HeaderMap, received: Version) {
        headers.append(VIA, self.of(received).clone());
    }

    /// The entry for a message received in this version. HTTP/2 and later have no minor version, which
    /// counts as 0 (RFC 9110 section 2.5).
    #[must_use]
    pub fn of(&self, received: Version) -> &HeaderValue {
        match received {
            Version::HTTP_09 => &self.http09,
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            Version::HTTP_3 => &self.http3,
            _ => &self.http11,
        }
    }

    /// How many entries in `Via` are of this intermediary: how often the message has passed it.
    ///
    /// Names are compared without case, and whatever the version; comments do not count.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue};
    /// use tower_hop_by_hop::ViaEntry;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("via", HeaderValue::from_static("1.1 edge, HTTP/2.0 Edge (of, edge), 1.1 edge2"));
    /// assert_eq!(ViaEntry::new("edge").unwrap().count_in(&headers), 2);
    /// ```
    #[must_use]
    pub fn count_in(&self, headers: &HeaderMap) -> usize {
        let lines = headers.get_all(VIA).iter();
        let received_by = lines.flat_map(|line| received_by(line.as_bytes()));
        let name = self.name();
        received_by
            .filter(|found| found.eq_ignore_ascii_case(name))
            .count()
    }

    fn name(&self) -> &[u8] {
        let entry = self.http11.as_bytes();
        entry.strip_prefix(b"1.1 ").unwrap_or(entry)
    }
}

/// Whom the entries of a line name: `protocol RWS received-by [ RWS comment ]`, between commas.
fn received_by(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut depth, mut escaped) = (0_usize, false);
    let entries = line.split(move |&byte| {
        // A comment may hold commas, comments and quoted pairs (RFC 9110 section 5.6.5).
        match byte {
            _ if escaped => escaped = false,
            b'\\' if depth > 0 => escaped = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' => return depth == 0,
            _ => {}
        }
        false
    });
    entries.filter_map(|entry| {
        let mut words = entry
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        words.nth(1)
    })
}

#[cfg(test)]
mod tests {
    use super::received_by;

    #[test]
    fn entries_are_told_apart_from_comments() {
        for (line, expected) in [
            ("1.1 a", &["a"][..]),
            ("1.0 fred, 1.1 p.example.net", &["fred", "p.example.net"]),
            ("HTTP/1.1 a:80 (b, 1.1 c) ,,\t2  d\t", &["a:80", "d"]),
            (r"1.1 a (\), 1.1 b), 1.1 c", &["a", "c"]),
            ("1.1 a (x (y, 1.1 z)), 1.1 b", &["a", "b"]),
            ("1.1 a), 1.1 b", &["a)", "b"]),
            ("1.1 a (open, 1.1 b", &["a"]),
            ("1.1, a", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> = received_by(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }
}

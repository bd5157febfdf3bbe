//! `Via`: which protocol a message came in, and through whom (RFC 9110 section 7.6.3).

mod layer;
mod service;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};
use tower_conn_core::options::is_token;

pub use self::layer::ViaLayer;
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
}

//! The fields known to belong to one hop, and finding them in a header section.

use std::fmt;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, AGE, ALLOW, ALT_SVC, AUTHORIZATION,
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, COOKIE, DATE, DNT, ETAG, EXPIRES, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LINK, LOCATION, ORIGIN, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE,
    REFERER, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, UPGRADE_INSECURE_REQUESTS, USER_AGENT, VARY, VIA,
};
use http::{HeaderMap, HeaderName};
use tower_conn_core::names::{
    HTTP2_SETTINGS, KEEP_ALIVE, PROXY_AUTHENTICATION_INFO, PROXY_CONNECTION,
};

/// A set of the field names that a strip may concern itself with by name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u16);

/// Header sections of up to this many names are walked; larger ones are probed name by name.
const WALKED: usize = 64;

/// The lengths of the names, one bit each.
const LENGTHS: u32 = 1 << 2
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 10
    | 1 << 14
    | 1 << 16
    | 1 << 17
    | 1 << 18
    | 1 << 19
    | 1 << 25;

static NAMES: [HeaderName; 15] = [
    CONNECTION,
    PROXY_CONNECTION,
    KEEP_ALIVE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATION_INFO,
    TRAILER,
    ALT_SVC,
    HeaderName::from_static("close"),
    CONTENT_LENGTH,
    COOKIE,
];

// ===== impl FieldSet =====

impl FieldSet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const CONNECTION: Self = Self(1);
    pub(crate) const PROXY_CONNECTION: Self = Self(1 << 1);
    pub(crate) const KEEP_ALIVE: Self = Self(1 << 2);
    pub(crate) const TE: Self = Self(1 << 3);
    pub(crate) const TRANSFER_ENCODING: Self = Self(1 << 4);
    pub(crate) const UPGRADE: Self = Self(1 << 5);
    pub(crate) const HTTP2_SETTINGS: Self = Self(1 << 6);
    pub(crate) const PROXY_AUTHENTICATE: Self = Self(1 << 7);
    pub(crate) const PROXY_AUTHORIZATION: Self = Self(1 << 8);
    pub(crate) const PROXY_AUTHENTICATION_INFO: Self = Self(1 << 9);
    pub(crate) const TRAILER: Self = Self(1 << 10);
    pub(crate) const ALT_SVC: Self = Self(1 << 11);
    pub(crate) const CLOSE: Self = Self(1 << 12);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 13);
    pub(crate) const COOKIE: Self = Self(1 << 14);

    /// Gone from every message, nominated or not.
    pub(crate) const ALWAYS: Self = Self::CONNECTION
        .or(Self::PROXY_CONNECTION)
        .or(Self::KEEP_ALIVE)
        .or(Self::TE)
        .or(Self::TRANSFER_ENCODING)
        .or(Self::UPGRADE)
        .or(Self::HTTP2_SETTINGS);

    /// What makes an HTTP/2 message malformed (RFC 9113 section 8.2.2); `TE` has a rule of its own.
    pub(crate) const NOT_IN_HTTP2: Self = Self::CONNECTION
        .or(Self::PROXY_CONNECTION)
        .or(Self::KEEP_ALIVE)
        .or(Self::TRANSFER_ENCODING)
        .or(Self::UPGRADE);

    pub(crate) const PROXY_AUTH: Self = Self::PROXY_AUTHENTICATE
        .or(Self::PROXY_AUTHORIZATION)
        .or(Self::PROXY_AUTHENTICATION_INFO);

    /// Options that may remove these fields; of the others in the table none is an option here.
    pub(crate) const OPTIONS: Self = Self::ALWAYS
        .or(Self::PROXY_AUTH)
        .or(Self::TRAILER)
        .or(Self::ALT_SVC)
        .or(Self::CLOSE);

    /// Not stripped by themselves.
    pub(crate) const HARMLESS: Self = Self::CLOSE.or(Self::CONTENT_LENGTH).or(Self::COOKIE);

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::EMPTY }
    }

    /// Whether no field is stripped for its name alone.
    pub(crate) const fn is_harmless(self) -> bool {
        self.without(Self::HARMLESS).is_empty()
    }

    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many names are in the set.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether a name is in the set.
    #[must_use]
    pub fn contains(self, name: &HeaderName) -> bool {
        self.intersects(Self::of_name(name))
    }

    /// The names in the set.
    pub fn iter(self) -> impl Iterator<Item = &'static HeaderName> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let name = NAMES.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(name)
        })
    }

    /// The set of this one name, in any case, or the empty set.
    ///
    /// Length and first byte leave at most one candidate, so that a name of no interest costs a few
    /// instructions.
    pub(crate) fn of(name: &[u8]) -> Self {
        let (candidate, set): (&[u8], Self) = match (name.len(), name) {
            (2, [b't' | b'T', ..]) => (b"te", Self::TE),
            (5, [b'c' | b'C', ..]) => (b"close", Self::CLOSE),
            (6, [b'c' | b'C', ..]) => (b"cookie", Self::COOKIE),
            (7, [b'a' | b'A', ..]) => (b"alt-svc", Self::ALT_SVC),
            (7, [b't' | b'T', ..]) => (b"trailer", Self::TRAILER),
            (7, [b'u' | b'U', ..]) => (b"upgrade", Self::UPGRADE),
            (10, [b'c' | b'C', ..]) => (b"connection", Self::CONNECTION),
            (10, [b'k' | b'K', ..]) => (b"keep-alive", Self::KEEP_ALIVE),
            (14, [b'c' | b'C', ..]) => (b"content-length", Self::CONTENT_LENGTH),
            (14, [b'h' | b'H', ..]) => (b"http2-settings", Self::HTTP2_SETTINGS),
            (16, [b'p' | b'P', ..]) => (b"proxy-connection", Self::PROXY_CONNECTION),
            (17, [b't' | b'T', ..]) => (b"transfer-encoding", Self::TRANSFER_ENCODING),
            (18, [b'p' | b'P', ..]) => (b"proxy-authenticate", Self::PROXY_AUTHENTICATE),
            (19, [b'p' | b'P', ..]) => (b"proxy-authorization", Self::PROXY_AUTHORIZATION),
            (25, [b'p' | b'P', ..]) => (
                b"proxy-authentication-info",
                Self::PROXY_AUTHENTICATION_INFO,
            ),
            _ => return Self::EMPTY,
        };
        if name.eq_ignore_ascii_case(candidate) {
            set
        } else {
            Self::EMPTY
        }
    }

    /// [`of`](Self::of) for a name in a header map. Most of these are frequent standard names, which
    /// `http` holds as a number: for them this is one load from a table.
    #[inline(always)]
    fn of_name(name: &HeaderName) -> Self {
        const UNLISTED: FieldSet = FieldSet(u16::MAX);
        let listed = match *name {
            CONNECTION => Self::CONNECTION,
            TE => Self::TE,
            TRANSFER_ENCODING => Self::TRANSFER_ENCODING,
            UPGRADE => Self::UPGRADE,
            PROXY_AUTHENTICATE => Self::PROXY_AUTHENTICATE,
            PROXY_AUTHORIZATION => Self::PROXY_AUTHORIZATION,
            TRAILER => Self::TRAILER,
            ALT_SVC => Self::ALT_SVC,
            CONTENT_LENGTH => Self::CONTENT_LENGTH,
            COOKIE => Self::COOKIE,
            ACCEPT
            | ACCEPT_ENCODING
            | ACCEPT_LANGUAGE
            | ACCEPT_RANGES
            | AGE
            | ALLOW
            | AUTHORIZATION
            | CACHE_CONTROL
            | CONTENT_ENCODING
            | CONTENT_SECURITY_POLICY
            | CONTENT_TYPE
            | DATE
            | DNT
            | ETAG
            | EXPIRES
            | HOST
            | IF_MODIFIED_SINCE
            | IF_NONE_MATCH
            | LAST_MODIFIED
            | LINK
            | LOCATION
            | ORIGIN
            | PRAGMA
            | RANGE
            | REFERER
            | SERVER
            | SET_COOKIE
            | STRICT_TRANSPORT_SECURITY
            | UPGRADE_INSECURE_REQUESTS
            | USER_AGENT
            | VARY
            | VIA => Self::EMPTY,
            _ => UNLISTED,
        };
        if listed != UNLISTED {
            return listed;
        }
        let text = name.as_str().as_bytes();
        if text.len() < 32 && LENGTHS >> text.len() & 1 == 1 {
            Self::of(text)
        } else {
            Self::EMPTY
        }
    }

    /// Which of the names are in a header section.
    pub(crate) fn found_in(headers: &HeaderMap) -> Self {
        if headers.keys_len() <= WALKED {
            Self::walk(headers)
        } else {
            Self::probe(headers)
        }
    }

    fn walk(headers: &HeaderMap) -> Self {
        let names = headers.keys();
        names.fold(Self::EMPTY, |found, name| found.or(Self::of_name(name)))
    }

    fn probe(headers: &HeaderMap) -> Self {
        NAMES
            .iter()
            .enumerate()
            .filter(|(_, name)| headers.contains_key(*name))
            .fold(Self::EMPTY, |found, (at, _)| found.or(Self(1 << at)))
    }

    /// Removes every line of these names, which are known to be there.
    pub(crate) fn remove_from(self, headers: &mut HeaderMap) {
        for name in self.iter() {
            headers.remove(name);
        }
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(HeaderName::as_str))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_near_miss() {
        for (at, name) in NAMES.iter().enumerate() {
            let (text, set) = (name.as_str(), FieldSet(1 << at));
            assert_eq!(FieldSet::of(text.as_bytes()), set, "{text}");
            assert_eq!(FieldSet::of(text.to_uppercase().as_bytes()), set, "{text}");
            assert!(set.contains(name));
            assert!(LENGTHS >> text.len() & 1 == 1, "{text}");
            let odd = HeaderName::from_bytes(format!("{text}z").as_bytes()).expect("a name");
            assert_eq!(FieldSet::of_name(&odd), FieldSet::EMPTY);
            for miss in [
                &text[1..],
                &text[..text.len() - 1],
                &format!("{text}s"),
                &format!("{}z", &text[..text.len() - 1]),
            ] {
                assert_eq!(FieldSet::of(miss.as_bytes()), FieldSet::EMPTY, "{miss}");
            }
        }
        assert_eq!(FieldSet::of(b""), FieldSet::EMPTY);
    }

    #[test]
    fn walking_and_probing_agree() {
        for chosen in 0..1u16 << NAMES.len() {
            let set = FieldSet(chosen);
            let mut headers = HeaderMap::new();
            headers.insert("x-other", HeaderValue::from_static("1"));
            for name in set.iter() {
                headers.append(name, HeaderValue::from_static("1"));
                headers.append(name, HeaderValue::from_static("2"));
            }
            assert_eq!(FieldSet::walk(&headers), set);
            assert_eq!(FieldSet::probe(&headers), set);
            assert_eq!(set.iter().count(), set.len());
            set.remove_from(&mut headers);
            assert_eq!(headers.len(), 1);
        }
    }
}

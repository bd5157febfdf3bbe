//! Which HTTP a connection speaks.

/// The client preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP, as far as a connection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// The protocol of an ALPN identifier, if it is one of those served here.
    pub(crate) fn of_alpn(identifier: &[u8]) -> Option<Self> {
        match identifier {
            b"h2" => Some(Self::Http2),
            b"http/1.1" | b"http/1.0" => Some(Self::Http1),
            _ => None,
        }
    }

    /// The protocol of a connection that begins with these bytes; `None` while it can be either.
    pub(super) fn of_first_bytes(bytes: &[u8]) -> Option<Self> {
        let common = bytes.len().min(PREFACE.len());
        if bytes[..common] != PREFACE[..common] {
            Some(Self::Http1)
        } else if common == PREFACE.len() {
            Some(Self::Http2)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_has_to_be_complete_and_whatever_differs_from_it_is_http1() {
        for n in 0..PREFACE.len() {
            assert_eq!(Protocol::of_first_bytes(&PREFACE[..n]), None, "{n} bytes");
            let mut other = PREFACE[..=n].to_vec();
            other[n] ^= 0x20;
            let found = Protocol::of_first_bytes(&other);
            assert_eq!(found, Some(Protocol::Http1), "{n} bytes");
        }
        let more = [PREFACE, b"more"].concat();
        assert_eq!(Protocol::of_first_bytes(PREFACE), Some(Protocol::Http2));
        assert_eq!(Protocol::of_first_bytes(&more), Some(Protocol::Http2));
        assert_eq!(Protocol::of_first_bytes(b"POST /"), Some(Protocol::Http1));
    }

    #[test]
    fn alpn_identifiers() {
        assert_eq!(Protocol::of_alpn(b"h2"), Some(Protocol::Http2));
        assert_eq!(Protocol::of_alpn(b"http/1.1"), Some(Protocol::Http1));
        assert_eq!(Protocol::of_alpn(b"h3"), None);
    }
}

//! Connection options: the members of the `Connection` field (RFC 9110 section 7.6.1).

use http::header::{CONNECTION, GetAll, HeaderValue};
use http::{HeaderMap, HeaderName};

/// Every non-empty member of every `Connection` line, in order, as bytes.
///
/// All lines count, not only the first. Values are read as bytes, so that a byte above 0x7F in one
/// member hides none of the others. Empty members are skipped (RFC 9110 section 5.6.1.2), white
/// space around members is trimmed, and what is left may still not be a [token](is_token).
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::CONNECTION};
/// use tower_conn_core::options::connection_options;
///
/// let mut headers = HeaderMap::new();
/// headers.append(CONNECTION, HeaderValue::from_static("keep-alive,, X-One"));
/// headers.append(CONNECTION, HeaderValue::from_bytes(b"\xff, X-Two").unwrap());
/// let all: Vec<&[u8]> = connection_options(&headers).collect();
/// assert_eq!(all, [&b"keep-alive"[..], b"X-One", b"\xff", b"X-Two"]);
/// ```
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list_members(headers, &CONNECTION)
}

/// Whether a connection option is there, in any case, on any line.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::CONNECTION};
/// use tower_conn_core::options::has_connection_option;
///
/// let mut headers = HeaderMap::new();
/// headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
/// headers.append(CONNECTION, HeaderValue::from_static("Close"));
/// assert!(has_connection_option(&headers, "close"));
/// assert!(!has_connection_option(&headers, "clo"));
/// ```
#[must_use]
pub fn has_connection_option(headers: &HeaderMap, option: &str) -> bool {
    connection_options(headers).any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
}

/// Every non-empty member of a list-valued field, over all its lines, in order, as bytes.
///
/// Members are split at commas and trimmed. Do not use it for fields whose members can hold a
/// quoted string with a comma in it.
pub fn list_members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    members_of(headers.get_all(name))
}

fn members_of<'a>(lines: GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    lines.into_iter().flat_map(|line| members(line.as_bytes()))
}

/// The non-empty members of one line of a list-valued field, like [`list_members`].
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',')
        .map(trim_ows)
        .filter(|member| !member.is_empty())
}

/// The bytes without leading and trailing optional white space: SP and HTAB (RFC 9110 section 5.6.3).
#[must_use]
pub const fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether the bytes are a token: one or more of the characters that a field name may have
/// (RFC 9110 section 5.6.2).
#[must_use]
pub const fn is_token(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !is_tchar(bytes[at]) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

const fn is_tchar(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                CONNECTION,
                HeaderValue::from_bytes(value).expect("a field value"),
            );
        }
        headers
    }

    #[test]
    fn an_empty_first_line_hides_nothing() {
        let headers = lines(&[b"", b"X-Private"]);
        assert!(has_connection_option(&headers, "x-private"));
    }

    #[test]
    fn white_space_is_space_and_tab_only() {
        let headers = lines(&[b" \tX-Foo ,\tX-Bar\t ,\xa0X-Baz"]);
        let all: Vec<_> = connection_options(&headers).collect();
        assert_eq!(all, [&b"X-Foo"[..], b"X-Bar", b"\xa0X-Baz"]);
    }

    #[test]
    fn members_are_compared_whole() {
        let headers = lines(&[b"not-close, closed, keep alive"]);
        assert!(!has_connection_option(&headers, "close"));
        assert!(!has_connection_option(&headers, "alive"));
    }

    #[test]
    fn tokens_are_the_characters_of_field_names() {
        assert!(is_token(b"X-Forwarded-For."));
        assert!(is_token(b"!#$%&'*+-.^_`|~09azAZ"));
        for bad in [
            &b""[..],
            b"has space",
            b":path",
            b"@x",
            b"\"q\"",
            b"a\xff",
            b"a/b",
            b"a=b",
        ] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}

//! `Transfer-Encoding`.

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Version};

use super::FramingError;
use crate::options::{is_token, trim_ows};

/// What the transfer codings of a message say about its end.
pub(super) enum Codings {
    None,
    EndsChunked,
    Other,
}

/// Reads `Transfer-Encoding`.
pub(super) fn codings(version: Version, headers: &HeaderMap) -> Result<Codings, FramingError> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Codings::None);
    }
    if version < Version::HTTP_11 {
        return Err(FramingError::CodingInHttp10);
    }
    let (mut chunked, mut last) = (0, false);
    for line in headers.get_all(TRANSFER_ENCODING) {
        // Not `list_members`: an empty member is not a coding, and others take it for the last one.
        for coding in line.as_bytes().split(|&byte| byte == b',').map(trim_ows) {
            if !is_coding(coding) {
                return Err(FramingError::InvalidCoding);
            }
            last = coding.eq_ignore_ascii_case(b"chunked");
            chunked += u32::from(last);
        }
    }
    match (chunked, last) {
        (2.., _) => Err(FramingError::ChunkedTwice),
        (1, true) => Ok(Codings::EndsChunked),
        _ => Ok(Codings::Other),
    }
}

/// Whether this is a transfer coding (RFC 9112 section 7), without quoted parameters: nobody sends
/// them, and their commas do not separate members.
fn is_coding(member: &[u8]) -> bool {
    let mut parts = member.splitn(2, |&byte| byte == b';');
    let name = parts.next().map(trim_ows).unwrap_or_default();
    let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~') && *byte != b'"';
    is_token(name)
        && parts
            .next()
            .is_none_or(|parameters| parameters.iter().all(plain))
}

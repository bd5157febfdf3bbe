//! `Content-Length`.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::FramingError;
use crate::options::trim_ows;

/// The value of `Content-Length`; repeated equal values count as one (RFC 9110 section 8.6).
///
/// # Errors
///
/// [`FramingError::InvalidLength`] or [`FramingError::ConflictingLengths`].
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        // Not `list_members`: an empty member is not a length, and others refuse it.
        for member in line.as_bytes().split(|&byte| byte == b',') {
            let value = parse_decimal(trim_ows(member)).ok_or(FramingError::InvalidLength)?;
            match length {
                Some(first) if first != value => return Err(FramingError::ConflictingLengths),
                _ => length = Some(value),
            }
        }
    }
    Ok(length)
}

fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

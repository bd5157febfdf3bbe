//! The `Retry-After` field.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use tower_conn_core::options::trim_ows;

/// What a response says about when to come back (RFC 9110 section 10.2.3).
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_idempotent_retry::RetryAfter;
///
/// assert_eq!(RetryAfter::parse(b"120"), Some(RetryAfter::Delay(Duration::from_secs(120))));
/// assert_eq!(RetryAfter::parse(b"-1"), None);
///
/// let date = RetryAfter::parse(b"Thu, 01 Jan 1970 00:01:00 GMT").unwrap();
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20);
/// assert_eq!(date.delay(now), Duration::from_secs(40));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the field has these two forms")]
pub enum RetryAfter {
    /// `delay-seconds`. A number too large for 64 bits is the largest delay there is.
    Delay(Duration),
    /// An HTTP date, in the preferred or one of the two obsolete forms (RFC 9110 section 5.6.7).
    At(SystemTime),
}

/// Longer values are not read: the longest valid date has 33 bytes (RFC 850), and a number with
/// more digits than this says nothing more.
const LONGEST: usize = 64;

impl RetryAfter {
    /// Reads a field value; `None` if it is neither form. White space around the value is ignored.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = trim_ows(value);
        if value.is_empty() || value.len() > LONGEST {
            return None;
        }
        if value.iter().all(u8::is_ascii_digit) {
            let seconds = value.iter().fold(0_u64, |seconds, digit| {
                seconds
                    .saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        let date = std::str::from_utf8(value).ok()?;
        httpdate::parse_http_date(date).ok().map(Self::At)
    }

    /// The value of the first `Retry-After` line; `None` if there is none, or it is invalid.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::RETRY_AFTER)?.as_bytes())
    }

    /// How long that is from now; nothing for a date in the past.
    #[must_use]
    pub fn delay(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(date) => date.duration_since(now).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7.
    fn example() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    #[test]
    fn seconds_and_all_three_date_forms() {
        assert_eq!(
            RetryAfter::parse(b"0"),
            Some(RetryAfter::Delay(Duration::ZERO))
        );
        assert_eq!(
            RetryAfter::parse(b" \t1 "),
            Some(RetryAfter::Delay(Duration::from_secs(1)))
        );
        for date in [
            &b"Sun, 06 Nov 1994 08:49:37 GMT"[..],
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
        ] {
            let at = RetryAfter::parse(date).expect("a date");
            assert_eq!(at, RetryAfter::At(example()), "{}", date.escape_ascii());
            assert_eq!(
                at.delay(example() - Duration::from_secs(3)),
                Duration::from_secs(3)
            );
            assert_eq!(at.delay(example() + Duration::from_secs(3)), Duration::ZERO);
        }
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for invalid in [
            &b""[..],
            b" ",
            b"-1",
            b"+1",
            b"1.0",
            b"1e3",
            b"1, 2",
            b"soon",
            b"Sun, 06 Nov 1994",
            b"\xff",
            &[b'9'; 65],
        ] {
            assert_eq!(
                RetryAfter::parse(invalid),
                None,
                "{}",
                invalid.escape_ascii()
            );
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_the_longest_delay() {
        let longest = Some(RetryAfter::Delay(Duration::from_secs(u64::MAX)));
        assert_eq!(RetryAfter::parse(b"9999999999999999999999"), longest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(value in prop::collection::vec(any::<u8>(), 0..80), now in any::<u32>()) {
            if let Some(read) = RetryAfter::parse(&value) {
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(now));
                let delay = read.delay(now);
                if let RetryAfter::At(date) = read {
                    prop_assert!(delay.is_zero() || now + delay == date);
                }
            }
        }

        #[test]
        fn a_date_survives_being_written(secs in 0_u64..253_402_300_800) {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            let text = httpdate::fmt_http_date(date);
            prop_assert_eq!(RetryAfter::parse(text.as_bytes()), Some(RetryAfter::At(date)));
        }

        #[test]
        fn a_number_is_that_many_seconds(secs in any::<u64>()) {
            let read = RetryAfter::parse(secs.to_string().as_bytes());
            prop_assert_eq!(read, Some(RetryAfter::Delay(Duration::from_secs(secs))));
        }
    }
}

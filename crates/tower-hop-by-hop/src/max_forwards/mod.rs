//! `Max-Forwards`: how far TRACE and OPTIONS may go (RFC 9110 section 7.6.2).

mod layer;
mod service;
mod trace;

use http::header::MAX_FORWARDS;
use http::{HeaderMap, HeaderValue, Method};

pub use self::layer::MaxForwardsLayer;
pub use self::service::{MaxForwards, MaxForwardsFuture};
pub use self::trace::trace_echo;

/// What is to be done with a request because of its `Max-Forwards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarding {
    /// It goes on; the field, if it has one, has been counted down.
    Forward,
    /// It ends here: answer as the final recipient.
    Answer,
    /// The field is not one decimal number: answer 400.
    Invalid,
}

/// Checks and updates `Max-Forwards` of a TRACE or OPTIONS; other methods are left alone.
///
/// The value goes down by one, and to `max` if it is still larger. A number too large for 64 bits
/// counts as the largest. The field is never added.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method};
/// use tower_hop_by_hop::{Forwarding, count_forward};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("max-forwards", HeaderValue::from_static("1"));
/// assert_eq!(count_forward(&mut headers, &Method::OPTIONS, None), Forwarding::Forward);
/// assert_eq!(headers["max-forwards"], "0");
/// assert_eq!(count_forward(&mut headers, &Method::OPTIONS, None), Forwarding::Answer);
/// assert_eq!(count_forward(&mut headers, &Method::GET, None), Forwarding::Forward);
/// ```
pub fn count_forward(headers: &mut HeaderMap, method: &Method, max: Option<u64>) -> Forwarding {
    if !matches!(*method, Method::TRACE | Method::OPTIONS) {
        return Forwarding::Forward;
    }
    let mut lines = headers.get_all(MAX_FORWARDS).iter();
    let Some(line) = lines.next() else {
        return Forwarding::Forward;
    };
    let (Some(value), None) = (parse(line.as_bytes()), lines.next()) else {
        return Forwarding::Invalid;
    };
    let Some(left) = value.checked_sub(1) else {
        return Forwarding::Answer;
    };
    let left = left.min(max.unwrap_or(u64::MAX));
    headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    Forwarding::Forward
}

/// A decimal number of any length, saturating.
fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[&'static str], max: Option<u64>) -> (Forwarding, Vec<String>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MAX_FORWARDS, HeaderValue::from_static(value));
        }
        let forwarding = count_forward(&mut headers, &Method::TRACE, max);
        let left = headers.get_all(MAX_FORWARDS).iter();
        let text = left.map(|value| value.to_str().expect("digits").to_owned());
        (forwarding, text.collect())
    }

    #[test]
    fn counts_down_without_wrapping() {
        let forward = |text: &str| (Forwarding::Forward, vec![text.to_owned()]);
        assert_eq!(counted(&["012"], None), forward("11"));
        assert_eq!(counted(&["7"], Some(3)), forward("3"));
        assert_eq!(counted(&["1"], Some(0)), forward("0"));
        assert_eq!(
            counted(&["123456789012345678901"], None),
            forward("18446744073709551614")
        );
        assert_eq!(counted(&["00"], None).0, Forwarding::Answer);
        assert_eq!(counted(&[], Some(5)), (Forwarding::Forward, vec![]));
    }

    #[test]
    fn refuses_what_is_not_one_number() {
        for bad in [
            &["-1"][..],
            &["+1"],
            &[""],
            &["1, 2"],
            &["1 "],
            &["3", "3"],
            &["0x1"],
        ] {
            assert_eq!(counted(bad, None).0, Forwarding::Invalid, "{bad:?}");
        }
    }
}

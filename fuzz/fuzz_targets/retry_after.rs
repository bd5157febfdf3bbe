//! Bytes as the value of `Retry-After`, and a number as the time of day.
//!
//! Whatever is read is a delay that can be compared and added, and no date is longer ago than now.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use tower_idempotent_retry::RetryAfter;

fuzz_target!(|input: (u32, &[u8])| {
    let (seconds, value) = input;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
    let Some(read) = RetryAfter::parse(value) else {
        return;
    };
    let delay = read.delay(now);
    match read {
        RetryAfter::Delay(asked) => {
            assert_eq!(delay, asked);
            let digits = value.iter().filter(|it| !matches!(it, b' ' | b'\t'));
            assert!(digits.clone().all(u8::is_ascii_digit));
            let text: String = digits.map(|&digit| char::from(digit)).collect();
            assert_eq!(asked.as_secs(), text.parse().unwrap_or(u64::MAX));
        }
        RetryAfter::At(date) => assert!(delay.is_zero() || now + delay == date),
    }
});

//! Durations on the command line, where 0 is none.

use std::str::FromStr;
use std::time::Duration;

/// A duration, or no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl FromStr for Limit {
    type Err = String;

    /// A number with its unit, such as `75s` or `1m 30s`; 0 needs none.
    fn from_str(text: &str) -> Result<Self, String> {
        let value = match text {
            "0" => Duration::ZERO,
            _ => humantime::parse_duration(text).map_err(|error| error.to_string())?,
        };
        Ok(Self((!value.is_zero()).then_some(value)))
    }
}

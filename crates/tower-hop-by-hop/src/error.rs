//! Errors of configuration.

use std::fmt;

/// A layer cannot be configured like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name for `Via` that is neither a token nor `host[:port]` (RFC 9110 section 7.6.3).
    InvalidPseudonym,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidPseudonym => "the name for Via is neither a token nor host[:port]",
        })
    }
}

impl std::error::Error for ConfigError {}

//! What can be wrong with a policy.

use std::fmt;
use std::time::Duration;

/// A policy that would not do what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The idle limit is not above the time for which the balancer in front keeps a connection: it
    /// would close connections that the balancer is about to use, and turn requests into 502s.
    IdleBelowBalancer {
        /// The idle limit that was asked for.
        idle: Duration,
        /// The idle time of the balancer.
        balancer: Duration,
    },
    /// The idle time of a balancer is zero or longer than a day: not an idle time at all.
    BalancerIdle(Duration),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdleBelowBalancer { idle, balancer } => write!(
                f,
                "an idle limit of {idle:?} is not above the {balancer:?} of the balancer in front"
            ),
            Self::BalancerIdle(idle) => {
                write!(f, "{idle:?} is not the idle time of a balancer")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

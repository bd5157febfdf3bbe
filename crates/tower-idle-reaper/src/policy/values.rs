//! What limits are made of.

use std::num::NonZeroUsize;
use std::time::Duration;

/// A minimum rate, with a grace period before it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Rate {
    pub(crate) bytes: u32,
    pub(crate) grace: Duration,
}

impl Rate {
    /// This many bytes a second, after 5 s.
    pub const fn per_second(bytes: u32) -> Self {
        Self {
            bytes,
            grace: Duration::from_secs(5),
        }
    }

    /// How long the rate may be lower.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Whether `bytes` in `time` are too few.
    pub(crate) fn is_missed(self, bytes: u64, time: Duration) -> bool {
        time > self.grace && u128::from(bytes) * 1000 < u128::from(self.bytes) * time.as_millis()
    }
}

/// A maximum age, with jitter and grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct MaxAge {
    pub(crate) age: Duration,
    pub(crate) jitter: u8,
    pub(crate) grace: Option<Duration>,
}

impl MaxAge {
    /// At most this age, with a jitter of 10 % and a grace of 30 s.
    pub const fn new(age: Duration) -> Self {
        Self {
            age,
            jitter: 10,
            grace: Some(Duration::from_secs(30)),
        }
    }

    /// Spreads the closings over the last `percent` of the age, at most all of it, so that
    /// connections that were opened together do not all come back together.
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter = if percent > 100 { 100 } else { percent };
        self
    }

    /// How long an exchange that is open at that age may take to end before it is cut; `None` for
    /// as long as it wants.
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.grace = grace.into();
        self
    }

    /// The age at which the connection with this id is asked to close.
    pub(crate) fn of(self, id: u64) -> Duration {
        let spread = self.age.saturating_mul(u32::from(self.jitter)) / 100;
        self.age.saturating_sub(spread.mul_f64(fraction(id)))
    }
}

/// A number from 0 to 1 that looks random and is always the same for the same id.
pub(crate) fn fraction(id: u64) -> f64 {
    let mut x = id.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    (x >> 11) as f64 / (1u64 << 53) as f64
}

/// How many connections may be open, and which of them may make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Capacity {
    pub(crate) max: NonZeroUsize,
    pub(crate) min_idle: Duration,
}

impl Capacity {
    /// This many connections; any idle one may make room.
    pub const fn new(max: NonZeroUsize) -> Self {
        Self {
            max,
            min_idle: Duration::ZERO,
        }
    }

    /// How long a connection must have been idle before it can be made to make room.
    pub const fn min_idle(mut self, min_idle: Duration) -> Self {
        self.min_idle = min_idle;
        self
    }
}

/// How a connection closes while the client may still be sending: half-close, then read and discard.
///
/// Closing at once while bytes of the client are unread, or still on their way, makes the kernel
/// answer with a reset, and the reset destroys the response that the client has not read yet
/// (RFC 9112 section 9.6). Lingering happens only where that can be: a request body was left
/// unfinished, bytes are waiting, or the connection is HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Linger {
    pub(crate) total: Duration,
    pub(crate) gap: Duration,
    pub(crate) bytes: u64,
}

impl Linger {
    /// For this long at most, with at most 5 s (and no more than all of it) between two reads, and
    /// at most 16 MiB.
    pub const fn new(total: Duration) -> Self {
        let five = Duration::from_secs(5);
        Self {
            total,
            gap: if total.as_nanos() < five.as_nanos() {
                total
            } else {
                five
            },
            bytes: 16 * 1024 * 1024,
        }
    }

    /// How long the client may be silent.
    pub const fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// How many bytes are discarded at most.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

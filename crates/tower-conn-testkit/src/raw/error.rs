use std::{error::Error, fmt, io, time::Duration};

use bytes::Bytes;

/// How a connection stands, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other side closed its half with a FIN.
    Fin,
    /// The other side reset the connection.
    Reset,
    /// Neither, for as long as the question was asked.
    Open,
}

/// Why a raw read or write did not do what was asked. `Debug` prints like `Display`, with all bytes escaped,
/// so that `unwrap()` tells what was on the wire.
#[non_exhaustive]
pub enum RawError {
    /// The deadline passed. Nothing is lost: `unread` is still in the stream's buffer.
    Timeout {
        /// How long was waited.
        after: Duration,
        /// What had arrived of the message that was waited for.
        unread: Bytes,
    },
    /// The connection ended before the message's head was complete.
    Ended {
        /// [`Ended::Fin`] or [`Ended::Reset`].
        ended: Ended,
        /// What had arrived of the head; empty at a clean end between messages.
        unread: Bytes,
    },
    /// The bytes are not HTTP/1, or leave open where the message ends.
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// The bytes from the start of the message.
        unread: Bytes,
    },
    /// More than the stream's cap arrived without the message's end.
    TooLarge {
        /// The cap in bytes.
        cap: usize,
    },
    /// The operating system's answer to a read or write.
    Io(io::Error),
}

impl RawError {
    /// The end of the connection, if that is what happened.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Ended { ended, .. } => Some(*ended),
            _ => None,
        }
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { after, unread } => {
                write!(f, "timed out after {after:?} with {unread:?} unread")
            }
            Self::Ended { ended, unread } => {
                write!(f, "connection ended ({ended:?}) with {unread:?} unread")
            }
            Self::Malformed { reason, unread } => write!(f, "{reason}: {unread:?}"),
            Self::TooLarge { cap } => write!(f, "more than {cap} bytes without the message's end"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for RawError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RawError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

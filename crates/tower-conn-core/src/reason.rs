//! Which side of a connection this is, and why it closes.

use std::fmt;

/// The side of a connection that this process is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two sides")]
pub enum Side {
    /// The connection was opened by this process.
    Client,
    /// The connection was accepted by this process.
    Server,
}

impl Side {
    /// The name used in metrics and logs: `client` or `server`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! close_reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal $text:literal,)+) => {
        /// Why a connection closes, or is asked to.
        ///
        /// A connection closes for exactly one reason: the first one given to its
        /// [`Connection`](crate::Connection) handle stays, unless it is cut before it could close. The names returned by
        /// [`as_str`](Self::as_str) are meant as metric labels and do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum CloseReason {
            $($(#[$doc])+ $name = $code,)+
        }

        impl CloseReason {
            /// Every reason there is, for registering metrics ahead of time.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// A short `snake_case` name, stable across releases.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            pub(crate) const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

close_reasons! {
    /// The peer ended the connection with a clean end of stream.
    PeerClosed = 1 "peer_closed",
    /// The peer reset the connection.
    PeerReset = 2 "peer_reset",
    /// Reading or writing the transport failed in another way.
    Transport = 3 "transport",
    /// The message carried `Connection: close`, sent by the peer.
    PeerRequested = 4 "peer_requested",
    /// The application asked: a `Connection: close` of its own, or a call on the handle.
    Application = 5 "application",
    /// An HTTP/1.0 message that did not negotiate persistence.
    Http10 = 6 "http10",
    /// A message whose end is the end of the connection.
    NoLength = 7 "no_length",
    /// A proxy may not persist with this HTTP/1.0 client (RFC 9112 section 9.3).
    ProxyRole = 8 "proxy_role",
    /// The connection carried as many exchanges as it may.
    MaxRequests = 9 "max_requests",
    /// The connection reached its maximum age.
    MaxAge = 10 "max_age",
    /// The process drains its connections before it stops.
    Draining = 11 "draining",
    /// The drain deadline passed with the exchange still open.
    DrainDeadline = 12 "drain_deadline",
    /// A request body was left unread.
    UnreadBody = 13 "unread_body",
    /// `Expect: 100-continue` was answered with a final response instead of a 100.
    ExpectUnanswered = 14 "expect_unanswered",
    /// The framing of a message was faulty or ambiguous (RFC 9112 section 6).
    FaultyFraming = 15 "faulty_framing",
    /// The status of the response is one after which policy closes.
    Status = 16 "status",
    /// The connection left HTTP: a 101 or a successful CONNECT.
    Upgraded = 17 "upgraded",
    /// No exchange was open for longer than the idle limit.
    Idle = 18 "idle",
    /// The first byte did not arrive in time.
    FirstByteTimeout = 19 "first_byte_timeout",
    /// A message head did not arrive in time, or arrived too slowly.
    HeadTimeout = 20 "head_timeout",
    /// A message body stalled, or arrived too slowly.
    BodyTimeout = 21 "body_timeout",
    /// The peer stopped reading.
    WriteStall = 22 "write_stall",
    /// An idle connection made room for a new one.
    Evicted = 23 "evicted",
    /// The peer's address had too many connections.
    AddressLimit = 24 "address_limit",
    /// The peer's announced keep-alive time, less a margin, has passed.
    HintExpired = 25 "hint_expired",
    /// Bytes arrived that no exchange asked for.
    UnsolicitedBytes = 26 "unsolicited_bytes",
    /// A message ended before its framing said it would.
    IncompleteMessage = 27 "incomplete_message",
    /// The bytes received are not HTTP.
    ProtocolError = 28 "protocol_error",
    /// A handler panicked.
    Panic = 29 "panic",
    /// Someone cut the connection at once.
    Aborted = 30 "aborted",
    /// The response body was dropped before its end.
    BodyDropped = 31 "body_dropped",
    /// There are more idle connections than the pool keeps.
    Surplus = 32 "surplus",
    /// An upgraded connection ended.
    TunnelEnded = 33 "tunnel_ended",
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_its_code_and_has_its_own_name() {
        let mut names = std::collections::HashSet::new();
        for &reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_code(reason as u8), Some(reason));
            assert!(names.insert(reason.as_str()), "{reason} is named twice");
        }
        assert_eq!(CloseReason::from_code(0), None, "0 means no reason");
    }
}

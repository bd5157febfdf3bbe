//! What is known about a request that did not get its response.

use http::StatusCode;

/// What is known of an attempt once it has ended.
///
/// Only [`NotSent`](Self::NotSent) and [`NotProcessed`](Self::NotProcessed) prove that the request
/// had no effect; a request that fails any other way may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// No byte of the request left this process: no connection could be made, or the request never
    /// reached one.
    NotSent,
    /// The peer says that it did not process the request: `REFUSED_STREAM`, or a GOAWAY whose last
    /// stream is below it (RFC 9113 sections 6.8 and 8.7).
    NotProcessed,
    /// The request, or part of it, was sent, and no response head came back.
    Ambiguous,
    /// A response head came back.
    Responded(StatusCode),
    /// The response head was handed up before the failure. Never repeated.
    Committed,
    /// The request failed on this side in a way that the next attempt would repeat: its own body
    /// failed, its URI cannot be connected to, the peer's certificate is not trusted.
    Permanent,
}

impl Evidence {
    /// Whether it is proved that the attempt had no effect at the peer.
    #[must_use]
    pub const fn proves_unprocessed(self) -> bool {
        matches!(self, Self::NotSent | Self::NotProcessed)
    }
}

/// What a [`Classify`](crate::Classify) makes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    pub(crate) evidence: Evidence,
    pub(crate) reused: Option<bool>,
}

impl Failure {
    /// A failure with this evidence, on a connection of which nothing is known.
    pub const fn new(evidence: Evidence) -> Self {
        Self {
            evidence,
            reused: None,
        }
    }

    /// Whether the connection had carried an exchange before (a stale one is the common cause of
    /// failure), or was new.
    pub const fn reused(mut self, reused: bool) -> Self {
        self.reused = Some(reused);
        self
    }

    /// What is known of the attempt.
    #[must_use]
    pub const fn evidence(self) -> Evidence {
        self.evidence
    }

    /// Whether the connection had carried an exchange before; `None` if that is not known.
    #[must_use]
    pub const fn connection_reused(self) -> Option<bool> {
        self.reused
    }
}

impl From<Evidence> for Failure {
    fn from(evidence: Evidence) -> Self {
        Self::new(evidence)
    }
}

//! Options of a pipelined connection.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::Connection;

use super::state::Shared;
use super::{Driver, PipelinedConnection};
use crate::h1::Limits;

/// Options of a [`PipelinedConnection`]; see the [module docs](super).
#[derive(Clone, Debug)]
#[must_use = "call `handshake`"]
pub struct Builder {
    pub(super) depth: usize,
    pub(super) proven: bool,
    pub(super) idempotent: bool,
    pub(super) head_timeout: Option<Duration>,
    pub(super) long_response: u64,
    pub(super) drain_bytes: u64,
    pub(super) drain_time: Duration,
    pub(super) limits: Limits,
    connection: Option<Connection>,
}

impl Builder {
    /// Up to 16 requests at once after the first response; safe requests only; no timeout.
    pub fn new() -> Self {
        Self {
            depth: 16,
            proven: false,
            idempotent: false,
            head_timeout: None,
            long_response: 300 * 1024,
            drain_bytes: 64 * 1024,
            drain_time: Duration::from_millis(100),
            limits: Limits::default(),
            connection: None,
        }
    }

    /// How many requests are outstanding at most. Default 16.
    pub const fn depth(mut self, requests: NonZeroUsize) -> Self {
        self.depth = requests.get();
        self
    }

    /// Does not wait for the first response to prove HTTP/1.1 and persistence: for servers that are
    /// known. Default `false`.
    ///
    /// Not for a connection that replaces a failed one (RFC 9112 section 9.3.2).
    pub const fn assume_proven(mut self, proven: bool) -> Self {
        self.proven = proven;
        self
    }

    /// Lets PUT and DELETE share the connection, with no body or one of known length up to 64 KiB,
    /// which is read before the request is sent. Default `false`: safe methods only.
    pub const fn idempotent(mut self, allowed: bool) -> Self {
        self.idempotent = allowed;
        self
    }

    /// How long the head of a response may take, counted from when its request is sent and first in
    /// line. Then that request fails with [`Cause::HeadTimeout`](super::Cause::HeadTimeout), and the
    /// connection ends. Default none.
    pub const fn head_timeout(mut self, limit: Duration) -> Self {
        self.head_timeout = Some(limit);
        self
    }

    /// Nothing new is sent behind a response that is longer than this, announced or received, nor
    /// behind `text/event-stream`, until it has ended. Default 300 KiB.
    pub const fn long_response(mut self, bytes: u64) -> Self {
        self.long_response = bytes;
        self
    }

    /// How much of a response that nobody waits for is read, and for how long, before the connection
    /// is closed. Default 64 KiB, 100 ms.
    pub const fn drain(mut self, bytes: u64, time: Duration) -> Self {
        self.drain_bytes = bytes;
        self.drain_time = time;
        self
    }

    /// What is accepted of a response at most.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The handle of the connection; without it, a new one is made.
    ///
    /// Each request is an exchange of it. [`Connection::request_close`] ends the connection when what
    /// is outstanding is answered, [`Connection::close`] at once. It is in the extensions of every
    /// response.
    pub fn connection(mut self, connection: Connection) -> Self {
        self.connection = Some(connection);
        self
    }

    /// The service and its driver. Nothing is sent before the first request.
    pub fn handshake<I, B>(self, transport: I) -> (PipelinedConnection<B>, Driver<I, B>)
    where
        I: AsyncRead + AsyncWrite,
        B: http_body::Body,
    {
        let connection = self.connection.clone().unwrap_or_else(Connection::client);
        let shared = Shared::new(&self, connection);
        (
            PipelinedConnection::new(shared.clone()),
            Driver::new(transport, shared, self),
        )
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

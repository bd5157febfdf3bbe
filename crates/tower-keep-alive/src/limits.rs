//! What a server allows a connection, and what it tells of it.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use tower_conn_core::{CloseReason, Connection};

use crate::KeepAliveHint;

/// What the server is to the client; matters for HTTP/1.0 alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// An origin server, or a gateway (reverse proxy), which is an origin to its clients: the
    /// HTTP/1.0 `keep-alive` option is honoured.
    #[default]
    Origin,
    /// A forward proxy: never persists with an HTTP/1.0 client (RFC 9112 section 9.3).
    Proxy,
}

/// When to announce persistence and its limits to an HTTP/1.1 client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advertise {
    /// When the client sent the connection option `keep-alive`, as Apache httpd does.
    #[default]
    OnRequest,
    /// On every response after which the connection persists, as Node.js does.
    Always,
    /// Never. An HTTP/1.0 client still has its `keep-alive` confirmed: it could not reuse the
    /// connection otherwise.
    Never,
}

/// The limits that [`decide`](crate::decide) applies. By default none, except that a 408 closes.
#[derive(Clone, Debug)]
pub struct Limits {
    role: Role,
    idle_timeout: Option<Duration>,
    max_requests: Option<NonZeroU32>,
    max_age: Option<Duration>,
    max_age_jitter: Duration,
    seed: RandomState,
    close_on: Vec<StatusCode>,
}

impl Limits {
    /// No limits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            role: Role::Origin,
            idle_timeout: None,
            max_requests: None,
            max_age: None,
            max_age_jitter: Duration::ZERO,
            seed: RandomState::new(),
            close_on: vec![StatusCode::REQUEST_TIMEOUT],
        }
    }

    /// What the server is to the client. Default: [`Role::Origin`].
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// How long an idle connection is left open by whoever enforces that. Zero: no connection
    /// persists. Default: not known.
    #[must_use]
    pub fn idle_timeout(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = idle.into();
        self
    }

    /// How many requests a connection may carry. Default: any number.
    #[must_use]
    pub fn max_requests(mut self, requests: impl Into<Option<NonZeroU32>>) -> Self {
        self.max_requests = requests.into();
        self
    }

    /// The age from which on a connection closes with its next response. Default: any age.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// Shortens the maximum age of each connection by a random part of this, so that connections
    /// opened together do not close together. Default: zero.
    #[must_use]
    pub const fn max_age_jitter(mut self, jitter: Duration) -> Self {
        self.max_age_jitter = jitter;
        self
    }

    /// The statuses after which the connection closes. Default: 408 alone, which says that the
    /// server has given up on the connection (RFC 9110 section 15.5.9).
    #[must_use]
    pub fn close_on(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.close_on = statuses.into_iter().collect();
        self
    }

    pub(crate) const fn server_role(&self) -> Role {
        self.role
    }

    pub(crate) const fn has_max_age(&self) -> bool {
        self.max_age.is_some()
    }

    pub(crate) fn closes_on(&self, status: StatusCode) -> bool {
        self.close_on.contains(&status)
    }

    /// The limit that this connection has reached, if any.
    pub(crate) fn reached(&self, connection: Option<&ConnectionSnapshot>) -> Option<CloseReason> {
        if self.idle_timeout.is_some_and(|idle| idle.is_zero()) {
            return Some(CloseReason::Idle);
        }
        let connection = connection?;
        if self.requests_left(Some(connection)) == Some(0) {
            return Some(CloseReason::MaxRequests);
        }
        let limit = self.max_age_of(connection.id)?;
        (connection.age >= limit).then_some(CloseReason::MaxAge)
    }

    /// How many requests the connection may carry after this one.
    fn requests_left(&self, connection: Option<&ConnectionSnapshot>) -> Option<u32> {
        let number = connection?.number?;
        Some(self.max_requests?.get().saturating_sub(number.get()))
    }

    /// The maximum age of the connection with this id, its jitter taken off.
    #[must_use]
    pub fn max_age_of(&self, id: u64) -> Option<Duration> {
        let age = self.max_age?;
        if self.max_age_jitter.is_zero() {
            return Some(age);
        }
        let part = self.seed.hash_one(id) >> 40;
        let shorter = self
            .max_age_jitter
            .mul_f64(part as f64 / (1u64 << 24) as f64);
        Some(age.saturating_sub(shorter))
    }

    /// What may be announced on a response after which the connection persists: the idle time less
    /// `margin`, in whole seconds, and the requests left. A time below one second is left out.
    #[must_use]
    pub fn hint(&self, margin: Duration, connection: Option<&ConnectionSnapshot>) -> KeepAliveHint {
        let seconds = self
            .idle_timeout
            .map(|idle| idle.saturating_sub(margin).as_secs());
        KeepAliveHint::new(
            seconds
                .filter(|&seconds| seconds > 0)
                .map(Duration::from_secs),
            self.requests_left(connection),
        )
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// One reading of a [`Connection`], so that the decision has no clock of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionSnapshot {
    /// The id of the connection.
    pub id: u64,
    /// The number of this exchange on the connection, from 1, where it is counted.
    pub number: Option<NonZeroU32>,
    /// The age of the connection.
    pub age: Duration,
    /// Why the connection has been asked to close, if it has.
    pub closing: Option<CloseReason>,
}

impl ConnectionSnapshot {
    /// Reads the connection now; `number` is the exchange's own.
    #[must_use]
    pub fn of(connection: &Connection, number: Option<NonZeroU32>) -> Self {
        Self {
            age: connection.age(),
            ..Self::ageless(connection, number)
        }
    }

    /// Like [`of`](Self::of) without reading the clock.
    pub(crate) fn ageless(connection: &Connection, number: Option<NonZeroU32>) -> Self {
        Self {
            id: connection.id(),
            number,
            age: Duration::ZERO,
            closing: connection.close_reason(),
        }
    }
}

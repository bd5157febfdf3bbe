//! The limits.

mod values;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::ConfigError;

pub(crate) use self::values::fraction;
pub use self::values::{Capacity, Linger, MaxAge, Rate};

/// The limits under which an [`IdleReaper`](crate::IdleReaper) keeps connections open.
///
/// Every limit has a name and a clock of its own, none needs another one to work, and each can be
/// `None`. Limits are enforced to within one [`tick`](Self::tick), never early.
///
/// | limit | clock runs | at the limit | [`safe`](Self::safe) |
/// |---|---|---|---|
/// | [`first_byte`](Self::first_byte) | from accept until the first byte | closed, silently | 10 s |
/// | [`head`](Self::head) | from the first byte of a request to the end of its head | answered with 408, closed | 15 s |
/// | [`head_rate`](Self::head_rate) | the same | the same | off |
/// | [`idle`](Self::idle) | while no exchange is open and no byte of a next head has come | closed, silently | 75 s |
/// | [`body_gap`](Self::body_gap) | while the server waits for the next byte of a request body | the body fails, then closed | 30 s |
/// | [`body_rate`](Self::body_rate) | the same, added up over a body | the same | 240 B/s after 5 s |
/// | [`write_stall`](Self::write_stall) | while the client takes none of the bytes it is owed | cut | 30 s |
/// | [`write_rate`](Self::write_rate) | while it takes some, but fewer than are ready | cut | 240 B/s after 5 s |
/// | [`max_age`](Self::max_age) | from accept | closed after the exchange in progress | off |
/// | [`max_requests`](Self::max_requests) | counts requests | closed after the last | off |
/// | [`max_connections`](Self::max_connections) | counts connections | the longest-idle one makes room | off |
/// | [`max_per_address`](Self::max_per_address) | counts connections of one address | the newcomer is closed | off |
/// | [`linger`](Self::linger) | after the last byte was sent | closed | 10 s, 5 s, 16 MiB |
/// | [`tunnel_idle`](Self::tunnel_idle) | while no byte passes an upgraded connection | cut | off |
/// | [`tunnel_age`](Self::tunnel_age) | from accept, for upgraded connections | cut | off |
///
/// # Why these defaults
///
/// An idle limit must be longer than the time for which a load balancer keeps its connections
/// (60 s is common): the balancer then always closes first, and never sends a request into a
/// connection that the server is closing. 75 s is nginx's choice. The head gets 15 s because a head
/// fits in a few packets, and a client that needs longer holds a connection for nothing. 240 bytes a
/// second is far below any real link and far above what makes a slow-read attack cheap. Age and
/// request limits spread load over instances and do not make a server safer, so they are off. So is
/// the limit on connections: it belongs below the process's limit on file descriptors, which
/// differs from machine to machine. Lingering has to outlast an upload that is still in flight when
/// it is refused: 16 MiB and 10 s suffice for a large upload on a local network.
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    pub(crate) first_byte: Option<Duration>,
    pub(crate) head: Option<Duration>,
    pub(crate) head_rate: Option<Rate>,
    pub(crate) idle: Option<Duration>,
    pub(crate) body_gap: Option<Duration>,
    pub(crate) body_rate: Option<Rate>,
    pub(crate) write_stall: Option<Duration>,
    pub(crate) write_rate: Option<Rate>,
    pub(crate) max_age: Option<MaxAge>,
    pub(crate) max_requests: Option<NonZeroU32>,
    pub(crate) capacity: Option<Capacity>,
    pub(crate) per_address: Option<NonZeroU32>,
    pub(crate) linger: Option<Linger>,
    pub(crate) tunnel_idle: Option<Duration>,
    pub(crate) tunnel_age: Option<Duration>,
    pub(crate) half_close: bool,
    balancer_idle: Option<Duration>,
}

impl Policy {
    /// No limit at all, and no lingering.
    pub const fn unlimited() -> Self {
        Self {
            first_byte: None,
            head: None,
            head_rate: None,
            idle: None,
            body_gap: None,
            body_rate: None,
            write_stall: None,
            write_rate: None,
            max_age: None,
            max_requests: None,
            capacity: None,
            per_address: None,
            linger: None,
            tunnel_idle: None,
            tunnel_age: None,
            half_close: true,
            balancer_idle: None,
        }
    }

    /// The limits that every public server should have; see the table above.
    pub const fn safe() -> Self {
        Self {
            first_byte: Some(Duration::from_secs(10)),
            head: Some(Duration::from_secs(15)),
            idle: Some(Duration::from_secs(75)),
            body_gap: Some(Duration::from_secs(30)),
            body_rate: Some(Rate::per_second(240)),
            write_stall: Some(Duration::from_secs(30)),
            write_rate: Some(Rate::per_second(240)),
            linger: Some(Linger::new(Duration::from_secs(10))),
            ..Self::unlimited()
        }
    }

    /// [`safe`](Self::safe), for a server behind a load balancer or a proxy that keeps its
    /// connections for `balancer_idle`.
    ///
    /// The idle limit is set 15 s above that, and [`idle`](Self::idle) refuses from then on to go
    /// down to it. The first byte gets as long as idle connections do, because balancers open
    /// connections ahead of need.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BalancerIdle`] if `balancer_idle` is zero or more than a day.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_idle_reaper::Policy;
    ///
    /// let policy = Policy::behind_proxy(Duration::from_secs(60))?;
    /// assert!(policy.clone().idle(Duration::from_secs(65)).is_ok());
    /// assert!(policy.idle(Duration::from_secs(60)).is_err());
    /// # Ok::<(), tower_idle_reaper::ConfigError>(())
    /// ```
    pub fn behind_proxy(balancer_idle: Duration) -> Result<Self, ConfigError> {
        if balancer_idle.is_zero() || balancer_idle > Duration::from_secs(24 * 3600) {
            return Err(ConfigError::BalancerIdle(balancer_idle));
        }
        let idle = balancer_idle + Duration::from_secs(15);
        Ok(Self {
            first_byte: Some(idle),
            idle: Some(idle),
            balancer_idle: Some(balancer_idle),
            ..Self::safe()
        })
    }

    /// How long a new connection may take to its first byte.
    ///
    /// A connection that says nothing costs a descriptor and nothing else tells it from one that is
    /// about to speak. It is closed without an answer: there is no request to answer.
    pub fn first_byte(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.first_byte = limit.into();
        self
    }

    /// How long a request head may take, from its first byte to its last.
    ///
    /// Bytes do not extend it, and the idle time before the first byte does not count. For HTTP/2
    /// it bounds the opening: the preface and the client's SETTINGS. The client is sent a 408
    /// (RFC 9110 section 15.5.9); the handler is never called.
    pub fn head(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.head = limit.into();
        self
    }

    /// How fast a request head must arrive, on average since its first byte.
    pub fn head_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.head_rate = rate.into();
        self
    }

    /// How long a connection may be idle: no exchange open, and no byte of a next head received.
    ///
    /// A long handler, a response that is being streamed, a half-received head and a tunnel are not
    /// idle. A request that is in the receive buffer when the limit is reached is served, with
    /// `Connection: close`. Otherwise an HTTP/1 connection is closed by a FIN, and an HTTP/2
    /// connection with a GOAWAY, if it is [watched](crate::IdleReaper::watch). PING frames and empty
    /// lines do not count as activity.
    ///
    /// # Errors
    ///
    /// [`ConfigError::IdleBelowBalancer`] on a policy from [`behind_proxy`](Self::behind_proxy), if
    /// the limit is not above the balancer's.
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Result<Self, ConfigError> {
        let limit = limit.into();
        if let (Some(idle), Some(balancer)) = (limit, self.balancer_idle) {
            if idle <= balancer {
                return Err(ConfigError::IdleBelowBalancer { idle, balancer });
            }
        }
        self.idle = limit;
        Ok(self)
    }

    /// How long an upload may stall while the server waits for it. HTTP/1 only.
    ///
    /// A handler that does not read stops the clock: that is not the client's fault. At the limit
    /// the request body ends in an error, so that the handler may still answer, and the connection
    /// closes after that.
    pub fn body_gap(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body_gap = limit.into();
        self
    }

    /// How fast an upload must arrive, over the time in which the server waited for it. HTTP/1 only.
    pub fn body_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.body_rate = rate.into();
        self
    }

    /// How long a client may take none of the bytes that are ready for it.
    ///
    /// Watched at the transport: an HTTP engine whose write buffer is full stops polling the
    /// response body, so a timer in the body does not see it.
    pub fn write_stall(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.write_stall = limit.into();
        self
    }

    /// How fast a client must take the bytes that are ready for it, while it holds them up.
    pub fn write_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.write_rate = rate.into();
        self
    }

    /// How old a connection may become.
    ///
    /// At that age it is asked to close: an idle connection closes at once, a busy one after its
    /// exchange, whose response announces the close if its head has not been written.
    pub fn max_age(mut self, age: impl Into<Option<MaxAge>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// How many requests a connection may carry. The last response carries `Connection: close`;
    /// HTTP/2 connections that are [watched](crate::IdleReaper::watch) are sent a GOAWAY.
    pub fn max_requests(mut self, limit: impl Into<Option<NonZeroU32>>) -> Self {
        self.max_requests = limit.into();
        self
    }

    /// How many connections may be open.
    ///
    /// When one more is accepted, a lingering connection is given up, or else the longest-idle one
    /// is closed; an active one never is. While all are active, accepting waits.
    pub fn max_connections(mut self, capacity: impl Into<Option<Capacity>>) -> Self {
        self.capacity = capacity.into();
        self
    }

    /// How many connections one address may have open. A newcomer beyond that is closed at once.
    ///
    /// IPv6 addresses count by their /64, which is what one subscriber gets.
    pub fn max_per_address(mut self, limit: impl Into<Option<NonZeroU32>>) -> Self {
        self.per_address = limit.into();
        self
    }

    /// How a connection closes while the client may still be sending.
    pub fn linger(mut self, linger: impl Into<Option<Linger>>) -> Self {
        self.linger = linger.into();
        self
    }

    /// How long no byte may pass an upgraded connection. Other limits do not apply to it.
    pub fn tunnel_idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.tunnel_idle = limit.into();
        self
    }

    /// How old an upgraded connection may become.
    pub fn tunnel_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.tunnel_age = limit.into();
        self
    }

    /// Whether a client that has ended its side still gets the answers to what it sent. On by
    /// default. HTTP/1 only.
    ///
    /// A half-close does not mean that the client lost interest (RFC 9112 section 9.6). But a client
    /// that has gone looks the same until something is written to it: with this off, the HTTP engine
    /// sees the end at once, and hyper by default cancels the handler and closes.
    pub const fn half_close(mut self, enabled: bool) -> Self {
        self.half_close = enabled;
        self
    }

    /// The resolution of the clocks: a hundredth of the shortest limit, from 10 ms to 1 s.
    #[must_use]
    pub fn tick(&self) -> Duration {
        const FLOOR: Duration = Duration::from_millis(10);
        const CEILING: Duration = Duration::from_secs(1);
        let limits = [
            self.first_byte,
            self.head,
            self.head_rate.map(|rate| rate.grace),
            self.idle,
            self.body_gap,
            self.body_rate.map(|rate| rate.grace),
            self.write_stall,
            self.write_rate.map(|rate| rate.grace),
            self.max_age.map(|age| age.age),
            self.max_age.and_then(|age| age.grace),
            self.linger.map(|linger| linger.total.min(linger.gap)),
            self.tunnel_idle,
            self.tunnel_age,
        ];
        let shortest = limits.into_iter().flatten().min();
        shortest.map_or(CEILING, |d| (d / 100).clamp(FLOOR, CEILING))
    }
}

impl Default for Policy {
    /// [`Policy::safe`].
    fn default() -> Self {
        Self::safe()
    }
}

#[cfg(test)]
mod tests;

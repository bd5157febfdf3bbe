//! The options of a pool.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_conn_core::OnExchange;

use crate::policy::Limits;
use crate::shared::{ExchangeObserver, Shared};
use crate::{Pool, PoolObserver, PortBudget};

/// The version of HTTP that connections speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/2 where ALPN has chosen it, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/2, known beforehand to be spoken (RFC 9113 section 3.3).
    Http2,
}

/// Options of a [`Pool`].
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower_conn_pool::{Pool, connector};
///
/// let pool: Pool<_, Full<Bytes>> = Pool::builder()
///     .max_per_origin(NonZeroUsize::new(8).unwrap())
///     .idle_timeout(Some(Duration::from_secs(20)))
///     .build(connector());
/// assert_eq!(pool.stats().open, 0);
/// ```
#[derive(Clone)]
#[must_use = "call `build`"]
pub struct PoolBuilder<O = ()> {
    limits: Limits,
    protocol: Protocol,
    http1: http1::Builder,
    observer: O,
    on_exchange: Option<ExchangeObserver>,
    ports: Option<PortBudget>,
}

impl PoolBuilder {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            limits: Limits::DEFAULT,
            protocol: Protocol::Auto,
            http1: http1::Builder::new(),
            observer: (),
            on_exchange: None,
            ports: None,
        }
    }
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl<O> PoolBuilder<O> {
    /// Connections to one origin at a time; what is being opened or closed, and tunnels, count.
    /// Default: 64.
    pub const fn max_per_origin(mut self, max: NonZeroUsize) -> Self {
        self.limits.per_origin = max;
        self
    }

    /// Connections at a time. When it is reached, the longest-idle connection to another origin
    /// makes room. Default: 512.
    pub const fn max_total(mut self, max: NonZeroUsize) -> Self {
        self.limits.total = max;
        self
    }

    /// Idle connections; the longest-idle one of any origin is closed for one more. Default: 256.
    pub const fn max_idle(mut self, max: NonZeroUsize) -> Self {
        self.limits.idle = max;
        self
    }

    /// Idle connections to one origin; the longest-idle one is closed for one more. Default: 64.
    pub const fn max_idle_per_origin(mut self, max: NonZeroUsize) -> Self {
        self.limits.idle_per_origin = max;
        self
    }

    /// Requests that may wait for a connection; one more fails with
    /// [`QueueFull`](crate::PoolErrorKind::QueueFull). Default: no limit.
    pub const fn max_waiting(mut self, max: Option<usize>) -> Self {
        self.limits.waiting = max;
        self
    }

    /// How long a connection may idle; an announced time that is shorter wins. Zero keeps none.
    /// Default: 45 seconds, less than load balancers and servers commonly wait (60 and 75).
    pub const fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limits.idle_timeout = limit;
        self
    }

    /// The age from which a connection takes no more requests. Default: none.
    pub const fn max_age(mut self, limit: Option<Duration>) -> Self {
        self.limits.max_age = limit;
        self
    }

    /// By how many percent connections retire before their maximum age, at random. More than 100 is
    /// taken as 100. Default: 10.
    pub const fn age_jitter(mut self, percent: u8) -> Self {
        self.limits.age_jitter = if percent > 100 { 100 } else { percent };
        self
    }

    /// Requests on one connection. Default: no limit.
    pub const fn max_uses(mut self, max: Option<NonZeroU32>) -> Self {
        self.limits.max_uses = max;
        self
    }

    /// Whether a server's `Keep-Alive: timeout=` bounds the idle time. Default: true.
    pub const fn honour_hints(mut self, honour: bool) -> Self {
        self.limits.honour_hints = honour;
        self
    }

    /// By how much a connection is closed before the announced time: the round trip, and what the
    /// server's timer may be early. A connection for which less than this was announced is not
    /// kept. Default: 2 seconds.
    pub const fn hint_margin(mut self, margin: Duration) -> Self {
        self.limits.hint_margin = margin;
        self
    }

    /// The longest idle time that is taken from a server. Default: 600 seconds.
    pub const fn hint_ceiling(mut self, ceiling: Duration) -> Self {
        self.limits.hint_ceiling = ceiling;
        self
    }

    /// How much of a response body that was dropped is read, and for how long, to save the
    /// connection. Default: 64 KiB in 500 milliseconds.
    pub const fn drain(mut self, bytes: u64, time: Duration) -> Self {
        self.limits.drain_bytes = bytes;
        self.limits.drain_time = time;
        self
    }

    /// How long opening a connection may take, TLS included. Default: 10 seconds.
    pub const fn connect_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limits.connect_timeout = limit;
        self
    }

    /// The idle time from which the socket is looked at before reuse, for an end of stream that the
    /// runtime has not reported yet: one system call. Default: 1 millisecond.
    pub const fn check_after(mut self, idle: Duration) -> Self {
        self.limits.check_after = idle;
        self
    }

    /// Pipelines over HTTP/1.1: where the limits leave no room for another connection, up to this many
    /// requests share one (RFC 9112 section 9.3.2). Default: none.
    ///
    /// Only requests share that do no harm if they are sent twice: GET, OPTIONS and TRACE without a
    /// body; and only a connection on which a response has proven that it persists. Everything else
    /// waits for a connection on which nothing is outstanding. Set [`max_per_origin`](Self::max_per_origin)
    /// low along with it: a slow response delays what is behind it, so as long as another connection
    /// may be opened, one is.
    ///
    /// A connection that ends fails all that is outstanding on it, each with what is known about it; a
    /// retry layer belongs around the pool. A request whose caller goes away is one such end if its
    /// response is not read within [`drain`](Self::drain).
    ///
    /// When two connections to a server are lost within a minute, each with several requests unanswered,
    /// the server is taken not to bear it, and requests go one at a time for a minute.
    ///
    /// A depth of one pipelines nothing.
    pub fn pipeline_depth(mut self, depth: NonZeroUsize) -> Self {
        self.limits.depth = Some(depth).filter(|depth| depth.get() > 1);
        self
    }

    /// The version of HTTP. Default: by ALPN, else HTTP/1.1.
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// hyper's own options for HTTP/1.1 connections.
    pub fn http1(mut self, builder: http1::Builder) -> Self {
        self.http1 = builder;
        self
    }

    /// The budget of local ports, to be shared between pools. Default: one of its own, of the size
    /// of the system's ephemeral range.
    pub fn port_budget(mut self, ports: PortBudget) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Who watches.
    pub fn observer<P: PoolObserver>(self, observer: P) -> PoolBuilder<P> {
        PoolBuilder {
            limits: self.limits,
            protocol: self.protocol,
            http1: self.http1,
            observer,
            on_exchange: self.on_exchange,
            ports: self.ports,
        }
    }

    /// Has this told of the exchanges of every connection, each attempt of a request being one.
    pub fn on_exchange(mut self, observer: impl OnExchange + Send + Sync + 'static) -> Self {
        self.on_exchange = Some(Arc::new(observer));
        self
    }

    /// The pool. No connection is opened before the first request.
    pub fn build<C, B>(self, connector: C) -> Pool<C, B, O>
    where
        C: Send + Sync + 'static,
        B: Send + 'static,
        O: PoolObserver,
    {
        Pool::from_shared(Shared::new(
            connector,
            self.limits,
            self.protocol,
            self.http1,
            self.observer,
            self.on_exchange,
            self.ports.unwrap_or_default(),
        ))
    }
}

impl<O> fmt::Debug for PoolBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("limits", &self.limits)
            .field("protocol", &self.protocol)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// hyper-util's TCP connector with what suits a pool: `TCP_NODELAY`, and TCP keepalive after 60
/// seconds of silence, every 15 seconds, four times.
///
/// For https, put it under a TLS connector and let that accept https URIs:
/// `connector.enforce_http(false)`.
#[must_use]
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_secs(60)));
    connector.set_keepalive_interval(Some(Duration::from_secs(15)));
    connector.set_keepalive_retries(Some(4));
    connector
}

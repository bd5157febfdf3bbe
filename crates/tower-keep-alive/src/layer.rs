//! `KeepAliveLayer` and its options.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use tower_conn_core::CloseReason;
use tower_layer::Layer;

use crate::{Advertise, KeepAlive, Limits, OnDecision, Role};

/// Applies [`KeepAlive`]; see the [crate docs](crate) for an example.
#[derive(Clone)]
#[must_use]
pub struct KeepAliveLayer<O = ()> {
    config: Arc<Config>,
    on_decision: O,
}

/// What all clones of a service share.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
    pub(crate) advertise: Advertise,
    pub(crate) margin: Duration,
    pub(crate) drain_bytes: u64,
    pub(crate) drain_time: Duration,
    pub(crate) drain_signal: Option<DrainSignal>,
}

impl KeepAliveLayer {
    /// HTTP persistence by the rules, without limits of its own.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                limits: Limits::new(),
                advertise: Advertise::OnRequest,
                margin: Duration::from_secs(1),
                drain_bytes: 256 * 1024,
                drain_time: Duration::from_millis(500),
                drain_signal: None,
            }),
            on_decision: (),
        }
    }
}

impl Default for KeepAliveLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<O> KeepAliveLayer<O> {
    /// What the server is to its clients. Default: [`Role::Origin`].
    pub fn role(self, role: Role) -> Self {
        self.limits(|limits| limits.role(role))
    }

    /// The idle limit that the driver of the connection enforces, to be announced. This layer closes
    /// no idle connection; zero has every response close its connection. Default: not known, and not
    /// announced.
    pub fn idle_timeout(self, idle: impl Into<Option<Duration>>) -> Self {
        self.limits(|limits| limits.idle_timeout(idle))
    }

    /// How much below the idle limit the announced time is, so that a client that trusts it does not
    /// meet the close half-way. Default: 1 s. The rest is rounded down to whole seconds, and a rest of
    /// zero is not announced.
    pub fn margin(mut self, margin: Duration) -> Self {
        Arc::make_mut(&mut self.config).margin = margin;
        self
    }

    /// When to announce persistence to an HTTP/1.1 client. Default: [`Advertise::OnRequest`].
    pub fn advertise(mut self, advertise: Advertise) -> Self {
        Arc::make_mut(&mut self.config).advertise = advertise;
        self
    }

    /// How many requests a connection may carry; the last response says `close`. Default: any number.
    ///
    /// Needs the [`Connection`](tower_conn_core::Connection) in the request.
    pub fn max_requests(self, requests: impl Into<Option<NonZeroU32>>) -> Self {
        self.limits(|limits| limits.max_requests(requests))
    }

    /// The age from which on a connection closes with its next response. Default: any age.
    ///
    /// Needs the [`Connection`](tower_conn_core::Connection) in the request.
    pub fn max_age(self, age: impl Into<Option<Duration>>) -> Self {
        self.limits(|limits| limits.max_age(age))
    }

    /// Shortens the maximum age of each connection by a random part of this, so that connections
    /// opened together do not close together. Default: zero.
    pub fn max_age_jitter(self, jitter: Duration) -> Self {
        self.limits(|limits| limits.max_age_jitter(jitter))
    }

    /// The statuses after which the connection closes. Default: 408 alone.
    pub fn close_on(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.limits(|limits| limits.close_on(statuses))
    }

    /// How much of a request body that the handler left unread is read and thrown away, and for how
    /// long, before the response head is released. A body that is larger, or slower, has the
    /// connection closed, and the response says so. Default: 256 KiB and 500 ms.
    pub fn drain_unread(mut self, bytes: u64, time: Duration) -> Self {
        let config = Arc::make_mut(&mut self.config);
        (config.drain_bytes, config.drain_time) = (bytes, time);
        self
    }

    /// Closes every connection with its next response once the signal is given.
    pub fn drain_signal(mut self, signal: DrainSignal) -> Self {
        Arc::make_mut(&mut self.config).drain_signal = Some(signal);
        self
    }

    /// Calls a hook with each decision.
    pub fn on_decision<P: OnDecision>(self, hook: P) -> KeepAliveLayer<P> {
        KeepAliveLayer {
            config: self.config,
            on_decision: hook,
        }
    }

    fn limits(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.limits = change(std::mem::take(&mut config.limits));
        self
    }
}

impl<O> fmt::Debug for KeepAliveLayer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveLayer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<S, O: Clone> Layer<S> for KeepAliveLayer<O> {
    type Service = KeepAlive<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        KeepAlive {
            inner,
            config: Arc::clone(&self.config),
            on_decision: self.on_decision.clone(),
        }
    }
}

/// Has all connections of a server close with their next response: the soft part of a shutdown, for
/// use before the server is told to stop.
///
/// A connection that is driven by something that watches its [`Connection`](tower_conn_core::Connection) handle does not need it:
/// there, [`Connection::request_close`](tower_conn_core::Connection::request_close) is enough.
#[derive(Clone, Debug, Default)]
pub struct DrainSignal(Arc<AtomicBool>);

impl DrainSignal {
    /// A signal that is not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the signal has been given.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.is_draining().then_some(CloseReason::Draining)
    }
}

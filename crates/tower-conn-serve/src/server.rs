//! The options of a server.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use tower_idle_reaper::{Drain, IdleReaper, Policy};

use crate::conn::{Core, Protocol};
use crate::counters::Counters;
use crate::executor::StreamExecutor;
use crate::serve::Serve;
use crate::stack::Serial;
use crate::tls::{Plain, Tls};

/// The options of a server; [`serve`](Self::serve) makes one of them.
///
/// See the [crate documentation](crate) for an example.
#[derive(Clone)]
#[must_use = "call `serve`"]
pub struct Server<E = Plain, K = Serial> {
    pub(crate) establish: E,
    stack: K,
    pub(crate) reaper: IdleReaper,
    pub(crate) counters: Arc<Counters>,
    http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
    protocol: Option<Protocol>,
    park_after: Option<Duration>,
    pub(crate) drain: Drain,
    pub(crate) accept_tasks: NonZeroUsize,
    pub(crate) nodelay: bool,
}

impl Server {
    /// A server with [`Policy::safe`], a drain of at most 30 s, and parking after a second.
    pub fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let mut http2 = http2::Builder::new(StreamExecutor::new(Arc::clone(&counters)));
        http2.timer(TokioTimer::new()).enable_connect_protocol();
        Self {
            establish: Plain,
            stack: Serial,
            reaper: IdleReaper::new(Policy::safe()),
            counters,
            http1: http1::Builder::new(),
            http2,
            protocol: None,
            park_after: Some(Duration::from_secs(1)),
            drain: Drain::within(Duration::from_secs(30)),
            accept_tasks: NonZeroUsize::MIN,
            nodelay: true,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl<E, K> Server<E, K> {
    /// The limits under which connections stay open. Default [`Policy::safe`].
    pub fn policy(self, policy: Policy) -> Self {
        self.reaper(IdleReaper::new(policy))
    }

    /// A reaper of one's own: with an observer, or one that several servers share. It is drained, with
    /// all its connections, when this server is shut down.
    pub fn reaper(mut self, reaper: IdleReaper) -> Self {
        self.reaper = reaper;
        self
    }

    /// How the server drains when it is shut down. Default: within 30 s, without a lame-duck time.
    pub fn drain(mut self, drain: impl Into<Drain>) -> Self {
        self.drain = drain.into();
        self
    }

    /// After what time without a byte an HTTP/1 connection is parked, to within that time once more;
    /// `None` for never. Default 1 s.
    ///
    /// A parked connection keeps its transport, its service and what has arrived of a next head; hyper's
    /// state and buffers go. The next byte brings them back. With parking again that has cost 20 to 30 µs of CPU
    /// more than a request on a connection that was not parked, and busy connections beside parked ones
    /// nothing: `cargo bench --bench serve -- parking 5000`, on a busy machine.
    pub fn park_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.park_after = time.into();
        self
    }

    /// Sets options of hyper's HTTP/1.
    ///
    /// `header_read_timeout` is off, whatever is set here: the [policy](Self::policy) has a limit for the
    /// head, which does not run while a connection is idle.
    pub fn http1(mut self, options: impl FnOnce(&mut http1::Builder)) -> Self {
        options(&mut self.http1);
        self
    }

    /// Sets options of hyper's HTTP/2. Extended CONNECT (RFC 8441) is on, and a timer is set.
    pub fn http2(mut self, options: impl FnOnce(&mut http2::Builder<StreamExecutor>)) -> Self {
        options(&mut self.http2);
        self
    }

    /// Serves only this protocol, whatever ALPN or the first bytes say. By default those decide.
    pub fn only(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// How many tasks accept from each listener. Default 1.
    ///
    /// Handshakes and services are made by the task of each connection in any case. To spread the work
    /// of accepting itself, give the server [several listeners](Serve::and) of one port (`SO_REUSEPORT`).
    pub fn accept_tasks(mut self, tasks: NonZeroUsize) -> Self {
        self.accept_tasks = tasks;
        self
    }

    /// Whether TCP connections are set to `TCP_NODELAY`, so that the end of a response does not wait for
    /// an acknowledgement of its beginning. Default `true`.
    pub fn nodelay(mut self, enabled: bool) -> Self {
        self.nodelay = enabled;
        self
    }

    /// Serves over TLS. Make ALPN offer `h2` and `http/1.1`, for clients to choose.
    pub fn tls<A>(self, acceptor: A) -> Server<Tls<A>, K> {
        self.replace(|_, stack| (Tls(acceptor), stack))
    }

    /// Runs pipelined safe requests in parallel, and writes their responses together; see
    /// [`tower_pipeline_guard`]. The service is then called with a
    /// `Request<tower_pipeline_guard::RequestBody<Incoming>>`.
    #[cfg(feature = "pipeline")]
    pub fn pipeline(self, pipeline: tower_pipeline_guard::Pipeline) -> Server<E, crate::Pipelined> {
        let observer = None;
        self.replace(|establish, _| (establish, crate::Pipelined { pipeline, observer }))
    }

    fn replace<E2, K2>(self, f: impl FnOnce(E, K) -> (E2, K2)) -> Server<E2, K2> {
        let (establish, stack) = f(self.establish, self.stack);
        Server {
            establish,
            stack,
            reaper: self.reaper,
            counters: self.counters,
            http1: self.http1,
            http2: self.http2,
            protocol: self.protocol,
            park_after: self.park_after,
            drain: self.drain,
            accept_tasks: self.accept_tasks,
            nodelay: self.nodelay,
        }
    }

    /// Serves what `make_service` makes for each connection: an axum `Router` (feature `axum`), what its
    /// `into_make_service_with_connect_info` returns, a [`Shared`](crate::Shared) tower service, or any
    /// tower service that takes an [`IncomingStream`](crate::IncomingStream).
    pub fn serve<L, M, S>(self, listener: L, make_service: M) -> Serve<L, M, S, E, K> {
        Serve::new(self, listener, make_service)
    }

    pub(crate) fn core(&self) -> Core<K>
    where
        K: Clone,
    {
        let mut http1 = self.http1.clone();
        http1.header_read_timeout(None);
        Core {
            reaper: self.reaper.clone(),
            counters: Arc::clone(&self.counters),
            http1,
            http2: self.http2.clone(),
            protocol: self.protocol,
            park_after: self.park_after,
            stack: self.stack.clone(),
        }
    }
}

#[cfg(feature = "pipeline")]
impl<E> Server<E, crate::Pipelined> {
    /// Has this told of the pipelined requests that run ahead of their turn.
    pub fn on_ahead<O>(mut self, observer: O) -> Self
    where
        O: tower_pipeline_guard::OnAhead + Send + Sync + 'static,
    {
        self.stack.observer = Some(Arc::new(observer));
        self
    }
}

impl<E, K> fmt::Debug for Server<E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("policy", self.reaper.policy())
            .field("drain", &self.drain)
            .field("park_after", &self.park_after)
            .field("protocol", &self.protocol)
            .field("accept_tasks", &self.accept_tasks)
            .field("nodelay", &self.nodelay)
            .finish_non_exhaustive()
    }
}

//! Serving, and how it ends.

use std::convert::Infallible;
use std::fmt;
use std::future::{IntoFuture, pending};
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_idle_reaper::{Accept, DrainSummary, IdleReaper, ReapedListener};
use tower_service::Service;

use crate::accept::{Counted, accept};
use crate::race::{First, first};
use crate::stack::Stack;
use crate::tls::Establish;
use crate::{Handle, IncomingStream, Server};

/// A server that is about to serve; await it.
///
/// If the future is dropped, nothing is accepted any more, and connections that are open go on.
#[must_use = "futures do nothing unless awaited"]
pub struct Serve<L, M, S, E, K> {
    server: Server<E, K>,
    listeners: Vec<L>,
    make_service: M,
    handle: Handle,
    shutdown: Option<Signal>,
    _service: PhantomData<fn() -> S>,
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a server ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Connections that were open when the drain began.
    pub open: usize,
    /// How many of those were idle.
    pub idle: usize,
    /// Connections that ended by themselves during the drain, those accepted meanwhile included.
    pub drained: usize,
    /// Connections that had to be cut.
    pub cut: usize,
    /// How many ended for which reason, during the drain.
    pub reasons: Vec<(CloseReason, u64)>,
    /// How long the drain took.
    pub took: Duration,
}

/// How long a connection that has been cut may take to be gone: a handler that does not yield cannot
/// be dropped.
const GONE: Duration = Duration::from_secs(1);

impl<L, M, S, E, K> Serve<L, M, S, E, K> {
    pub(crate) fn new(server: Server<E, K>, listener: L, make_service: M) -> Self {
        let handle = Handle::new(server.reaper.clone(), Arc::clone(&server.counters));
        Self {
            server,
            listeners: vec![listener],
            make_service,
            handle,
            shutdown: None,
            _service: PhantomData,
        }
    }

    /// Accepts from this listener as well.
    pub fn and(mut self, listener: L) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Drains, and stops, when this future resolves.
    pub fn with_graceful_shutdown<F>(mut self, signal: F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    /// The server, for other parts of the program.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The address that the first listener listens on.
    ///
    /// # Errors
    ///
    /// As the listener says.
    pub fn local_addr(&self) -> io::Result<L::Addr>
    where
        L: Accept,
    {
        match self.listeners.first() {
            Some(listener) => listener.local_addr(),
            None => unreachable!("there is one from the beginning"),
        }
    }
}

impl<L, M, S, E, K> IntoFuture for Serve<L, M, S, E, K>
where
    L: Accept,
    M: for<'a> Service<IncomingStream<'a, E::Io, L::Addr>, Response = S, Error = Infallible>
        + Clone
        + Send
        + 'static,
    for<'a> <M as Service<IncomingStream<'a, E::Io, L::Addr>>>::Future: Send,
    S: Send + 'static,
    E: Establish<L::Io>,
    K: Stack<E::Io, S>,
{
    type Output = io::Result<Summary>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(self.run()))
    }
}

impl<L, M, S, E, K> Serve<L, M, S, E, K>
where
    L: Accept,
    M: for<'a> Service<IncomingStream<'a, E::Io, L::Addr>, Response = S, Error = Infallible>
        + Clone
        + Send
        + 'static,
    for<'a> <M as Service<IncomingStream<'a, E::Io, L::Addr>>>::Future: Send,
    S: Send + 'static,
    E: Establish<L::Io>,
    K: Stack<E::Io, S>,
{
    async fn run(self) -> io::Result<Summary> {
        let Self {
            server,
            listeners,
            #[cfg_attr(
                not(feature = "axum"),
                expect(unused_mut, reason = "prepared for axum")
            )]
            mut make_service,
            handle,
            shutdown,
            _service,
        } = self;
        #[cfg(feature = "axum")]
        crate::axum::prepare(&mut make_service);
        let core = Arc::new(server.core());
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let counted = Counted {
                inner: listener,
                counters: Arc::clone(&server.counters),
                nodelay: server.nodelay,
            };
            let listener = Arc::new(Mutex::new(ReapedListener::new(counted, &server.reaper)));
            for _ in 0..server.accept_tasks.get() {
                accepting.spawn(accept(
                    Arc::clone(&listener),
                    Arc::clone(&core),
                    server.establish.clone(),
                    make_service.clone(),
                ));
            }
        }
        let asked = async {
            let signal = async {
                match shutdown {
                    Some(signal) => signal.await,
                    None => pending().await,
                }
            };
            first(signal, handle.asked(1)).await;
        };
        // A drain of the reaper by someone else ends the tasks, too.
        if let First::Left(failed) = first(failure(&mut accepting), asked).await {
            failed?;
        }
        let before: Vec<_> = reasons(&server.reaper).collect();
        let drained = drain(&server, &handle).await;
        while accepting.join_next().await.is_some() {}
        gone(&server.reaper).await;
        Ok(summarize(&server.reaper, &before, drained))
    }
}

/// Resolves when all tasks have ended, or one has panicked.
async fn failure(accepting: &mut JoinSet<()>) -> io::Result<()> {
    while let Some(ended) = accepting.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Drains; a second request to shut down cuts what is left.
async fn drain<E, K>(server: &Server<E, K>, handle: &Handle) -> DrainSummary {
    let began = Instant::now();
    let mut open = DrainSummary::default();
    let draining = server.reaper.drain(server.drain);
    match first(draining, handle.asked(2)).await {
        First::Left(summary) => open = summary,
        First::Right(()) => {
            let cut = server.reaper.drain(Duration::ZERO).await;
            open.open = cut.open;
            open.idle = cut.idle;
            open.cut = cut.cut;
        }
    }
    open.took = Instant::now().saturating_duration_since(began);
    open
}

/// Gives what has been cut the time to be dropped.
async fn gone(reaper: &IdleReaper) {
    let deadline = Instant::now() + GONE;
    while reaper.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn reasons(reaper: &IdleReaper) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
    CloseReason::ALL
        .iter()
        .map(|&reason| (reason, reaper.closed(reason)))
}

fn summarize(reaper: &IdleReaper, before: &[(CloseReason, u64)], drained: DrainSummary) -> Summary {
    let reasons: Vec<_> = reasons(reaper)
        .zip(before)
        .map(|((reason, after), (_, before))| (reason, after.saturating_sub(*before)))
        .filter(|&(_, count)| count > 0)
        .collect();
    let ended: u64 = reasons.iter().map(|(_, count)| count).sum();
    Summary {
        open: drained.open,
        idle: drained.idle,
        drained: usize::try_from(ended)
            .unwrap_or(usize::MAX)
            .saturating_sub(drained.cut),
        cut: drained.cut,
        reasons,
        took: drained.took,
    }
}

/// The future of [`Serve`].
#[must_use = "futures do nothing unless polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<Summary>> + Send>>);

impl Future for ServeFuture {
    type Output = io::Result<Summary>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}

impl<L: fmt::Debug, M: fmt::Debug, S, E, K> fmt::Debug for Serve<L, M, S, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("server", &self.server)
            .field("listeners", &self.listeners)
            .field("make_service", &self.make_service)
            .finish_non_exhaustive()
    }
}

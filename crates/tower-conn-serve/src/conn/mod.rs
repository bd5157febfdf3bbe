//! One connection, from accept to close.

mod cold;
mod hot;
mod protocol;
mod seat;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::{CloseReason, Connection};
use tower_idle_reaper::{IdleReaper, ReapedIo};

use self::cold::{Cold, Woken};
use self::hot::{Http1, Http2};
pub use self::protocol::Protocol;
use crate::counters::Counters;
use crate::executor::StreamExecutor;
use crate::stack::Stack;

/// What the connections of a server have in common.
pub(crate) struct Core<K> {
    pub(crate) reaper: IdleReaper,
    pub(crate) counters: Arc<Counters>,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<StreamExecutor>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) park_after: Option<Duration>,
    pub(crate) stack: K,
}

/// A connection that is ready for HTTP.
pub(crate) type Established<T, S> = (ReapedIo<T>, S, Option<Protocol>);

/// Drives one connection. What is large is boxed, and only there while it is needed, so that a
/// connection on which nothing happens is small.
pub(crate) struct Drive<T, S, K: Stack<T, S>, F> {
    core: Arc<Core<K>>,
    state: State<T, S, K, F>,
}

enum State<T, S, K: Stack<T, S>, F> {
    /// TLS handshake, making of the service.
    Establishing(Pin<Box<F>>, Connection),
    Cold(Cold<T, S>),
    Http1(Box<Http1<T, S, K>>),
    Http2(Pin<Box<Http2<T, S, K>>>),
    Closing(ReapedIo<T>),
    Done,
}

impl<T, S, K, F> Drive<T, S, K, F>
where
    K: Stack<T, S>,
    F: Future<Output = Option<Established<T, S>>>,
{
    pub(crate) fn new(core: Arc<Core<K>>, connection: Connection, establish: F) -> Self {
        Self {
            core,
            state: State::Establishing(Box::pin(establish), connection),
        }
    }
}

// Nothing in it is pinned in place: what has to be is boxed.
impl<T, S, K: Stack<T, S>, F> Unpin for Drive<T, S, K, F> {}

impl<T, S, K, F> Future for Drive<T, S, K, F>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Stack<T, S>,
    F: Future<Output = Option<Established<T, S>>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            this.state = match ready!(this.poll_state(cx)) {
                State::Done => {
                    // The transport goes first, and the connection is counted, before this is over.
                    this.state = State::Done;
                    return Poll::Ready(());
                }
                next => next,
            };
        }
    }
}

impl<T, S, K, F> Drive<T, S, K, F>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Stack<T, S>,
    F: Future<Output = Option<Established<T, S>>>,
{
    /// Advances the present state; ready with the next one.
    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<State<T, S, K, F>> {
        match &mut self.state {
            State::Establishing(future, connection) => {
                if let Poll::Ready(established) = future.as_mut().poll(cx) {
                    return Poll::Ready(established.map_or(
                        State::Done,
                        |(io, service, agreed)| {
                            State::Cold(Cold {
                                io,
                                service,
                                head: Box::default(),
                                protocol: self.core.protocol.or(agreed),
                                parked: false,
                            })
                        },
                    ));
                }
                // The service may be long in the making.
                connection.poll_closed(cx).map(|_| State::Done)
            }
            State::Cold(cold) => {
                let woken = ready!(cold.poll(cx));
                Poll::Ready(self.wake(woken))
            }
            State::Http1(http1) => {
                let polled = catch_unwind(AssertUnwindSafe(|| http1.poll(cx)));
                match polled {
                    Ok(Poll::Ready(_)) => Poll::Ready(State::Done),
                    Ok(Poll::Pending) => {
                        let after = self.core.park_after;
                        if after.is_none_or(|after| !http1.is_parkable(after, cx)) {
                            return Poll::Pending;
                        }
                        Poll::Ready(self.park())
                    }
                    Err(_) => Poll::Ready(self.panicked()),
                }
            }
            State::Http2(http2) => {
                match catch_unwind(AssertUnwindSafe(|| http2.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(|_| State::Done),
                    Err(_) => Poll::Ready(self.panicked()),
                }
            }
            State::Closing(io) => {
                // Whether it could be said or not, it is over.
                let _ = ready!(Pin::new(io).poll_shutdown(cx));
                Poll::Ready(State::Done)
            }
            State::Done => Poll::Ready(State::Done),
        }
    }

    /// From cold to what comes next.
    fn wake(&mut self, woken: Woken) -> State<T, S, K, F> {
        let State::Cold(cold) = std::mem::replace(&mut self.state, State::Done) else {
            unreachable!("only a cold connection is woken");
        };
        let core = &self.core;
        if cold.parked {
            match woken {
                Woken::Http(..) => core.counters.unparks.count(),
                Woken::End | Woken::Failed => core.counters.parked_ends.count(),
            }
        }
        match woken {
            Woken::Http(Protocol::Http1, read) => {
                let http1 = Http1::new(core, cold.io, read, cold.service);
                State::Http1(Box::new(http1))
            }
            Woken::Http(Protocol::Http2, read) => {
                let http2 = hot::http2(core, cold.io, read, cold.service);
                State::Http2(Box::pin(http2))
            }
            Woken::End => State::Closing(cold.io),
            Woken::Failed => State::Done,
        }
    }

    fn park(&mut self) -> State<T, S, K, F> {
        let State::Http1(http1) = std::mem::replace(&mut self.state, State::Done) else {
            unreachable!("only HTTP/1 is parked");
        };
        match http1.park() {
            Some(cold) => {
                self.core.counters.parks.count();
                State::Cold(cold)
            }
            None => State::Done,
        }
    }

    /// A handler or a body panicked, and hyper's state is not to be relied on.
    fn panicked(&mut self) -> State<T, S, K, F> {
        self.core.counters.panics.count();
        let connection = match &self.state {
            State::Http1(http1) => Some(http1.connection()),
            _ => None,
        };
        if let Some(connection) = connection {
            connection.close(CloseReason::Panic);
        }
        State::Done
    }
}

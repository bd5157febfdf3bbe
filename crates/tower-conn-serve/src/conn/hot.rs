//! A connection that hyper drives.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};
use tower_conn_core::{CloseReason, Connection};
use tower_idle_reaper::{ReapHandle, ReapedIo, Watch};

use super::cold::Cold;
use super::seat::{Seat, Seated};
use super::{Core, Protocol};
use crate::executor::StreamExecutor;
use crate::stack::Stack;

type Io<T, S, K> = TokioIo<Seated<<K as Stack<T, S>>::Io>>;

/// HTTP/1, until there has been nothing to do for a while.
pub(super) struct Http1<T, S, K: Stack<T, S>> {
    engine: Watch<http1::UpgradeableConnection<Io<T, S, K>, K::Service>>,
    connection: Connection,
    seat: Seat,
    /// Set from the first wait on.
    check: Option<Pin<Box<Sleep>>>,
}

/// HTTP/2, to the end.
pub(super) type Http2<T, S, K> = Watch<
    http2::Connection<TokioIo<<K as Stack<T, S>>::Io>, <K as Stack<T, S>>::Service, StreamExecutor>,
>;

pub(super) fn http2<T, S, K>(
    core: &Core<K>,
    io: ReapedIo<T>,
    read: Bytes,
    service: S,
) -> Http2<T, S, K>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Stack<T, S>,
{
    let connection = io.connection();
    let (io, service) = core.stack.assemble(io, read, service);
    let engine = core.http2.serve_connection(TokioIo::new(io), service);
    core.reaper.watch(engine, connection)
}

impl<T, S, K> Http1<T, S, K>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Stack<T, S>,
{
    pub(super) fn new(core: &Core<K>, io: ReapedIo<T>, read: Bytes, service: S) -> Self {
        let connection = io.connection();
        let (io, service) = core.stack.assemble(io, read, service);
        let seat = Seat::default();
        let io = TokioIo::new(Seated::new(io, seat.clone()));
        let engine = core.http1.serve_connection(io, service).with_upgrades();
        Self {
            engine: core.reaper.watch(engine, connection.clone()),
            connection,
            seat,
            check: None,
        }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        Pin::new(&mut self.engine).poll(cx)
    }

    /// Whether nothing has happened for `after`, and nothing is lost if hyper goes: no request is in
    /// its hands, no body arrives, and nothing is left to be written.
    ///
    /// For a poll that has left the engine waiting. Looks again when it is time to.
    pub(super) fn is_parkable(&mut self, after: Duration, cx: &mut Context<'_>) -> bool {
        let check = match &mut self.check {
            Some(check) if !check.is_elapsed() => return false,
            None if !self.seat.is_waiting() => return false,
            None => {
                self.seat.take_activity();
                self.check.insert(Box::pin(sleep(after)))
            }
            Some(check) => {
                if !self.seat.take_activity() && is_between_requests(&self.seat, &self.connection) {
                    return true;
                }
                check.as_mut().reset(Instant::now() + after);
                check
            }
        };
        if check.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Lets go of hyper's state; `None` if it turns out that something would be lost.
    pub(super) fn park(self) -> Option<Cold<T, S>> {
        let parts = self.engine.into_inner()?.into_parts()?;
        let io = parts.io.into_inner().into_inner();
        let (io, service) = K::take_apart(io, parts.service)?;
        Some(Cold {
            io,
            service,
            // A copy: what hyper read into is eight kibibytes long, and kept by an empty `Bytes`, too.
            head: parts.read_buf.as_ref().into(),
            protocol: Some(Protocol::Http1),
            parked: true,
        })
    }
}

/// Whether hyper holds nothing but the beginning of a next head, if that.
fn is_between_requests(seat: &Seat, connection: &Connection) -> bool {
    seat.is_waiting()
        && connection.exchanges_open() == 0
        && !connection.is_closing()
        && ReapHandle::new(connection)
            .is_some_and(|reaped| !reaped.is_receiving_body() && !reaped.is_tunnel())
}

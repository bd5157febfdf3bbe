//! The pool as a tower service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection as Transport;
use tower_conn_core::{CloseReason, Connection, Exchange};
use tower_keep_alive::KeepAliveHint;
use tower_service::Service;

use crate::body::Lease;
use crate::conn::{Conn, SendFailed, Wire};
use crate::error::BoxError;
use crate::incoming::Incoming;
use crate::origin::address;
use crate::policy::{Asked, Need, answer};
use crate::shared::{Checkout, Dial, Shared, Stats};
use crate::{
    CloseDelimited, ConnectionUse, Delivery, Origin, PoolBody, PoolBuilder, PoolError,
    PoolErrorKind, PoolEvent, PoolObserver,
};

/// A pool of client connections, as a `Service<Request<B>>`.
///
/// See the [crate docs](crate) for what it does and for an example. Clones share their connections;
/// idle ones are closed when the last clone is dropped.
///
/// It is always ready: limits are per origin, so that only the request says whether it has to wait,
/// and it does so in its future. Dropping the future leaves the queue, or, once the request has been
/// sent over HTTP/1.1, closes its connection.
pub struct Pool<C, B, O = ()> {
    shared: Arc<Shared<C, B, O>>,
}

impl<C, B> Pool<C, B>
where
    C: Send + Sync + 'static,
    B: Send + 'static,
{
    /// A pool over this connector with the default limits.
    pub fn new(connector: C) -> Self {
        PoolBuilder::new().build(connector)
    }
}

impl<C, B, O> Pool<C, B, O> {
    pub(crate) fn from_shared(shared: Arc<Shared<C, B, O>>) -> Self {
        Self { shared }
    }

    /// How many connections are open and idle, and how many requests wait.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl Pool<(), ()> {
    /// Options; the same as [`PoolBuilder::new`].
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl<C, B, O> Clone for Pool<C, B, O> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C, B, O> fmt::Debug for Pool<C, B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.shared.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<C, B, O> Service<Request<B>> for Pool<C, B, O>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Transport + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    O: PoolObserver,
{
    type Response = Response<PoolBody>;
    type Error = PoolError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PoolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.shared.note_runtime();
        // One allocation: hyper's own future, which is in there, has no name.
        ResponseFuture {
            inner: Box::pin(exchange(Arc::clone(&self.shared), request)),
        }
    }
}

/// The future of a response.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    inner: Pin<Box<dyn Future<Output = Result<Response<PoolBody>, PoolError>> + Send>>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<PoolBody>, PoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// How often a request that a reused connection handed back unwritten is tried on another one before
/// it insists on a new connection.
const REUSES: u32 = 2;

async fn exchange<C, B, O>(
    pool: Arc<Shared<C, B, O>>,
    mut request: Request<B>,
) -> Result<Response<PoolBody>, PoolError>
where
    C: Dial<B>,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    O: PoolObserver,
{
    let Some(origin) = Origin::of_request(&request) else {
        let error = PoolError::new(PoolErrorKind::InvalidUri, Delivery::NotSent);
        return Err(error.returning(request));
    };
    let mut need = Need::of(&request, &pool.limits);
    let uri = request.uri().clone();
    let version = request.version();
    let mut tries = 0;
    loop {
        need.fresh |= tries > REUSES;
        tries += 1;
        let granted = match pool.checkout(&origin, need) {
            Ok(Checkout::Got(conn)) => Ok(conn),
            Ok(Checkout::Wait(waiting)) => waiting.await,
            Err(error) => Err(error),
        };
        let conn = match granted {
            Ok(conn) => conn,
            Err(error) => return Err(error.returning(request)),
        };
        let idle_for = conn.handle.idle_for();
        let Ok(begun) = conn.handle.begin() else {
            // It closed between the pool and here, and the pool has let go of it.
            conn.unused();
            if conn.handle.exchanges_begun() == 0 {
                return Err(unsent(&conn.handle, None).returning(request));
            }
            continue;
        };
        let usage = ConnectionUse {
            exchanges_before: begun.number().wrapping_sub(1),
            idle_for: idle_for.filter(|_| begun.number() != 1),
        };
        let sent = InFlight::new(conn, begun);
        if usage.is_reused() {
            sent.look_first(idle_for, pool.limits.check_after).await;
            let idle = idle_for.unwrap_or_default();
            pool.watch
                .observer
                .on_event(&PoolEvent::Reused(&sent.conn.handle, idle));
        }
        let asked = Asked::of(&request);
        let http2 = sent.conn.wire == Wire::Http2;
        address(
            &mut request,
            origin.scheme(),
            sent.conn.host.as_ref(),
            http2,
            sent.conn.connected.is_proxied(),
        );
        let written = sent.conn.io.written();
        let result = match sent.conn.send(request) {
            Ok(sending) => sending.await,
            Err(refused) => {
                request = restore(refused, &uri, version);
                let handle = sent.conn.handle.clone();
                drop(sent.end());
                if usage.is_reused() {
                    continue;
                }
                return Err(unsent(&handle, Some(usage)).returning(request));
            }
        };
        let mut failed = match result {
            Ok(response) => {
                return Ok(respond(&pool, sent, usage, &asked, response));
            }
            Err(failed) => failed,
        };
        let handle = sent.conn.handle.clone();
        if sent.conn.wire == Wire::Http1 && sent.conn.io.written() == written {
            failed.delivery = Delivery::NotSent;
        }
        sent.failed(&failed);
        let SendFailed {
            kind,
            delivery,
            request: back,
            source,
            ..
        } = *failed;
        match back.map(|back| restore(back, &uri, version)) {
            Some(back) if usage.is_reused() && kind == PoolErrorKind::Exchange => request = back,
            back => {
                let error = PoolError::new(kind, delivery)
                    .because(source)
                    .on(handle, Some(usage));
                return Err(match back {
                    Some(request) => error.returning(request),
                    None => error,
                });
            }
        }
    }
}

/// The connection ended before it took the request.
fn unsent(connection: &Connection, usage: Option<ConnectionUse>) -> PoolError {
    PoolError::new(PoolErrorKind::Exchange, Delivery::NotSent).on(connection.clone(), usage)
}

/// Undoes what was done to fit a request to its connection.
fn restore<B>(mut request: Request<B>, uri: &Uri, version: http::Version) -> Request<B> {
    *request.uri_mut() = uri.clone();
    *request.version_mut() = version;
    request
}

fn respond<C, B, O>(
    pool: &Shared<C, B, O>,
    sent: InFlight<B>,
    usage: ConnectionUse,
    asked: &Asked,
    mut response: Response<Incoming>,
) -> Response<PoolBody>
where
    B: Send + 'static,
    O: PoolObserver,
{
    let (conn, exchange) = sent.into_parts();
    conn.handle.saw_version(response.version());
    let answer = answer(asked, &response);
    let hint = KeepAliveHint::of(&response);
    conn.note_hint(hint);
    if !hint.is_none() {
        let idle_time = pool.limits.idle_time(hint.timeout());
        pool.watch.observer.on_event(&PoolEvent::Hint {
            connection: &conn.handle,
            hint,
            idle_time: idle_time.map(|(time, _)| time),
        });
    }
    match answer.retire {
        Some(CloseReason::Upgraded) => conn.io.set_upgraded(),
        // Said now, because hyper may close it by itself at the end of the message.
        Some(reason) => {
            conn.handle.request_close(reason);
        }
        None => {}
    }
    let extensions = response.extensions_mut();
    conn.connected.get_extras(extensions);
    extensions.insert(conn.handle.clone());
    extensions.insert(usage);
    if answer.close_delimited {
        extensions.insert(CloseDelimited);
    }
    response.map(|incoming| {
        PoolBody::new(
            incoming,
            Lease {
                conn,
                exchange,
                usage,
                retire: answer.retire,
            },
        )
    })
}

/// A request that is being sent; its connection is of no more use if this is dropped.
struct InFlight<B> {
    conn: Arc<Conn<B>>,
    exchange: Option<Exchange>,
}

impl<B> InFlight<B> {
    const fn new(conn: Arc<Conn<B>>, exchange: Exchange) -> Self {
        Self {
            conn,
            exchange: Some(exchange),
        }
    }

    /// Gives an end of stream, or bytes nobody asked for, that have arrived but that the runtime has
    /// not reported yet, a chance to be seen before the request is written.
    async fn look_first(
        &self,
        idle_for: Option<std::time::Duration>,
        check_after: std::time::Duration,
    ) {
        if idle_for.is_none_or(|idle| idle < check_after) || self.conn.wire == Wire::Http2 {
            return;
        }
        if self.conn.bare_tcp {
            self.conn.io.look_before_use();
        } else if self.conn.wire == Wire::Http1 {
            // What the runtime polls on its way back here includes the transport.
            tokio::task::yield_now().await;
        }
    }

    /// It is over, and the connection takes others as before.
    fn end(mut self) -> Arc<Conn<B>> {
        self.exchange = None;
        self.conn.unused();
        Arc::clone(&self.conn)
    }

    fn failed(self, error: &SendFailed<B>) {
        let conn = self.end();
        if let Some(reason) = error.reason {
            let unannounced = matches!(
                reason,
                CloseReason::PeerClosed | CloseReason::PeerReset | CloseReason::IncompleteMessage
            );
            if unannounced && conn.wire == Wire::Pipelined && error.delivery == Delivery::Ambiguous
            {
                conn.note_lost();
            }
            conn.retire(reason);
        }
        if conn.wire != Wire::Http2 {
            conn.settle();
        }
    }

    fn into_parts(mut self) -> (Arc<Conn<B>>, Exchange) {
        let exchange = self.exchange.take().expect("taken once");
        (Arc::clone(&self.conn), exchange)
    }
}

impl<B> Drop for InFlight<B> {
    fn drop(&mut self) {
        if self.exchange.take().is_none() {
            return;
        }
        if self.conn.wire.is_shared() {
            self.conn.leave();
        } else {
            self.conn.retire(CloseReason::Aborted);
            self.conn.settle();
        }
    }
}

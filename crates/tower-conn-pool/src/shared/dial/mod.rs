//! Opening a connection.

mod dialing;

use std::future::poll_fn;
use std::sync::Arc;

use http::Uri;
use http_body::Body;
use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Transport};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_conn_core::Connection;
use tower_pipeline_guard::client::{Cause, Driver};
use tower_service::Service;

use self::dialing::Dialing;
use super::Shared;
use crate::conn::{Conn, Sender, Wire};
use crate::driver::drive;
use crate::error::BoxError;
use crate::io::IoState;
use crate::observe::Watch;
use crate::{Delivery, Origin, PoolError, PoolErrorKind, PoolObserver};

/// A connector that makes connections for requests with these bodies: what hyper-util's `Connect`
/// asks for.
pub(crate) trait Dial<B>: Sized + Send + Sync + 'static {
    /// Starts opening a connection.
    fn dial<O: PoolObserver>(pool: &Arc<Shared<Self, B, O>>, wanted: Wanted);
}

impl<C, B> Dial<B> for C
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Transport + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn dial<O: PoolObserver>(pool: &Arc<Shared<Self, B, O>>, wanted: Wanted) {
        let dialing = Dialing::new(Arc::clone(pool), wanted);
        pool.spawn(open(dialing));
    }
}

/// A connection that is to be opened.
pub(crate) struct Wanted {
    pub(in crate::shared) origin: Origin,
    /// The waiter it is opened for.
    pub(in crate::shared) ticket: u64,
    /// Whether that waiter's request may switch protocols, for which it needs hyper.
    pub(in crate::shared) switches: bool,
    /// How many HTTP/2 streams the server is taken to allow until it says so.
    pub(in crate::shared) streams: usize,
}

/// What is known about a connection before its protocol has it.
pub(crate) struct Opened {
    pub(crate) handle: Connection,
    pub(crate) state: Arc<IoState>,
    pub(crate) watch: Arc<Watch<dyn PoolObserver>>,
    pub(crate) connected: Connected,
    pub(crate) wire: Wire,
    pub(crate) streams: usize,
    /// Whether the socket itself can be looked at before use.
    pub(crate) bare_tcp: bool,
}

async fn open<C, B, O>(mut dialing: Dialing<C, B, O>)
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
    let limit = dialing.pool.limits.connect_timeout;
    let connect = connect(dialing.pool.connector.clone(), dialing.origin.to_uri());
    let connected = match limit {
        Some(limit) => tokio::time::timeout(limit, connect)
            .await
            .unwrap_or_else(|_| Err(connect_error(PoolErrorKind::ConnectTimeout))),
        None => connect.await,
    };
    let io = match connected {
        Ok(io) => io,
        Err(error) => return dialing.fail(error),
    };
    let (io, opened) = dialing.watch(io);
    let failed = connect_error(PoolErrorKind::Connect).on(opened.handle.clone(), None);
    // Driven by a task of its own, which is no larger than this protocol makes it.
    match opened.wire {
        Wire::Http1 => match dialing.pool.http1.handshake(TokioIo::new(io)).await {
            Ok((sender, hyper)) => {
                let conn = dialing.succeed(opened, Sender::Http1(sender));
                tokio::spawn(drive(conn, hyper.with_upgrades(), |_, _| {}, |_| None));
            }
            Err(error) => dialing.fail(failed.because(error)),
        },
        Wire::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .initial_max_send_streams(opened.streams);
            match builder.handshake(TokioIo::new(io)).await {
                Ok((sender, hyper)) => {
                    let conn = dialing.succeed(opened, Sender::Http2(sender));
                    let streams = |hyper: &http2::Connection<_, _, _>, conn: &Arc<Conn<B>>| {
                        conn.note_streams(hyper.current_max_send_streams());
                    };
                    tokio::spawn(drive(conn, hyper, streams, |_| None));
                }
                Err(error) => dialing.fail(failed.because(error)),
            }
        }
        Wire::Pipelined => {
            let (line, driver) = dialing.pool.limits.pipeline().handshake(io);
            let conn = dialing.succeed(opened, Sender::Pipelined(line));
            let room = |_: &Driver<_, _>, conn: &Arc<Conn<B>>| conn.note_room();
            tokio::spawn(drive(conn, driver, room, |end| {
                end.as_ref().err().map(Cause::close_reason)
            }));
        }
    }
}

async fn connect<C>(mut connector: C, uri: Uri) -> Result<C::Response, PoolError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    let failed = |error: BoxError| connect_error(PoolErrorKind::Connect).because(error);
    poll_fn(|cx| connector.poll_ready(cx).map_err(Into::into))
        .await
        .map_err(failed)?;
    connector
        .call(uri)
        .await
        .map_err(|error| failed(error.into()))
}

fn connect_error(kind: PoolErrorKind) -> PoolError {
    PoolError::new(kind, Delivery::NotSent)
}

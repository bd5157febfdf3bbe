//! One request on a connection of the pool, from the checkout to the head of the response.

use std::sync::Arc;

use http::{Request, Response, Uri};
use http_body::Body;
use tower_conn_core::Connection;
use tower_keep_alive::KeepAliveHint;

use crate::body::Lease;
use crate::conn::{InFlight, Sent, Unanswered};
use crate::error::BoxError;
use crate::incoming::Incoming;
use crate::policy::{Asked, Need, answer};
use crate::shared::{Checkout, Dial, Shared};
use crate::{
    CloseDelimited, CloseReason, ConnectionUse, Delivery, Origin, PoolBody, PoolError,
    PoolErrorKind, PoolEvent, PoolObserver,
};

/// How often a request that a reused connection handed back unwritten is tried on another one before
/// it insists on a new connection.
const REUSES: u32 = 2;

/// Its future is allocated for each request, so it holds the request, and what is sent of it, once.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn makes room for its arguments twice"
)]
pub(crate) fn exchange<C, B, O>(
    pool: Arc<Shared<C, B, O>>,
    mut request: Request<B>,
) -> impl Future<Output = Result<Response<PoolBody>, PoolError>> + Send
where
    C: Dial<B>,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    O: PoolObserver,
{
    async move {
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
            sent.address(&mut request, &origin);
            let written = sent.conn.io.written();
            let failed = match sent.conn.send(request).await {
                Sent::Answered(response) => {
                    return Ok(respond(&pool, sent, usage, &asked, response));
                }
                Sent::Refused(refused) => {
                    request = restore(*refused, &uri, version);
                    let handle = sent.conn.handle.clone();
                    drop(sent.end());
                    if usage.is_reused() {
                        continue;
                    }
                    return Err(unsent(&handle, Some(usage)).returning(request));
                }
                Sent::Failed(failed) => failed,
            };
            match sent.failed(failed, written, usage) {
                Unanswered::Again(back) => request = restore(back, &uri, version),
                Unanswered::GivenUp(error, None) => return Err(error),
                Unanswered::GivenUp(error, Some(back)) => {
                    return Err(error.returning(restore(back, &uri, version)));
                }
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

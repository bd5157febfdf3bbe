//! The task that drives one connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;
use tower_conn_core::CloseReason;

use crate::conn::{Conn, Returning};

/// How long an orderly close may take: the flush, close_notify under TLS, the shutdown.
const CLOSING: Duration = Duration::from_secs(1);

/// Drives a connection until it ends, is closed by order, or must be cut.
///
/// `protocol` speaks HTTP over the transport; `note` tells the connection, after each turn, what has
/// changed; `reason` says why it ended, if the protocol knows better than the transport.
pub(crate) async fn drive<B, P: Future>(
    conn: Arc<Conn<B>>,
    protocol: P,
    note: impl Fn(&P, &Arc<Conn<B>>),
    reason: impl Fn(&P::Output) -> Option<CloseReason>,
) {
    {
        let mut protocol = pin!(protocol);
        let mut returning: Option<Returning> = None;
        let mut closing = false;
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(end) = protocol.as_mut().poll(cx) {
                    if let Some(reason) = reason(&end) {
                        conn.handle.request_close(reason);
                    }
                    return Poll::Ready(());
                }
                note(&protocol, &conn);
                if !closing && conn.handle.poll_drained(cx).is_ready() {
                    leave(&conn);
                    // Nothing orderly can come of a message that is half written.
                    if conn.handle.exchanges_open() > 0 || !conn.io.is_request_done() {
                        return Poll::Ready(());
                    }
                    closing = true;
                    timer = Some(Box::pin(tokio::time::sleep(CLOSING)));
                    // It has to see that its sender is gone.
                    continue;
                }
                if let Some(new) = conn.poll_returning(cx) {
                    returning = Some(new);
                    let limit = conn.home().map_or(CLOSING, |home| home.drain_limits().1);
                    timer = Some(Box::pin(tokio::time::sleep(limit)));
                }
                if returning.is_some() {
                    if let Poll::Ready(reason) = conn.poll_return(cx, &mut returning) {
                        conn.handle.close(reason);
                        return Poll::Ready(());
                    }
                    if returning.is_none() {
                        timer = None;
                    }
                }
                let expired = timer
                    .as_mut()
                    .is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
                if expired {
                    if let Some(returning) = &returning {
                        conn.handle.close(returning.reason());
                    }
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        })
        .await;
        // Before the transport goes, with the protocol's future, nobody finds it here.
        leave(&conn);
    }
    conn.clear();
}

fn leave<B>(conn: &Arc<Conn<B>>) {
    if let Some(home) = conn.home() {
        home.forget(conn);
    }
    conn.hang_up();
}

//! The task that drives one connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use crate::conn::{Conn, Returning};

/// How long an orderly close may take: the flush, close_notify under TLS, the shutdown.
const CLOSING: Duration = Duration::from_secs(1);

/// Drives hyper's connection until it ends, is closed by order, or must be cut.
pub(crate) async fn drive<B, F>(conn: Arc<Conn<B>>, hyper: F)
where
    F: Future<Output = hyper::Result<()>>,
{
    {
        let mut hyper = pin!(hyper);
        let mut returning: Option<Returning> = None;
        let mut closing = false;
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            loop {
                if hyper.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if !closing && conn.handle.poll_drained(cx).is_ready() {
                    leave(&conn);
                    // Nothing orderly can come of a message that is half written.
                    if conn.handle.exchanges_open() > 0 || !conn.io.is_request_done() {
                        return Poll::Ready(());
                    }
                    closing = true;
                    timer = Some(Box::pin(tokio::time::sleep(CLOSING)));
                    // hyper has to see that its sender is gone.
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
        // Before the transport goes, with the future of hyper's connection, nobody finds it here.
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

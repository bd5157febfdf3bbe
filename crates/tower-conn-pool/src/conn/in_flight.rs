//! A request that is being sent on a connection.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tower_conn_core::{CloseReason, Exchange};

use super::{Conn, SendFailed, Wire};
use crate::origin::address;
use crate::{ConnectionUse, Delivery, Origin, PoolError, PoolErrorKind};

/// A request without a response.
pub(crate) enum Unanswered<B> {
    /// It was never written, on a connection that had been used before: another one may take it.
    Again(Request<B>),
    /// With the request, if it was never written.
    GivenUp(PoolError, Option<Request<B>>),
}

/// A request that is being sent; its connection is of no more use if this is dropped.
pub(crate) struct InFlight<B> {
    pub(crate) conn: Arc<Conn<B>>,
    exchange: Option<Exchange>,
}

impl<B> InFlight<B> {
    pub(crate) const fn new(conn: Arc<Conn<B>>, exchange: Exchange) -> Self {
        Self {
            conn,
            exchange: Some(exchange),
        }
    }

    /// Gives an end of stream, or bytes nobody asked for, that have arrived but that the runtime has
    /// not reported yet, a chance to be seen before the request is written.
    pub(crate) async fn look_first(&self, idle_for: Option<Duration>, check_after: Duration) {
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
    pub(crate) fn end(mut self) -> Arc<Conn<B>> {
        self.exchange = None;
        self.conn.unused();
        Arc::clone(&self.conn)
    }

    /// Makes the request fit the connection.
    pub(crate) fn address(&self, request: &mut Request<B>, origin: &Origin) {
        let (host, http2) = (self.conn.host.as_ref(), self.conn.wire == Wire::Http2);
        address(
            request,
            origin.scheme(),
            host,
            http2,
            self.conn.connected.is_proxied(),
        );
    }

    /// There is no response.
    #[cold]
    pub(crate) fn failed(
        self,
        mut failed: Box<SendFailed<B>>,
        written: u64,
        usage: ConnectionUse,
    ) -> Unanswered<B> {
        let handle = self.conn.handle.clone();
        if self.conn.wire == Wire::Http1 && self.conn.io.written() == written {
            failed.delivery = Delivery::NotSent;
        }
        self.retire_after(&failed);
        let SendFailed {
            kind,
            delivery,
            request,
            source,
            ..
        } = *failed;
        match request {
            Some(request) if usage.is_reused() && kind == PoolErrorKind::Exchange => {
                Unanswered::Again(request)
            }
            request => {
                let error = PoolError::new(kind, delivery).because(source);
                Unanswered::GivenUp(error.on(handle, Some(usage)), request)
            }
        }
    }

    fn retire_after(self, error: &SendFailed<B>) {
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

    pub(crate) fn into_parts(mut self) -> (Arc<Conn<B>>, Exchange) {
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

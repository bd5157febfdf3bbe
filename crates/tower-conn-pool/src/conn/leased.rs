//! What becomes of a connection when the response of an exchange ends.

use std::sync::Arc;

use http_body::Body;
use tower_conn_core::{CloseReason, Exchange};

use super::{Conn, Returning, Wire};
use crate::body::Leased;
use crate::incoming::Incoming;

impl<B: Send + 'static> Leased for Conn<B> {
    fn finished(self: Arc<Self>, exchange: Exchange, retire: Option<CloseReason>) {
        match retire {
            // The transport belongs to the tunnel now, and tells its end by itself.
            Some(CloseReason::Upgraded) => drop(exchange),
            Some(reason) => {
                drop(exchange);
                self.retire(reason);
                self.settle();
                if self.wire.is_shared() {
                    self.leave();
                }
            }
            None if self.wire.is_shared() => {
                drop(exchange);
                self.leave();
            }
            None if self.is_ready() => self.free(exchange),
            None => self.leave_to_driver(Returning::Unready(exchange)),
        }
    }

    fn dropped(self: Arc<Self>, rest: Incoming, exchange: Exchange, retire: Option<CloseReason>) {
        if self.wire.is_shared() {
            // HTTP/2 sends RST_STREAM. A pipelined connection reads the rest, within bounds, and says
            // when it has.
            drop(rest);
            drop(exchange);
            if let Some(reason) = retire {
                self.retire(reason);
            }
            return self.leave();
        }
        let limit = self.home().map_or(0, |home| home.drain_limits().0);
        if retire.is_some() || rest.size_hint().lower() > limit {
            drop(exchange);
            self.retire(CloseReason::BodyDropped);
        } else {
            self.leave_to_driver(Returning::Drain(rest, limit, exchange, retire));
        }
    }

    fn failed(self: Arc<Self>, exchange: Exchange, reason: CloseReason) {
        drop(exchange);
        match self.wire {
            Wire::Http1 => {
                self.retire(reason);
                self.settle();
            }
            Wire::Http2 => self.leave(),
            Wire::Pipelined => {
                self.retire(reason);
                self.settle();
                self.leave();
            }
        }
    }
}

//! Making a connection.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::inner::{Attachment, Inner};
use super::{Connection, Link};
use crate::observe::Observer;
use crate::{OnExchange, Side, StampSlot};

/// Options of a [`Connection`]; see [`Connection::builder`].
#[must_use = "call `build`"]
pub struct ConnectionBuilder {
    pub(super) side: Side,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) slot: Option<StampSlot>,
    pub(super) attachment: Option<Attachment>,
    pub(super) observer: Option<Observer>,
}

impl ConnectionBuilder {
    pub(super) const fn new(side: Side) -> Self {
        Self {
            side,
            local_addr: None,
            peer_addr: None,
            slot: None,
            attachment: None,
            observer: None,
        }
    }

    /// The local address of the transport.
    pub const fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }

    /// The peer's address. The flow information of an IPv6 address is not kept.
    pub const fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Keeps the idle time in this slot of a [`StampTable`](crate::StampTable), with the table's
    /// coarse clock, instead of reading a clock at the end of each exchange. The slot is free again
    /// when the last handle of the connection is dropped.
    pub fn stamp(mut self, slot: StampSlot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Attaches something of the driver's own, which middleware reaches through
    /// [`Connection::attachment`]. For something that many connections have in common, see
    /// [`StampTable::attach`](crate::StampTable::attach).
    pub fn attach<T: Any + Send + Sync>(mut self, attachment: Arc<T>) -> Self {
        self.attachment = Some(attachment);
        self
    }

    /// Has this told of the exchanges of the connection.
    pub fn on_exchange(mut self, observer: Arc<dyn OnExchange + Send + Sync>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The connection: open, idle from now on.
    #[must_use]
    pub fn build(self) -> Connection {
        Connection {
            link: Link {
                inner: Arc::new(Inner::new(self)),
            },
            exchange: None,
        }
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder")
            .field("side", &self.side)
            .field("local_addr", &self.local_addr)
            .field("peer_addr", &self.peer_addr)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

use std::ops::{Deref, DerefMut};

use tokio::sync::oneshot;

use super::connection::{Arrived, PeerConnection};
use crate::raw::{RawError, RawRequest};

/// One request at the peer, and the [`PeerConnection`] to answer it on (to which this dereferences).
/// When it is dropped with the connection still open, the peer waits for the next request on it.
#[derive(Debug)]
pub struct Exchange {
    /// The request as seen on the wire.
    pub request: RawRequest,
    nth: usize,
    total: usize,
    connection: Option<PeerConnection>,
    back: Option<oneshot::Sender<PeerConnection>>,
}

impl Exchange {
    pub(super) fn new(
        arrived: Arrived,
        connection: PeerConnection,
    ) -> (Self, oneshot::Receiver<PeerConnection>) {
        let (back, returned) = oneshot::channel();
        let exchange = Self {
            request: arrived.request,
            nth: arrived.nth,
            total: arrived.total,
            connection: Some(connection),
            back: Some(back),
        };
        (exchange, returned)
    }

    /// The place of this request on its connection, from 1.
    #[must_use]
    pub fn nth(&self) -> usize {
        self.nth
    }

    /// The place of this request among all that the peer has seen, from 1.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Reads the body of a request handed over [by its head](super::ScriptedPeer::on_head) into
    /// [`Exchange::request`]. Does nothing when it is there already.
    pub async fn read_body(&mut self) -> Result<(), RawError> {
        if let Some(request) = self.finish_begun().await? {
            self.request = request;
        }
        Ok(())
    }
}

impl Deref for Exchange {
    type Target = PeerConnection;

    fn deref(&self) -> &PeerConnection {
        self.connection.as_ref().expect("given back only at drop")
    }
}

impl DerefMut for Exchange {
    fn deref_mut(&mut self) -> &mut PeerConnection {
        self.connection.as_mut().expect("given back only at drop")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let (Some(connection), Some(back)) = (self.connection.take(), self.back.take()) {
            // Nobody waits for it when the peer itself is gone.
            let _ = back.send(connection);
        }
    }
}

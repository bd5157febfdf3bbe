//! What a make service is called with.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tower_conn_core::Connection;
use tower_service::Service;

/// An accepted connection, as the make service sees it, once for each.
///
/// The counterpart of axum's type of the same name. Over TLS it is made after the handshake, and
/// [`io`](Self::io) is the TLS stream: the place to look for a client certificate.
#[derive(Debug)]
pub struct IncomingStream<'a, I, A> {
    pub(crate) io: &'a I,
    pub(crate) remote_addr: &'a A,
    pub(crate) connection: &'a Connection,
}

impl<'a, I, A> IncomingStream<'a, I, A> {
    /// The transport.
    #[must_use]
    pub const fn io(&self) -> &'a I {
        self.io
    }

    /// The address of the peer, as the listener gave it.
    #[must_use]
    pub const fn remote_addr(&self) -> &'a A {
        self.remote_addr
    }

    /// The handle that the requests of the connection carry.
    #[must_use]
    pub const fn connection(&self) -> &'a Connection {
        self.connection
    }
}

/// A make service that clones one service for every connection.
///
/// For a tower service that is not an axum `Router`, which is a make service of its own.
#[derive(Clone, Debug)]
pub struct Shared<S> {
    service: S,
}

impl<S> Shared<S> {
    /// Serves every connection with a clone of this service.
    pub const fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S: Clone, I, A> Service<IncomingStream<'_, I, A>> for Shared<S> {
    type Response = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: IncomingStream<'_, I, A>) -> Self::Future {
        ready(Ok(self.service.clone()))
    }
}

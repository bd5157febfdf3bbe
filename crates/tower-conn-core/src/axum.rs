//! `Connection` as connect info of `axum::serve`.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};

use crate::{Connection, Side};

/// An accepted transport that has, or can be given, a [`Connection`].
///
/// Implemented for the streams of tokio (each call makes a new connection, with the addresses of the
/// stream) and by the transports of this workspace that carry a connection of their own.
pub trait TransportConnection {
    /// The connection of this transport.
    fn connection(&self) -> Connection;
}

impl TransportConnection for TcpStream {
    fn connection(&self) -> Connection {
        let mut builder = Connection::builder(Side::Server);
        if let Ok(addr) = self.local_addr() {
            builder = builder.local_addr(addr);
        }
        if let Ok(addr) = self.peer_addr() {
            builder = builder.peer_addr(addr);
        }
        builder.build()
    }
}

#[cfg(unix)]
impl TransportConnection for tokio::net::UnixStream {
    fn connection(&self) -> Connection {
        Connection::server()
    }
}

/// A [`Connection`] for each accepted TCP connection, found by [`Connection::of`] on its requests.
///
/// ```
/// use axum::{Router, routing::get};
/// use tokio::net::TcpListener;
/// use tower_conn_core::Connection;
///
/// # async fn serve() -> std::io::Result<()> {
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await
/// # }
/// ```
impl Connected<IncomingStream<'_, TcpListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        stream.io().connection()
    }
}

/// The connection that the accepted transport carries.
impl<L> Connected<IncomingStream<'_, ConnectionListener<L>>> for Connection
where
    L: Listener,
    L::Io: TransportConnection,
{
    fn connect_info(stream: IncomingStream<'_, ConnectionListener<L>>) -> Self {
        stream.io().connection()
    }
}

/// A listener for `axum::serve` whose transports bring their [`Connection`] with them.
///
/// Only needed around listeners other than tokio's `TcpListener`: axum's traits can be implemented
/// for a `Connection` here, and not in the crates whose listeners it comes from.
#[derive(Debug)]
pub struct ConnectionListener<L> {
    inner: L,
}

impl<L> ConnectionListener<L> {
    /// Wraps a listener; what it accepts is passed on unchanged.
    pub const fn new(inner: L) -> Self {
        Self { inner }
    }

    /// The wrapped listener.
    pub const fn get_ref(&self) -> &L {
        &self.inner
    }
}

impl<L> Listener for ConnectionListener<L>
where
    L: Listener,
    L::Io: TransportConnection,
{
    type Io = L::Io;
    type Addr = L::Addr;

    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send {
        self.inner.accept()
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

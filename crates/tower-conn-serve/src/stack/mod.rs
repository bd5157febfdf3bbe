//! What lies between the transport and hyper, and between hyper and the application.

#[cfg(feature = "pipeline")]
mod pipelined;
mod rewind;
mod serial;

use std::error::Error as StdError;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::Connection;
use tower_idle_reaper::ReapedIo;

#[cfg(feature = "pipeline")]
pub use self::pipelined::{Guarded, Pipelined};
pub use self::rewind::Rewind;
pub use self::serial::{Oneshot, PerConnection, Ready, Serial};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// How the requests of one connection reach a service `S`; see [`Serial`] and `Pipelined` (feature
/// `pipeline`). Not to be implemented elsewhere.
pub trait Stack<T, S>: Clone + Send + Sync + sealed::Sealed + 'static {
    /// The body of a response.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
    /// A failure of the service.
    type Error: Into<BoxError>;
    /// The response to come.
    type Future: Future<Output = Result<Response<Self::Body>, Self::Error>> + Send + 'static;
    /// What hyper reads from and writes to.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What hyper calls.
    type Service: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Self::Body>,
            Error = Self::Error,
            Future = Self::Future,
        > + Send
        + 'static;

    /// Puts the parts together. The first bytes that hyper reads are `read`.
    fn assemble(&self, io: ReapedIo<T>, read: Bytes, service: S) -> (Self::Io, Self::Service);

    /// Takes them apart again; `None` if bytes would be lost by that.
    fn take_apart(io: Self::Io, service: Self::Service) -> Option<(ReapedIo<T>, S)>;
}

pub(crate) mod sealed {
    #[allow(unnameable_types, reason = "that is its purpose")]
    pub trait Sealed {}
}

pub(crate) fn connection_of<T>(io: &ReapedIo<T>) -> Connection {
    io.connection()
}

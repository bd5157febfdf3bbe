//! From an accepted transport to one that speaks HTTP.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tower_idle_reaper::ReapedIo;

use crate::conn::Protocol;

/// Makes a TLS stream of an accepted transport.
///
/// Implemented for tokio-rustls's `TlsAcceptor` (feature `rustls`); implement it for a type of your own
/// to use another library, or to choose a configuration by the ClientHello.
///
/// The handshake counts as the first head of the connection: the limits on the first byte and on a head
/// bound it (see [`Policy`](tower_idle_reaper::Policy)), and other connections are accepted meanwhile.
pub trait Acceptor<I>: Clone + Send + Sync + 'static {
    /// The TLS stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Does the handshake.
    fn accept(&self, io: I) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// The protocol that was agreed on by ALPN, if one was. `h2` is served as HTTP/2, `http/1.1` as
    /// HTTP/1; otherwise the first bytes decide.
    fn alpn(io: &Self::Io) -> Option<&[u8]>;
}

/// How connections become ready for HTTP; see [`Plain`] and [`Tls`]. Not to be implemented elsewhere.
pub trait Establish<I>: Clone + Send + Sync + sealed::Sealed + 'static {
    /// What HTTP is spoken over.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    #[doc(hidden)]
    fn establish(
        &self,
        io: ReapedIo<I>,
    ) -> impl Future<Output = io::Result<(ReapedIo<Self::Io>, Option<Protocol>)>> + Send;
}

/// HTTP right on the accepted transport: the default.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// HTTP over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Tls<A>(pub(crate) A);

impl<I> Establish<I> for Plain
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = I;

    async fn establish(&self, io: ReapedIo<I>) -> io::Result<(ReapedIo<I>, Option<Protocol>)> {
        Ok((io, None))
    }
}

impl<I, A> Establish<I> for Tls<A>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Acceptor<ReapedIo<I>>,
{
    type Io = A::Io;

    async fn establish(&self, io: ReapedIo<I>) -> io::Result<(ReapedIo<A::Io>, Option<Protocol>)> {
        let io = io.under_tls();
        let connection = io.connection();
        let tls = self.0.accept(io).await?;
        let agreed = A::alpn(&tls).and_then(Protocol::of_alpn);
        match ReapedIo::over_tls(tls, &connection) {
            Ok(io) => Ok((io, agreed)),
            Err(_) => unreachable!("the connection is the reaper's"),
        }
    }
}

impl sealed::Sealed for Plain {}
impl<A> sealed::Sealed for Tls<A> {}

mod sealed {
    #[allow(unnameable_types, reason = "that is its purpose")]
    pub trait Sealed {}
}

#[cfg(feature = "rustls")]
mod rustls {
    use std::io;

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    use super::Acceptor;

    impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Acceptor<I> for TlsAcceptor {
        type Io = TlsStream<I>;

        fn accept(&self, io: I) -> impl Future<Output = io::Result<TlsStream<I>>> + Send {
            Self::accept(self, io)
        }

        fn alpn(io: &TlsStream<I>) -> Option<&[u8]> {
            io.get_ref().1.alpn_protocol()
        }
    }
}

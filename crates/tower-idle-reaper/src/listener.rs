//! Listeners whose connections are under a reaper.

use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream, unix};

use crate::IdleReaper;
use crate::io::ReapedIo;

/// What connections are accepted from.
pub trait Accept: Send + 'static {
    /// An accepted transport.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The address of a peer.
    type Addr: fmt::Debug + Send + 'static;

    /// The next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// As the listener says.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// The address by which connections of one peer are counted, if it has one.
    fn peer_of(addr: &Self::Addr) -> Option<SocketAddr>;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn peer_of(addr: &SocketAddr) -> Option<SocketAddr> {
        Some(*addr)
    }
}

#[cfg(unix)]
impl Accept for UnixListener {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        Self::local_addr(self)
    }

    fn peer_of(_: &unix::SocketAddr) -> Option<SocketAddr> {
        None
    }
}

/// A listener whose connections are under an [`IdleReaper`].
///
/// It accepts a connection, waits until there is [room](IdleReaper::admit) for it, and closes it
/// again if its address has too many. Failures to accept never reach the caller: when the process is
/// out of file descriptors, idle connections are closed and accepting is tried again, after 5 ms at
/// first and 1 s at most. Once the reaper has begun to [drain](IdleReaper::drain) and its lame-duck
/// time is over, nothing is accepted any more.
///
/// In a plain hyper accept loop use [`accept`](Self::accept); for `axum::serve` see
/// `IdleReaper::listener` (feature `axum`).
#[derive(Debug)]
pub struct ReapedListener<L> {
    inner: L,
    reaper: IdleReaper,
}

impl<L> ReapedListener<L> {
    /// A listener under this reaper.
    pub fn new(inner: L, reaper: &IdleReaper) -> Self {
        Self {
            inner,
            reaper: reaper.clone(),
        }
    }

    /// The wrapped listener.
    pub const fn get_ref(&self) -> &L {
        &self.inner
    }

    /// The reaper.
    pub const fn reaper(&self) -> &IdleReaper {
        &self.reaper
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl<L: Accept> ReapedListener<L> {
    /// The next connection that is admitted.
    ///
    /// # Cancel safety
    ///
    /// A connection that was accepted and waits for room is closed if the future is dropped.
    pub async fn accept(&mut self) -> (ReapedIo<L::Io>, L::Addr) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.reaper.inner.drain.is_refusing() {
                pending::<()>().await;
            }
            let accepted = {
                let mut accept = pin!(self.inner.accept());
                let mut refusing = pin!(self.reaper.inner.drain.refusing());
                poll_fn(|cx| match accept.as_mut().poll(cx) {
                    Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                    Poll::Pending => refusing.as_mut().poll(cx).map(|()| None),
                })
                .await
            };
            let Some(accepted) = accepted else { continue };
            match accepted {
                Ok((io, addr)) => {
                    pause = FIRST_PAUSE;
                    if let Ok(io) = self.reaper.admit(io, L::peer_of(&addr)).await {
                        return (io, addr);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    let inner = &self.reaper.inner;
                    inner.evict(inner.pressure_batch());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// As the listener says.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.inner.local_addr()
    }
}

/// Whether a failure to accept concerns the connection alone, which was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(feature = "axum")]
mod axum_serve {
    use std::io;

    use axum::serve::Listener;
    use tower_conn_core::ConnectionListener;

    use super::{Accept, ReapedListener};
    use crate::IdleReaper;
    use crate::io::ReapedIo;

    impl<L: Accept> Listener for ReapedListener<L> {
        type Io = ReapedIo<L::Io>;
        type Addr = L::Addr;

        fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send {
            Self::accept(self)
        }

        fn local_addr(&self) -> io::Result<Self::Addr> {
            Self::local_addr(self)
        }
    }

    impl IdleReaper {
        /// A listener for `axum::serve` whose connections are under this reaper, and are found on
        /// their requests when the router is served with
        /// `into_make_service_with_connect_info::<Connection>()`.
        ///
        /// See the [crate documentation](crate#under-axumserve) for the whole of it.
        pub fn listener<L: Accept>(&self, inner: L) -> ConnectionListener<ReapedListener<L>> {
            ConnectionListener::new(ReapedListener::new(inner, self))
        }
    }
}

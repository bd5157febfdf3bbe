//! The transport wrapper: sees bytes, keeps the clocks, closes.

mod linger;
mod read;
mod write;

use std::fmt;

use tower_conn_core::{CloseReason, Connection, Link};

use crate::limits::Phase;
use crate::shared::{self, Shared};
use crate::wire::Wire;

use self::linger::Closing;

/// A transport under an [`IdleReaper`](crate::IdleReaper).
///
/// Wraps anything that is `AsyncRead + AsyncWrite + Unpin`, and goes between the transport and the
/// HTTP engine. What it does:
///
/// - It notes when the first byte, a head and the parts of a body arrive, and when the peer does not
///   take what is written. That is what the limits of the [`Policy`](crate::Policy) are measured on.
/// - When the connection has to close and no exchange is open, it reports the end of the stream.
///   An HTTP/1 engine takes that as the client having gone, and closes with a FIN. A request whose
///   bytes are in the receive buffer is delivered first.
/// - It holds the end of the stream back from the engine while the answer to a half-closed client is
///   still to come (see [`Policy::half_close`](crate::Policy::half_close)).
/// - When the engine shuts it down, it [lingers](crate::Linger) where that is needed.
/// - When it is dropped, the connection has ended: it is counted, for exactly one reason.
///
/// It belongs to one [`Connection`], whose handle must reach the middleware: [`connection`](Self::connection).
///
/// # Under and over TLS
///
/// What closes a connection belongs over TLS, so that the peer is sent a close_notify; what reads and
/// discards belongs under it. [`IdleReaper::wrap`](crate::IdleReaper::wrap) the accepted transport,
/// call [`under_tls`](Self::under_tls) before the handshake, and put the TLS stream
/// [`over_tls`](Self::over_tls) with the same connection:
///
/// ```
/// # use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
/// # use tower_idle_reaper::{IdleReaper, ReapedIo};
/// # async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> T { io }
/// # async fn accept(reaper: IdleReaper, tcp: DuplexStream) {
/// let tcp = reaper.wrap(tcp, None).under_tls();
/// let connection = tcp.connection();
/// let tls = handshake(tcp).await;
/// let io = ReapedIo::over_tls(tls, &connection).expect("a connection of the reaper");
/// # drop(io);
/// # }
/// ```
///
/// | | under TLS | over TLS |
/// |---|---|---|
/// | first byte, write stall, linger, byte counts, accounting | yes | no |
/// | head (the handshake counts as one), body, idle, half-close | no | yes |
pub struct ReapedIo<T> {
    inner: T,
    link: Link,
    wire: Wire,
    /// How many exchanges had begun when reading last came to what `last_read` says, modulo 2^16.
    begun: u16,
    role: Role,
    /// The phase that this side last entered, to save looking it up.
    phase: Phase,
    /// The peer has ended its side or failed, as an end to be counted.
    fallback: Option<CloseReason>,
    writing: Writing,
    last_read: LastRead,
    closing: Closing,
}

/// Whether the peer takes what is ready for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// It has taken everything.
    Free,
    /// It takes some.
    Blocked,
    /// It takes nothing.
    Stalled,
}

/// What reading last came to, as far as closing has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastRead {
    Bytes,
    /// A whole head, on an idle connection: its exchange is about to begin.
    Head,
    /// Nothing.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Plain,
    UnderTls,
    OverTls,
}

impl Role {
    /// Whether the bytes are those of HTTP.
    const fn is_http(self) -> bool {
        matches!(self, Self::Plain | Self::OverTls)
    }

    /// Whether it is on the transport itself.
    const fn is_transport(self) -> bool {
        matches!(self, Self::Plain | Self::UnderTls)
    }
}

impl<T> ReapedIo<T> {
    pub(crate) fn plain(inner: T, connection: Connection) -> Self {
        Self::new(inner, connection, Role::Plain)
            .unwrap_or_else(|_| unreachable!("registered by the reaper"))
    }

    fn new(inner: T, connection: Connection, role: Role) -> Result<Self, T> {
        let Some(phase) = Shared::of(&connection).map(|shared| shared.phase().0) else {
            return Err(inner);
        };
        Ok(Self {
            inner,
            link: connection.into_link(),
            wire: Wire::new(),
            begun: 0,
            role,
            phase,
            fallback: None,
            writing: Writing::Free,
            last_read: LastRead::Bytes,
            closing: Closing::Open,
        })
    }

    /// Puts it under TLS: the bytes are not those of HTTP, and the limit on a head applies to the
    /// handshake. See the [type](Self) for which part does what.
    #[must_use]
    pub fn under_tls(mut self) -> Self {
        self.role = Role::UnderTls;
        self.shared().set(shared::SEALED);
        self
    }

    /// Wraps a TLS stream whose handshake is over, on a connection whose transport is
    /// [`under_tls`](Self::under_tls).
    ///
    /// # Errors
    ///
    /// Gives the stream back if the connection belongs to no reaper.
    pub fn over_tls(inner: T, connection: &Connection) -> Result<Self, T> {
        let mut io = Self::new(inner, connection.clone(), Role::OverTls)?;
        io.shared().unset(shared::SEALED);
        io.shared().unmark_phase();
        connection.head_abandoned();
        let shared = io.shared();
        let due = crate::limits::after(shared.now(), shared.reaper().limits.first_byte);
        io.enter(Phase::FirstByte, due);
        Ok(io)
    }

    /// The connection that this transport is.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.link.connection()
    }

    /// The wrapped transport.
    #[must_use]
    pub const fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The wrapped transport, mutably. Bytes read or written through it are not seen.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    fn shared(&self) -> Shared<'_> {
        Shared::of_link(&self.link)
            .unwrap_or_else(|| unreachable!("it is only made of a reaper's connection"))
    }

    fn enter(&mut self, phase: Phase, due: u32) {
        self.phase = phase;
        self.shared().enter(phase, due);
    }

    fn is_tunnel(&self) -> bool {
        self.shared().is_tunnel()
    }

    /// Whether no exchange is open, nor about to begin with a head that has been delivered.
    fn is_idle(&self) -> bool {
        let seen = self.link.snapshot();
        seen.is_idle()
            && (self.last_read != LastRead::Head || self.begun != seen.exchanges_begun() as u16)
    }
}

#[cfg(feature = "axum")]
impl<T> tower_conn_core::TransportConnection for ReapedIo<T> {
    fn connection(&self) -> Connection {
        self.link.connection()
    }
}

impl<T> fmt::Debug for ReapedIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReapedIo")
            .field("connection", &self.link.connection())
            .field("role", &self.role)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for ReapedIo<T> {
    fn drop(&mut self) {
        // Over TLS this comes first, and knows more.
        let connection = self.link.connection();
        let reason = connection.close(self.why_ended());
        if self.role.is_transport() {
            let shared = self.shared();
            shared.reaper().ended(&connection, shared.chunk(), reason);
        }
    }
}

impl<T> ReapedIo<T> {
    /// Why the connection has ended, if nobody has given a reason.
    fn why_ended(&self) -> CloseReason {
        if self.is_tunnel() {
            return CloseReason::TunnelEnded;
        }
        if let Some(reason) = self.fallback {
            return reason;
        }
        if self.wire.in_body() {
            return CloseReason::UnreadBody;
        }
        if self.shared().has(shared::PEER_ASKED) {
            return CloseReason::PeerRequested;
        }
        if self.link.connection().version() == Some(http::Version::HTTP_10) {
            return CloseReason::Http10;
        }
        if self.wire.in_head()
            || (self.shared().has(shared::SEALED) && self.shared().bytes_in() > 0)
        {
            return CloseReason::ProtocolError;
        }
        CloseReason::Application
    }
}

use std::{fmt, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    Ended, RawError, RawMessage, RawRequest, RawResponse,
    decode::{Decoder, Kind},
};

/// Most bytes of a head, a chunk's size or the trailers.
const LINES: usize = 1 << 20;

/// A [`RawStream`] used as a client: `RawClient::connect(addr)` or `RawClient::over(io)`.
pub type RawClient<T = TcpStream> = RawStream<T>;

/// One end of an HTTP/1 connection on exact bytes. See the [module docs](super).
pub struct RawStream<T = TcpStream> {
    pub(super) io: T,
    buf: BytesMut,
    ended: Option<Ended>,
    decoder: Option<Decoder>,
    pub(super) deadline: Duration,
    pub(super) gap: Duration,
    cap: usize,
}

// ===== impl RawStream =====

impl RawStream<TcpStream> {
    /// Connects with `TCP_NODELAY`, so that each write leaves at once.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        Self::connect_with(socket, addr).await
    }

    /// Connects a prepared socket, for a small receive buffer or a chosen local address.
    pub async fn connect_with(socket: TcpSocket, addr: SocketAddr) -> io::Result<Self> {
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Closes the connection with a reset: `SO_LINGER` zero, then close.
    pub fn reset(self) -> io::Result<()> {
        self.io.set_zero_linger()
    }
}

impl<T> RawStream<T> {
    /// Takes any stream, for example one half of [`tokio::io::duplex`].
    pub fn over(io: T) -> Self {
        Self {
            io,
            buf: BytesMut::new(),
            ended: None,
            decoder: None,
            deadline: Duration::from_secs(10),
            gap: Duration::ZERO,
            cap: 64 << 20,
        }
    }

    /// How long one operation may take: 10 seconds unless set. It is tokio's clock: under a paused one,
    /// set it beyond every timer of the test.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The pause between the parts of a split write. Zero (as it starts) gives way to the other
    /// tasks without touching the clock.
    #[must_use]
    pub fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// How many bytes may be waiting unread, which bounds a message: 64 MiB unless set. A head or trailers
    /// may have 1 MiB.
    #[must_use]
    pub fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    /// What has been read from the connection and belongs to no message handed out yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.buf
    }

    /// The stream and what is unread.
    #[must_use]
    pub fn into_parts(self) -> (T, Bytes) {
        (self.io, self.buf.freeze())
    }

    /// The stream underneath.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead + Unpin> RawStream<T> {
    /// Reads the next response, an interim one (1xx) included. `method` is that of the request it answers, since
    /// an answer to HEAD or CONNECT has no body. A response that the connection's end cuts short is returned
    /// with `complete: false`.
    pub async fn read_response(&mut self, method: &str) -> Result<RawResponse, RawError> {
        let method = method.to_owned();
        let message = self.message(Kind::Response { method }, false).await?;
        RawResponse::parse(message)
    }

    /// [`RawStream::read_response`] past all interim responses but 101.
    pub async fn read_final_response(&mut self, method: &str) -> Result<RawResponse, RawError> {
        loop {
            let response = self.read_response(method).await?;
            if response.status >= 200 || response.status == 101 {
                return Ok(response);
            }
        }
    }

    /// Reads the next request with its body.
    pub async fn read_request(&mut self) -> Result<RawRequest, RawError> {
        RawRequest::parse(self.message(Kind::Request, false).await?)
    }

    /// Reads the next request's head and leaves the body where it is; a following
    /// [`RawStream::read_request`] returns the same request with it.
    pub async fn read_request_head(&mut self) -> Result<RawRequest, RawError> {
        RawRequest::parse(self.message(Kind::Request, true).await?)
    }

    /// Reads exactly `count` bytes.
    pub async fn read_bytes(&mut self, count: usize) -> Result<Bytes, RawError> {
        self.decoder = None;
        self.bounded(async |this: &mut Self| {
            while this.buf.len() < count {
                this.fill_or_end().await?;
            }
            Ok(this.buf.split_to(count).freeze())
        })
        .await
    }

    /// Reads up to the connection's end: every byte, and how it ended.
    pub async fn read_to_end(&mut self) -> Result<(Bytes, Ended), RawError> {
        self.decoder = None;
        self.bounded(async |this: &mut Self| {
            while this.ended.is_none() {
                this.fill().await?;
            }
            Ok((this.buf.split().freeze(), this.ended.unwrap_or(Ended::Open)))
        })
        .await
    }

    /// How the connection stands, waiting up to `limit` for an end. Bytes that arrive meanwhile are kept:
    /// see [`RawStream::unread`].
    ///
    /// # Panics
    ///
    /// On an IO error other than a reset, and when more than the cap arrives.
    pub async fn ended(&mut self, limit: Duration) -> Ended {
        let wait = async {
            while self.ended.is_none() {
                self.fill().await.expect("the connection can be watched");
            }
        };
        let _ = timeout(limit, wait).await;
        self.ended.unwrap_or(Ended::Open)
    }

    async fn message(&mut self, kind: Kind, head_only: bool) -> Result<RawMessage, RawError> {
        self.bounded(async |this: &mut Self| this.decode(kind.clone(), head_only).await)
            .await
    }

    async fn decode(&mut self, kind: Kind, head_only: bool) -> Result<RawMessage, RawError> {
        let mut ended = None;
        let mut decoder = match self.decoder.take() {
            // A request begun by its head, or a message interrupted by the deadline.
            Some(begun) if begun.continues(&kind) => begun,
            _ => Decoder::new(kind),
        };
        loop {
            let done = decoder
                .advance(&self.buf)
                .map_err(|reason| RawError::Malformed {
                    reason,
                    unread: Bytes::copy_from_slice(&self.buf),
                })?;
            if head_only && decoder.head_done() {
                let head = Bytes::copy_from_slice(&self.buf[..decoder.head_len()]);
                let message = decoder.head_only(head);
                self.decoder = Some(decoder);
                return Ok(message);
            }
            if done || ended.is_some() {
                let raw = self.buf.split_to(decoder.consumed()).freeze();
                return Ok(decoder.finish(raw, ended));
            }
            let waiting = self.buf.len() - decoder.consumed();
            if decoder.waits_for_line() && waiting > LINES {
                return Err(RawError::TooLarge { cap: LINES });
            }
            // Parked here, so that nothing is lost if the deadline drops this future.
            let head_done = decoder.head_done();
            self.decoder = Some(decoder);
            if head_done {
                self.fill().await?;
                ended = self.ended;
            } else {
                self.fill_or_end().await?;
            }
            decoder = self.decoder.take().expect("parked above");
        }
    }

    async fn fill_or_end(&mut self) -> Result<(), RawError> {
        self.fill().await?;
        match self.ended {
            Some(ended) => Err(RawError::Ended {
                ended,
                unread: Bytes::copy_from_slice(&self.buf),
            }),
            None => Ok(()),
        }
    }

    /// One read. An end is noted, not an error.
    async fn fill(&mut self) -> Result<(), RawError> {
        if self.ended.is_some() {
            return Ok(());
        }
        if self.buf.len() >= self.cap {
            return Err(RawError::TooLarge { cap: self.cap });
        }
        self.buf.reserve(16 << 10);
        match self.io.read_buf(&mut self.buf).await {
            Ok(0) => self.ended = Some(Ended::Fin),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.ended = Some(Ended::Reset);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn bounded<R>(
        &mut self,
        run: impl AsyncFnOnce(&mut Self) -> Result<R, RawError>,
    ) -> Result<R, RawError> {
        let after = self.deadline;
        match timeout(after, run(self)).await {
            Ok(result) => result,
            Err(_) => Err(RawError::Timeout {
                after,
                unread: Bytes::copy_from_slice(&self.buf),
            }),
        }
    }
}

impl<T> fmt::Debug for RawStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream")
            .field("unread", &self.buf)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

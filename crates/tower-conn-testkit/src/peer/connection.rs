use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::sleep};

use super::record::{End, Records};
use crate::raw::{Ended, RawError, RawRequest, RawStream};

/// The peer's end of one accepted connection.
#[derive(Debug)]
pub struct PeerConnection {
    stream: Option<RawStream>,
    number: usize,
    records: Arc<Records>,
    /// A request read by its head: how many came before it in all.
    begun: Option<usize>,
}

/// What [`PeerConnection::next`] found.
pub(super) struct Arrived {
    pub(super) request: RawRequest,
    pub(super) nth: usize,
    pub(super) total: usize,
}

impl PeerConnection {
    pub(super) fn new(stream: TcpStream, number: usize, records: Arc<Records>) -> Self {
        Self {
            // A peer waits for its client for as long as the test lasts.
            stream: Some(RawStream::over(stream).deadline(Duration::from_secs(600))),
            number,
            records,
            begun: None,
        }
    }

    /// The number of this connection, from 1 in the order of acceptance.
    #[must_use]
    pub fn connection(&self) -> usize {
        self.number
    }

    /// The client's address.
    pub fn client_addr(&self) -> io::Result<SocketAddr> {
        self.open().map_err(io::Error::other)?.get_ref().peer_addr()
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), RawError> {
        self.stream()?.send(bytes).await
    }

    /// Sends bytes in parts cut at these offsets. See [`RawStream::send_split`].
    pub async fn send_split(
        &mut self,
        bytes: impl AsRef<[u8]>,
        at: &[usize],
    ) -> Result<(), RawError> {
        self.stream()?.send_split(bytes, at).await
    }

    /// Sends each byte on its own.
    pub async fn send_each_byte(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), RawError> {
        self.stream()?.send_each_byte(bytes).await
    }

    /// Waits, then sends.
    pub async fn send_after(
        &mut self,
        delay: Duration,
        bytes: impl AsRef<[u8]>,
    ) -> Result<(), RawError> {
        sleep(delay).await;
        self.send(bytes).await
    }

    /// Sends a 200 with a `Content-Length` and this body.
    pub async fn ok(&mut self, body: impl AsRef<[u8]>) -> Result<(), RawError> {
        let body = body.as_ref();
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes).await
    }

    /// Reads the next request on this connection, and records it.
    pub async fn read_request(&mut self) -> Result<RawRequest, RawError> {
        self.next(false).await.map(|arrived| arrived.request)
    }

    /// Reads and drops whatever arrives until the client ends its half, or for this long.
    pub async fn drain(&mut self, limit: Duration) -> Ended {
        match &mut self.stream {
            Some(stream) => stream.ended(limit).await,
            None => Ended::Open,
        }
    }

    /// What has arrived and belongs to no request yet, such as pipelined requests or a tunnel's first bytes.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.stream.as_ref().map_or(&[], RawStream::unread)
    }

    /// The raw stream, for everything else.
    ///
    /// # Errors
    ///
    /// When this connection has been closed.
    pub fn stream(&mut self) -> Result<&mut RawStream, RawError> {
        self.stream.as_mut().ok_or_else(closed)
    }

    /// Ends the sending half with a FIN and stays to read.
    pub async fn half_close(&mut self) -> Result<(), RawError> {
        self.stream()?.half_close().await
    }

    /// Closes the connection. Unread bytes turn this into a reset, as with any socket.
    pub fn close(&mut self) {
        if self.stream.take().is_some() {
            self.records.ended(self.number, End::ByPeer);
        }
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            // The socket may be gone already, which is what was asked for.
            let _ = stream.reset();
            self.records.ended(self.number, End::ByPeer);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) async fn next(&mut self, head_only: bool) -> Result<Arrived, RawError> {
        if self.begun.is_some() {
            // The script left the body of the last request unread.
            self.finish_begun().await?;
        }
        let stream = self.stream()?;
        let request = if head_only {
            stream.read_request_head().await
        } else {
            stream.read_request().await
        };
        let request = request.inspect_err(|error| self.note(error))?;
        let (nth, total) = self.records.request(self.number, &request);
        if head_only {
            self.begun = Some(total);
        } else if !request.complete {
            self.records.ended(self.number, End::InRequest);
        }
        Ok(Arrived {
            request,
            nth,
            total,
        })
    }

    /// Reads the body of a request that was read by its head.
    pub(super) async fn finish_begun(&mut self) -> Result<Option<RawRequest>, RawError> {
        let Some(total) = self.begun.take() else {
            return Ok(None);
        };
        let request = self.stream()?.read_request().await;
        let request = request.inspect_err(|error| self.note(error))?;
        if !request.complete {
            self.records.ended(self.number, End::InRequest);
        }
        self.records.complete(total, &request);
        Ok(Some(request))
    }

    fn note(&self, error: &RawError) {
        let end = match error {
            RawError::Ended {
                ended: Ended::Reset,
                ..
            } => End::Reset,
            RawError::Ended { unread, .. } if unread.is_empty() => End::ByClient,
            RawError::Ended { .. } => End::InRequest,
            other => End::Failed(other.to_string()),
        };
        self.records.ended(self.number, end);
    }

    fn open(&self) -> Result<&RawStream, RawError> {
        self.stream.as_ref().ok_or_else(closed)
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> RawError {
    RawError::Io(io::Error::new(
        io::ErrorKind::NotConnected,
        "the script has closed this connection",
    ))
}

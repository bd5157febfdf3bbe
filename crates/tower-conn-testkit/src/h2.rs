//! An HTTP/2 client on frames: it says what it is told, and shows each frame that arrives.
//!
//! [`H2Client`] acknowledges SETTINGS, and answers PINGs as long as [`pongs`](H2Client::pongs) says so, which a test of
//! a peer that went silent turns off. It keeps no flow-control windows, so that a server may send it
//! 65,535 bytes of data in all, and decodes no header block: what a response says is left to its DATA.
//! [`frame`] makes any other frame, well-formed or not.
//!
//! ```
//! use tokio::io::duplex;
//! use tower_conn_testkit::h2::{self, H2Client};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (near, far) = duplex(1024);
//! // As good as a server for this: it repeats what it reads.
//! let (mut read, mut write) = tokio::io::split(far);
//! tokio::spawn(async move {
//!     let mut preface = [0; h2::PREFACE.len()];
//!     tokio::io::AsyncReadExt::read_exact(&mut read, &mut preface).await.unwrap();
//!     tokio::io::copy(&mut read, &mut write).await
//! });
//!
//! let mut client = H2Client::open(near).await;
//! client.get(1, "/").await;
//! let head = client.until(h2::HEADERS).await;
//! assert_eq!(head.stream, 1);
//! assert!(head.ends_stream());
//! # }
//! ```

use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client sends first (RFC 9113 section 3.4), before its SETTINGS.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of a frame of a body.
pub const DATA: u8 = 0;
/// The type of a frame of a head or of trailers.
pub const HEADERS: u8 = 1;
/// The type of a frame that ends one stream.
pub const RST_STREAM: u8 = 3;
/// The type of the frame that opens a connection on each side.
pub const SETTINGS: u8 = 4;
/// The type of a frame that is to be sent back.
pub const PING: u8 = 6;
/// The type of the frame that announces a connection's end.
pub const GOAWAY: u8 = 7;

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it was received.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it belongs to; 0 is the connection.
    pub stream: u32,
    /// What follows its head.
    pub payload: Bytes,
}

impl Frame {
    /// Whether its stream has ended with this frame.
    #[must_use]
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The last stream that a GOAWAY promises to process.
    ///
    /// # Panics
    ///
    /// If this is no GOAWAY.
    #[must_use]
    pub fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, GOAWAY, "the type of {self:?}");
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }

    fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// GET of this path over http from the authority `a`, by literals without indexing.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4u8, path), (1, "a")] {
        block.push(name);
        // One byte has room for a length of 126.
        assert!(value.len() < 127, "a short value: {value}");
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    block
}

/// One end of an HTTP/2 connection. See the [module docs](self).
pub struct H2Client<T> {
    io: T,
    buf: BytesMut,
    /// Whether PINGs are answered, as they are from the beginning.
    pub pongs: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> H2Client<T> {
    /// Sends the preface and empty SETTINGS.
    ///
    /// # Panics
    ///
    /// If the server does not read.
    pub async fn open(mut io: T) -> Self {
        io.write_all(PREFACE).await.expect("the server reads");
        Self::resume(io).await
    }

    /// Goes on after the preface, which has been sent: sends empty SETTINGS.
    ///
    /// # Panics
    ///
    /// If the server does not read.
    pub async fn resume(io: T) -> Self {
        let mut client = Self {
            io,
            buf: BytesMut::new(),
            pongs: true,
        };
        client.send(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    /// Sends these bytes.
    ///
    /// # Panics
    ///
    /// If the server does not read.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the server reads");
    }

    /// Sends a GET of a path of less than 127 bytes, on a stream of an odd number above the last.
    ///
    /// # Panics
    ///
    /// If the server does not read, or the path is longer.
    pub async fn get(&mut self, stream: u32, path: &str) {
        let flags = END_HEADERS | END_STREAM;
        self.send(&frame(HEADERS, flags, stream, &head(path))).await;
    }

    /// Sends a PING.
    ///
    /// # Panics
    ///
    /// If the server does not read.
    pub async fn ping(&mut self) {
        self.send(&frame(PING, 0, 0, &[7; 8])).await;
    }

    /// The next frame, after it was answered if it asks for that; `None` at the end of the stream, be it a reset.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parse() {
                let answered = frame.kind == SETTINGS || frame.kind == PING && self.pongs;
                if answered && !frame.is_ack() {
                    let payload = if frame.kind == PING {
                        &frame.payload[..]
                    } else {
                        &[]
                    };
                    let answer = self::frame(frame.kind, ACK, 0, payload);
                    // What a server that has gone said last is still to be shown.
                    let _ = self.io.write_all(&answer).await;
                }
                return Some(frame);
            }
            if self.io.read_buf(&mut self.buf).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next frame of this type.
    ///
    /// # Panics
    ///
    /// At the end of the stream.
    pub async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection stands");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All frames to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    fn parse(&mut self) -> Option<Frame> {
        let head = self.buf.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().ok()?);
        if self.buf.len() < 9 + length {
            return None;
        }
        let payload = self.buf.split_to(9 + length).freeze().slice(9..);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }
}

impl<T> fmt::Debug for H2Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2Client")
            .field("unread", &self.buf)
            .field("pongs", &self.pongs)
            .finish_non_exhaustive()
    }
}

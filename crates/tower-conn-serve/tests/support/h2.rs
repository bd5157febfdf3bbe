//! HTTP/2 by hand: as much as these tests need.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// A frame as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

impl Frame {
    /// The last stream that a GOAWAY promises to process.
    pub(crate) fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, GOAWAY);
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }
}

/// A client that acknowledges SETTINGS, and PINGs if it is told to.
pub(crate) struct H2Client<T> {
    io: T,
    buf: BytesMut,
    pub(crate) pongs: bool,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// GET of this path, by literals without indexing.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4u8, path), (1, "a")] {
        block.push(name);
        block.push(u8::try_from(value.len()).expect("a short value"));
        block.extend(value.bytes());
    }
    block
}

impl<T: AsyncRead + AsyncWrite + Unpin> H2Client<T> {
    /// Opens HTTP/2.
    pub(crate) async fn open(mut io: T) -> Self {
        io.write_all(PREFACE).await.expect("the server reads");
        Self::resume(io).await
    }

    /// Goes on after the preface.
    pub(crate) async fn resume(io: T) -> Self {
        let mut client = Self {
            io,
            buf: BytesMut::new(),
            pongs: true,
        };
        client.send(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the server reads");
    }

    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.send(&frame(HEADERS, 5, stream, &head(path))).await;
    }

    pub(crate) async fn ping(&mut self) {
        self.send(&frame(PING, 0, 0, &[7; 8])).await;
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parse() {
                let acknowledged = frame.flags & ACK != 0;
                if frame.kind == SETTINGS && !acknowledged {
                    let _ = self.io.write_all(&self::frame(SETTINGS, ACK, 0, &[])).await;
                }
                if frame.kind == PING && !acknowledged && self.pongs {
                    let pong = self::frame(PING, ACK, 0, &frame.payload);
                    let _ = self.io.write_all(&pong).await;
                }
                return Some(frame);
            }
            if self.io.read_buf(&mut self.buf).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next frame of this kind; panics at the end of the stream.
    pub(crate) async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection stands");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All frames to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
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

/// Whether a stream has ended with this frame.
pub(crate) fn ends_stream(frame: &Frame) -> bool {
    matches!(frame.kind, DATA | HEADERS) && frame.flags & 1 != 0
}

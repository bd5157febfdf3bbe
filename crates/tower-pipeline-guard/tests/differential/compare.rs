//! The decoder and hyper's client on the same bytes. Shared with the fuzz target `decoder`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body::Body;
use http_body_util::Empty;
use tower_pipeline_guard::h1::{Decoder, Event, Limits};

/// A response that was accepted to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Where it ended in the stream.
    pub(crate) end: usize,
    /// Whether the connection can be used again.
    pub(crate) reusable: bool,
}

/// [`compare`] for an input of the fuzz target: the first byte chooses the method of the request.
pub(crate) fn compare_input(input: &[u8]) -> (bool, bool) {
    let Some((&choice, stream)) = input.split_first() else {
        return (false, false);
    };
    let method = match choice % 4 {
        0 => Method::HEAD,
        1 => Method::POST,
        _ => Method::GET,
    };
    compare(&method, stream)
}

/// Panics if the decoder accepts what hyper does not, or another message, or trusts the connection
/// longer; or if its verdict depends on how the stream is split.
///
/// Returns whether each of them accepted.
pub(crate) fn compare(method: &Method, stream: &[u8]) -> (bool, bool) {
    let ours = decode(method, stream, stream.len().max(1));
    assert_eq!(ours, decode(method, stream, 1), "depends on the split");
    let theirs = hyper(method, stream, End::Closed);
    if let Some(ours) = &ours {
        let theirs = theirs.as_ref().unwrap_or_else(|| {
            panic!(
                "accepted only here: {method} {:?}",
                String::from_utf8_lossy(stream)
            )
        });
        let shown = String::from_utf8_lossy(stream);
        assert_eq!(ours.status, theirs.status, "{method} {shown:?}");
        assert_eq!(ours.body, theirs.body, "{method} {shown:?}");
        // hyper reads byte by byte, and one byte further to see that the connection is idle.
        let further = theirs.end.checked_sub(ours.end);
        assert!(
            further.is_some_and(|bytes| bytes <= 1),
            "{ours:?} {theirs:?} {method} {shown:?}"
        );
        if ours.reusable {
            // To hyper, too, the message is complete without one byte more, and the connection free.
            let exact = hyper(method, &stream[..ours.end], End::Open);
            assert_eq!(exact.as_ref(), Some(ours), "{method} {shown:?}");
        }
    }
    (ours.is_some(), theirs.is_some())
}

/// The response at the start of the stream, which comes in pieces of `step` bytes.
fn decode(method: &Method, stream: &[u8], step: usize) -> Option<Accepted> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.expect(method);
    let mut pieces = stream.chunks(step);
    let mut received = 0;
    let mut input = BytesMut::new();
    let mut accepted = Accepted {
        status: 0,
        body: Vec::new(),
        end: 0,
        reusable: false,
    };
    loop {
        let event = match decoder.decode(&mut input).ok()? {
            Some(event) => event,
            None => match pieces.next() {
                Some(piece) => {
                    received += piece.len();
                    input.extend_from_slice(piece);
                    continue;
                }
                None => decoder.finish().ok()??,
            },
        };
        match event {
            Event::Head(head) => {
                accepted.status = head.response.status().as_u16();
                accepted.reusable = head.persistent;
            }
            Event::Data(data) => accepted.body.extend_from_slice(&data),
            Event::End => {
                accepted.end = received - input.len();
                return Some(accepted);
            }
            _ => {}
        }
    }
}

/// What comes behind the last byte of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the connection.
    Closed,
    /// Nothing.
    Open,
}

/// Gives one byte for each poll, so that what was read tells where a message ended.
struct Dripping {
    stream: Rc<RefCell<(Vec<u8>, usize)>>,
    end: End,
    given: bool,
}

impl hyper::rt::Read for Dripping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.given = !self.given;
        if !self.given {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut stream = self.stream.borrow_mut();
        let (bytes, at) = &mut *stream;
        if let Some(&byte) = bytes.get(*at) {
            buf.put_slice(&[byte]);
            *at += 1;
        } else if self.end == End::Open {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Dripping {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn hyper(method: &Method, stream: &[u8], end: End) -> Option<Accepted> {
    // The bytes come once the request is on its way: before it they would be unsolicited.
    let source = Rc::new(RefCell::new((Vec::new(), 0)));
    let io = Dripping {
        stream: Rc::clone(&source),
        end,
        given: true,
    };
    let cx = &mut Context::from_waker(Waker::noop());
    let mut handshake = pin!(hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(io));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.as_mut().poll(cx) else {
        unreachable!("nothing to wait for");
    };
    let mut connection = pin!(connection);
    let request = Request::builder()
        .method(method)
        .uri(if *method == Method::CONNECT {
            "x:1"
        } else {
            "/"
        })
        .header("host", "x")
        .body(Empty::new())
        .expect("a request");
    let mut response = pin!(sender.send_request(request));
    let mut body: Option<hyper::body::Incoming> = None;
    let mut accepted = Accepted {
        status: 0,
        body: Vec::new(),
        end: 0,
        reusable: false,
    };
    assert!(response.as_mut().poll(cx).is_pending());
    let mut ended = connection.as_mut().poll(cx).is_ready();
    source.borrow_mut().0 = stream.to_vec();
    let mut complete = false;
    'turns: for _ in 0..3 * stream.len() + 16 {
        if !ended {
            ended = connection.as_mut().poll(cx).is_ready();
        }
        loop {
            let Some(body) = &mut body else {
                match response.as_mut().poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => return None,
                    Poll::Ready(Ok(head)) => {
                        accepted.status = head.status().as_u16();
                        body = Some(head.into_body());
                        continue;
                    }
                }
            };
            if body.is_end_stream() {
                complete = true;
                break 'turns;
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Err(_))) => return None,
                Poll::Ready(None) => {
                    complete = true;
                    break 'turns;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        accepted.body.extend_from_slice(&data);
                    }
                }
            }
        }
    }
    if !complete {
        return None;
    }
    accepted.end = source.borrow().1;
    if end == End::Open {
        // It reads until there is nothing to read, and then waits for the next request.
        for _ in 0..4 {
            ended = ended || connection.as_mut().poll(cx).is_ready();
        }
        accepted.reusable = !ended && sender.is_ready();
    }
    Some(accepted)
}

//! `ExchangeBody` ends its exchange on every way that a body can end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower_conn_core::{Connection, ExchangeBody};

fn guarded<B>(body: B) -> (Connection, ExchangeBody<B>) {
    let connection = Connection::server();
    let exchange = connection.begin().expect("open");
    (connection, ExchangeBody::new(body, Some(exchange)))
}

fn stream(
    frames: Vec<Result<Frame<Bytes>, &'static str>>,
) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
    StreamBody::new(Frames(frames.into_iter()))
}

struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[tokio::test]
async fn at_the_end_of_the_stream() {
    let (connection, mut body) = guarded(stream(vec![Ok(Frame::data(Bytes::from_static(b"ab")))]));
    assert!(body.frame().await.expect("a frame").is_ok());
    assert!(!connection.is_idle(), "more may follow");
    assert!(body.frame().await.is_none());
    assert!(connection.is_idle());
}

#[tokio::test]
async fn at_the_last_frame_of_a_body_that_says_so() {
    let (connection, mut body) = guarded(Full::new(Bytes::from_static(b"ab")));
    assert_eq!(body.size_hint().exact(), Some(2));
    assert!(body.frame().await.expect("a frame").is_ok());
    assert!(body.is_end_stream());
    assert!(connection.is_idle(), "hyper does not poll again");
}

#[tokio::test]
async fn at_trailers_only_when_nothing_follows() {
    let frames = vec![Ok(Frame::trailers(HeaderMap::new()))];
    let (connection, body) = guarded(stream(frames));
    let collected = body.collect().await.expect("no error");
    assert!(collected.trailers().is_some());
    assert!(connection.is_idle());
}

#[tokio::test]
async fn at_an_error() {
    let (connection, mut body) = guarded(stream(vec![Err("broken")]));
    assert_eq!(
        body.frame().await.expect("an item").expect_err("an error"),
        "broken"
    );
    assert!(connection.is_idle());
}

#[test]
fn at_drop() {
    let (connection, body) = guarded(Full::new(Bytes::from_static(b"ab")));
    assert!(!connection.is_idle());
    drop(body);
    assert!(connection.is_idle());
}

#[test]
fn a_body_that_is_empty_keeps_the_exchange_until_it_is_dropped() {
    // hyper writes the head of such a response after taking the body, and drops it unpolled.
    let (connection, body) = guarded(Empty::<Bytes>::new());
    assert!(body.is_end_stream());
    assert!(!connection.is_idle());
    drop(body);
    assert!(connection.is_idle());
}

#[tokio::test]
async fn without_an_exchange_it_only_forwards() {
    let body: ExchangeBody<Full<Bytes>> = ExchangeBody::new(Full::from("ab"), None);
    let collected: Result<_, Infallible> = body.collect().await;
    assert_eq!(collected.expect("no error").to_bytes(), "ab");
    assert!(ExchangeBody::<Full<Bytes>>::default().exchange().is_none());
}

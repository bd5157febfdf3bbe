//! What test servers answer, by path.
//!
//! | path | what happens |
//! |---|---|
//! | `/slow/N` | `late`, after N seconds |
//! | `/stream/N` | N frames of a kibibyte without a length, a second before each |
//! | `/endless` | such frames without a pause or an end |
//! | `/big/N` | N bytes in one frame |
//! | `/upload` | `taken` once the request's body was read to its end; 408 if it failed |
//! | `/early` | 401 at once; the request's body stays unread |
//! | `/partly` | 413 after the first frame of the request's body |
//! | any other | `hello` |
//!
//! Seconds are tokio's, so that a paused clock skips them.
//!
//! ```
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use tower_conn_testkit::app::answer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let request = Request::get("/big/3").body(Empty::new()).unwrap();
//! let body = answer(request).await.into_body();
//! assert_eq!(body.collect().await.unwrap().to_bytes(), "xxx");
//! # }
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio::time::{Instant, Sleep, sleep};

/// The body of an answer.
pub type AppBody = UnsyncBoxBody<Bytes, Infallible>;

/// A response of 200 with this text.
#[must_use]
pub fn text(text: &'static str) -> Response<AppBody> {
    status(StatusCode::OK, text)
}

/// A response of this status with this text.
#[must_use]
pub fn status(status: StatusCode, text: &'static str) -> Response<AppBody> {
    let mut response = Response::new(Full::from(text).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// The first segment of the path, and the number that is the rest of it; 0 if there is none.
#[must_use]
pub fn route<B>(request: &Request<B>) -> (&str, u64) {
    let path = request.uri().path().trim_start_matches('/');
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    (name, number.parse().unwrap_or(0))
}

/// Answers as the [module docs](self) say.
pub async fn answer<B>(request: Request<B>) -> Response<AppBody>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (name, number) = route(&request);
    match name {
        "slow" => {
            sleep(Duration::from_secs(number)).await;
            text("late")
        }
        "stream" => paced(number, Duration::from_secs(1)),
        "endless" => paced(u64::MAX, Duration::ZERO),
        "big" => Response::new(Full::from(big(number)).boxed_unsync()),
        "upload" => match request.into_body().collect().await {
            Ok(_) => text("taken"),
            Err(_) => status(StatusCode::REQUEST_TIMEOUT, "the body failed"),
        },
        "early" => status(StatusCode::UNAUTHORIZED, "who are you?"),
        "partly" => {
            let mut body = request.into_body();
            let _ = body.frame().await;
            status(StatusCode::PAYLOAD_TOO_LARGE, "too large")
        }
        _ => text("hello"),
    }
}

/// So many bytes. They are shared, so that it is the server that is measured where thousands ask for them.
fn big(number: u64) -> Bytes {
    static LONGEST: Mutex<Bytes> = Mutex::new(Bytes::new());
    let length = usize::try_from(number).unwrap_or(0);
    let mut longest = LONGEST.lock().unwrap_or_else(PoisonError::into_inner);
    if longest.len() < length {
        *longest = Bytes::from(vec![b'x'; length]);
    }
    longest.slice(..length)
}

fn paced(frames: u64, pause: Duration) -> Response<AppBody> {
    let body = Paced {
        left: frames,
        pause,
        sleep: Box::pin(sleep(pause)),
    };
    Response::new(body.boxed_unsync())
}

/// Frames of a kibibyte, with a pause before each.
struct Paced {
    left: u64,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if !self.pause.is_zero() {
            ready!(self.sleep.as_mut().poll(cx));
            let next = Instant::now() + self.pause;
            self.sleep.as_mut().reset(next);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

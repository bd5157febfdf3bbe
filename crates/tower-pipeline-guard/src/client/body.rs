//! The body of a response, on its way from the driver to its reader.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Cause;

/// How much waits for a reader at most before the transport is not read any more.
const BUFFER: usize = 64 * 1024;

/// The body of a response of a [`PipelinedConnection`](super::PipelinedConnection).
///
/// Dropping it before its end has the rest read and thrown away within
/// [`Builder::drain`](super::Builder::drain), or the connection closed.
#[derive(Debug)]
pub struct ResponseBody {
    shared: Option<Arc<Shared>>,
}

/// The response ended before its body did.
#[derive(Clone, Debug)]
pub struct BodyError {
    cause: Cause,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    driver: Arc<AtomicWaker>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame<Bytes>>,
    buffered: usize,
    /// Bytes that the reader has still to get, if that is known.
    remaining: Option<u64>,
    trailers: bool,
    ended: bool,
    error: Option<Cause>,
    dropped: bool,
    reader: Option<Waker>,
}

/// The driver's end of a body.
#[derive(Debug)]
pub(super) struct BodySender {
    shared: Arc<Shared>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = self.lock();
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

// ===== impl ResponseBody =====

impl ResponseBody {
    pub(super) const fn empty() -> Self {
        Self { shared: None }
    }

    pub(super) fn channel(length: Option<u64>, driver: Arc<AtomicWaker>) -> (BodySender, Self) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                remaining: length,
                ..State::default()
            }),
            driver,
        });
        let sender = BodySender {
            shared: Arc::clone(&shared),
        };
        (
            sender,
            Self {
                shared: Some(shared),
            },
        )
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(shared) = &self.shared else {
            return Poll::Ready(None);
        };
        let mut state = shared.lock();
        if let Some(frame) = state.frames.pop_front() {
            if let Some(data) = frame.data_ref() {
                let length = data.len();
                let was_full = state.buffered >= BUFFER;
                state.buffered -= length;
                state.remaining = state.remaining.map(|left| left - length as u64);
                if was_full && state.buffered < BUFFER {
                    shared.driver.wake();
                }
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(cause) = state.error.take() {
            state.ended = true;
            return Poll::Ready(Some(Err(BodyError { cause })));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let state = shared.lock();
            state.ended && state.frames.is_empty() && state.error.is_none()
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(shared) = &self.shared else {
            return SizeHint::with_exact(0);
        };
        let state = shared.lock();
        match state.remaining {
            Some(left) => SizeHint::with_exact(left),
            // Where trailers follow, a length would have them lost: it stands for the whole framing.
            None if state.ended && state.error.is_none() && !state.trailers => {
                SizeHint::with_exact(state.buffered as u64)
            }
            None => SizeHint::default(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut state = shared.lock();
            state.dropped = true;
            state.frames.clear();
            shared.driver.wake();
        }
    }
}

// ===== impl BodySender =====

impl BodySender {
    /// Whether the reader has enough to read.
    pub(super) fn is_full(&self) -> bool {
        let state = self.shared.lock();
        !state.dropped && state.buffered >= BUFFER
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.shared.lock().dropped
    }

    pub(super) fn data(&self, data: Bytes) {
        self.shared.update(|state| {
            if !state.dropped {
                state.buffered += data.len();
                state.frames.push_back(Frame::data(data));
            }
        });
    }

    pub(super) fn trailers(&self, trailers: http::HeaderMap) {
        self.shared.update(|state| {
            state.trailers = true;
            state.frames.push_back(Frame::trailers(trailers));
        });
    }

    pub(super) fn end(self) {
        self.shared.update(|state| state.ended = true);
    }

    pub(super) fn fail(self, cause: Cause) {
        self.shared.update(|state| state.error = Some(cause));
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        // Whoever ends or fails the body has done so by now.
        self.shared.update(|state| {
            if !state.ended && state.error.is_none() {
                state.error = Some(Cause::Aborted);
            }
        });
    }
}

// ===== impl BodyError =====

impl BodyError {
    /// Why the response ended early.
    #[must_use]
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response ended before its body did")
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn a_body_that_arrived_whole_has_a_length_unless_trailers_follow() {
        for with_trailers in [false, true] {
            let (sender, body) = ResponseBody::channel(None, Arc::default());
            sender.data(Bytes::from_static(b"four"));
            assert_eq!(body.size_hint().exact(), None);
            if with_trailers {
                let field = (http::header::ETAG, HeaderValue::from_static("x"));
                sender.trailers(HeaderMap::from_iter([field]));
            }
            sender.end();
            let length = (!with_trailers).then_some(4);
            assert_eq!(body.size_hint().exact(), length);
        }
    }
}

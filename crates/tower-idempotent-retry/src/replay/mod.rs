//! Request bodies that can be sent again.

mod recording;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use self::recording::Recording;
use crate::BoxError;

pin_project! {
    /// A request body that can be sent again.
    ///
    /// Nothing is read ahead and nothing is buffered before it is sent: what an attempt has taken from
    /// the source is kept as it passes, by reference count where the data is [`Bytes`], and the next
    /// attempt is given what was kept and then the rest of the source. Trailers are kept too.
    ///
    /// - Up to a limit. An attempt that takes more than that goes on undisturbed, and is the last.
    /// - A body of which nothing has been taken can be sent again whatever its size.
    /// - A body whose source failed cannot be sent again.
    /// - The size is exact on every attempt where the source's is.
    ///
    /// The retry layer makes these; a body of type `ReplayBody<B>` is what its inner service is given.
    /// The error of the source is boxed; [`Superseded`](ReplayError::Superseded) is the only other.
    ///
    /// # On its own
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_idempotent_retry::ReplayBody;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (first, replay) = ReplayBody::replayable(Full::<Bytes>::from("hello"), 64 * 1024);
    /// assert_eq!(first.collect().await.unwrap().to_bytes(), "hello");
    ///
    /// let second = replay.again().unwrap();
    /// assert_eq!(second.collect().await.unwrap().to_bytes(), "hello");
    /// # }
    /// ```
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Empty { hint: SizeHint },
        Once { #[pin] body: B },
        Shared { handle: Handle<B> },
    }
}

/// One attempt's share of a recording.
struct Handle<B> {
    shared: Arc<Mutex<Recording<B>>>,
    /// The attempt that this is the body of; a later one ends it.
    attempt: u32,
    /// How many of the kept frames it has given out.
    given: usize,
}

/// The means to send a [`ReplayBody`] again.
pub struct Replay<B> {
    /// Of a body without content only its size hint is kept.
    shared: Result<Arc<Mutex<Recording<B>>>, SizeHint>,
}

/// Why a [`ReplayBody`] cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReplayable {
    /// More was sent than is kept.
    OverLimit,
    /// The source of the body failed.
    SourceFailed,
    /// An attempt still holds the body, and has not sent all of it.
    Held,
}

/// The errors of a [`ReplayBody`] that are not its source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// A later attempt has taken over the body.
    Superseded,
}

impl<B: Body> ReplayBody<B> {
    /// A body to be sent once: nothing is kept.
    pub const fn once(body: B) -> Self {
        Self {
            kind: Kind::Once { body },
        }
    }

    /// A body to be sent, and the means to send it again as long as an attempt has taken no more
    /// than this many bytes.
    pub fn replayable(body: B, limit: usize) -> (Self, Replay<B>) {
        if body.is_end_stream() {
            let hint = body.size_hint();
            let kind = Kind::Empty { hint };
            return (Self { kind }, Replay { shared: Err(hint) });
        }
        let shared = Arc::new(Mutex::new(Recording::new(body, limit)));
        let replay = Replay {
            shared: Ok(Arc::clone(&shared)),
        };
        let handle = Handle {
            shared,
            attempt: 0,
            given: 0,
        };
        let kind = Kind::Shared { handle };
        (Self { kind }, replay)
    }
}

impl<B> Replay<B> {
    /// The body for another attempt, when the last one has let go of it or has sent all of it.
    ///
    /// # Errors
    ///
    /// Why it cannot be sent again. A transport that still sends the body of the last attempt is left
    /// alone.
    pub fn again(&self) -> Result<ReplayBody<B>, NotReplayable> {
        self.next(false)
    }

    /// The body for another attempt, when the last one is known to have failed, although a transport may not
    /// have let go of it yet. If it has not, it is given [`ReplayError::Superseded`].
    ///
    /// # Errors
    ///
    /// Why it cannot be sent again.
    pub fn take_over(&self) -> Result<ReplayBody<B>, NotReplayable> {
        self.next(true)
    }

    pub(crate) fn check(&self, take_over: bool) -> Result<(), NotReplayable> {
        match &self.shared {
            Err(_) => Ok(()),
            Ok(shared) => lock(shared).check(take_over),
        }
    }

    pub(crate) fn next(&self, take_over: bool) -> Result<ReplayBody<B>, NotReplayable> {
        let kind = match &self.shared {
            Err(hint) => Kind::Empty { hint: *hint },
            Ok(shared) => Kind::Shared {
                handle: Handle {
                    attempt: lock(shared).begin(take_over)?,
                    shared: Arc::clone(shared),
                    given: 0,
                },
            },
        };
        Ok(ReplayBody { kind })
    }
}

fn lock<B>(shared: &Mutex<Recording<B>>) -> MutexGuard<'_, Recording<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Drop for Handle<B> {
    fn drop(&mut self) {
        lock(&self.shared).release(self.attempt);
    }
}

// ===== impl ReplayBody =====

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Empty { .. } => Poll::Ready(None),
            KindProj::Once { body } => poll_bytes(body, cx).map_err(Into::into),
            KindProj::Shared { handle } => {
                lock(&handle.shared).poll_frame(cx, handle.attempt, &mut handle.given)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty { .. } => true,
            Kind::Once { body } => body.is_end_stream(),
            Kind::Shared { handle } => lock(&handle.shared).is_end_stream(handle.given),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty { hint } => *hint,
            Kind::Once { body } => body.size_hint(),
            Kind::Shared { handle } => lock(&handle.shared).size_hint(handle.given),
        }
    }
}

/// A frame with its data as [`Bytes`], which copies nothing if it is that already.
fn poll_bytes<B: Body>(
    body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    body.poll_frame(cx)
        .map_ok(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
}

/// An empty body.
impl<B> Default for ReplayBody<B> {
    fn default() -> Self {
        let hint = SizeHint::with_exact(0);
        Self {
            kind: Kind::Empty { hint },
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty { .. } => "empty",
            Kind::Once { .. } => "once",
            Kind::Shared { .. } => "replayable",
        };
        f.debug_tuple("ReplayBody").field(&kind).finish()
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

// ===== errors =====

impl fmt::Display for NotReplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverLimit => "more of the body was sent than is kept",
            Self::SourceFailed => "the source of the body failed",
            Self::Held => "an attempt still holds the body",
        })
    }
}

impl std::error::Error for NotReplayable {}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded => f.write_str("a later attempt has taken over the request body"),
        }
    }
}

impl std::error::Error for ReplayError {}

//! The request body that comes back when it is dropped.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A request body that, dropped before its end, goes back to the [`KeepAlive`](crate::KeepAlive)
    /// service, to be drained or to have the connection closed with notice.
    ///
    /// It forwards everything unchanged.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Unwatched {
            #[pin]
            body: B,
        },
        Watched {
            watched: Watched<B>,
        },
    }
}

impl<B: Body> RequestBody<B> {
    /// Wraps a body that nobody waits for.
    pub(crate) const fn unwatched(body: B) -> Self {
        Self {
            kind: Kind::Unwatched { body },
        }
    }

    /// Wraps a body and returns the other end, unless the body has ended already.
    pub(crate) fn watched(body: B) -> (Self, Option<Watch<B>>) {
        if body.is_end_stream() {
            return (Self::unwatched(body), None);
        }
        let slot = Arc::new(Slot(Mutex::new(State::Out(None))));
        let watched = Watched {
            body: Some(Box::pin(body)),
            slot: Some(Arc::clone(&slot)),
            polled: false,
        };
        let kind = Kind::Watched { watched };
        (Self { kind }, Some(Watch(slot)))
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Unwatched { body } => body.poll_frame(cx),
            KindProj::Watched { watched } => watched.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Unwatched { body } => body.is_end_stream(),
            Kind::Watched { watched } => watched.as_body().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Unwatched { body } => body.size_hint(),
            Kind::Watched { watched } => watched
                .as_body()
                .map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
        }
    }
}

type PollFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// A body on loan; it goes back to its slot when it is dropped before its end.
struct Watched<B> {
    /// `None` only while this is dropped.
    body: Option<Pin<Box<B>>>,
    slot: Option<Arc<Slot<B>>>,
    polled: bool,
}

impl<B: Body> Watched<B> {
    fn as_body(&self) -> Option<&B> {
        self.body.as_deref()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> PollFrame<B> {
        let Some(body) = self.body.as_mut().filter(|body| !body.is_end_stream()) else {
            // hyper does not tell the end of a body whose response has been written already.
            return Poll::Ready(None);
        };
        self.polled = true;
        let frame = ready!(body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !body.is_end_stream() => {}
            Some(Ok(_)) | None => self.tell(Returned::Finished),
            Some(Err(_)) => self.tell(Returned::Failed),
        }
        Poll::Ready(frame)
    }
}

impl<B> Watched<B> {
    fn tell(&mut self, returned: Returned<B>) {
        if let Some(slot) = self.slot.take() {
            slot.put(returned);
        }
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            let polled = self.polled;
            self.tell(Returned::Dropped { body, polled });
        }
    }
}

impl<B> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("polled", &self.polled)
            .finish_non_exhaustive()
    }
}

/// How a body came back.
pub(crate) enum Returned<B> {
    /// Its end was reached.
    Finished,
    /// Reading it failed.
    Failed,
    /// It was dropped before its end.
    Dropped {
        body: Pin<Box<B>>,
        /// Whether anyone had polled it, which has a waiting client told to send it.
        polled: bool,
    },
}

/// Where the service waits for a [`RequestBody`].
pub(crate) struct Watch<B>(Arc<Slot<B>>);

impl<B> Watch<B> {
    /// Ready when the body has come back.
    pub(crate) fn poll_returned(&self, cx: &mut Context<'_>) -> Poll<Returned<B>> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Unwatched) {
            State::Back(returned) => Poll::Ready(returned),
            State::Out(_) | State::Unwatched => {
                *state = State::Out(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<B> Drop for Watch<B> {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.0.lock(), State::Unwatched);
        drop(state);
    }
}

struct Slot<B>(Mutex<State<B>>);

enum State<B> {
    /// The handler has the body.
    Out(Option<Waker>),
    Back(Returned<B>),
    /// Nobody waits for the body any more.
    Unwatched,
}

impl<B> Slot<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing panics while it holds the lock: bodies are dropped outside.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, returned: Returned<B>) {
        let mut state = self.lock();
        if let State::Out(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Back(returned);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else {
            drop(state);
            drop(returned);
        }
    }
}

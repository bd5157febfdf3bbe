use std::{
    fmt,
    marker::{PhantomData, PhantomPinned},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{
    error::TestError,
    handle::{Outcome, Shared},
};

pin_project! {
    /// The response future of a [`ProbeService`](super::ProbeService). It is `!Unpin`, and panics when it is
    /// polled after it has finished.
    pub struct ProbeFuture<R, E> {
        response: Option<Response<R>>,
        scripted: Option<Outcome>,
        guard: Guard,
        error: PhantomData<fn() -> E>,
        #[pin]
        pinned: PhantomPinned,
    }
}

struct Guard {
    shared: Arc<Shared>,
    finished: bool,
}

impl<R, E> ProbeFuture<R, E> {
    pub(super) fn new(
        response: Response<R>,
        scripted: Option<Outcome>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            response: Some(response),
            scripted,
            guard: Guard {
                shared,
                finished: false,
            },
            error: PhantomData,
            pinned: PhantomPinned,
        }
    }
}

impl<R, E: TestError> Future for ProbeFuture<R, E> {
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        assert!(
            !this.guard.finished,
            "the inner service's future was polled after it had finished"
        );
        let outcome = this.guard.shared.poll_outcome(*this.scripted, cx.waker());
        if outcome == Outcome::Pending {
            return Poll::Pending;
        }
        this.guard.finished = true;
        this.guard.shared.finished(false);
        let response = this.response.take().expect("present until finished");
        Poll::Ready(match outcome {
            Outcome::Fail(id) => Err(E::new(id)),
            Outcome::Respond | Outcome::Pending => Ok(response),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.finished(true);
        }
    }
}

impl<R, E> fmt::Debug for ProbeFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture")
            .field("finished", &self.guard.finished)
            .finish_non_exhaustive()
    }
}

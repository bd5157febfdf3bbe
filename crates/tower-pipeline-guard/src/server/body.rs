//! The bodies of the guard.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::handle::InFlight;

pin_project! {
    /// The body of a request behind a [`PipelineGuard`](super::PipelineGuard): as received, or empty,
    /// for a request that runs ahead of its turn (such a request has none).
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        received: Option<B>,
    }
}

impl<B> RequestBody<B> {
    pub(super) const fn received(body: B) -> Self {
        Self {
            received: Some(body),
        }
    }

    pub(super) const fn empty() -> Self {
        Self { received: None }
    }

    /// The body as received; `None` if the request runs ahead of its turn.
    #[must_use]
    pub fn into_inner(self) -> Option<B> {
        self.received
    }
}

impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().received.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.received.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.received
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

pin_project! {
    /// Response body of [`PipelineGuard`](super::PipelineGuard).
    ///
    /// Forwards everything. The request is in flight until this has ended; while it streams, the
    /// requests behind it go on.
    #[derive(Debug, Default)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        flight: Option<InFlight>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn new(inner: B, flight: Option<InFlight>) -> Self {
        Self { inner, flight }
    }

    /// The wrapped body.
    #[must_use]
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The wrapped body.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        let ended = match &polled {
            Poll::Pending => {
                if let Some(flight) = this.flight {
                    flight.0.drive(cx);
                }
                false
            }
            Poll::Ready(Some(Ok(_))) => this.inner.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if ended {
            *this.flight = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The body that keeps forbidden and nominated fields out of the trailers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::nominations::Nominations;
use crate::policy::Policy;
use crate::trailers::strip_trailers;

pin_project! {
    /// A body whose trailers have been [stripped](crate::strip_trailers).
    ///
    /// Data, size hint, end and errors are the inner body's. A trailer section of which nothing is left
    /// is not sent on.
    #[derive(Debug, Default)]
    pub struct HopByHopBody<B> {
        #[pin]
        inner: B,
        filter: Option<TrailerFilter>,
    }
}

#[derive(Debug)]
pub(crate) struct TrailerFilter {
    pub(crate) policy: Arc<Policy>,
    pub(crate) nominations: Nominations,
    pub(crate) receiver: Version,
}

// ===== impl HopByHopBody =====

impl<B> HopByHopBody<B> {
    pub(crate) const fn new(inner: B, filter: Option<TrailerFilter>) -> Self {
        Self { inner, filter }
    }

    /// The inner body.
    #[must_use]
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The inner body, mutably.
    pub const fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The inner body, whose trailers are no longer stripped.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: From<Bytes>> From<Bytes> for HopByHopBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::new(B::from(bytes), None)
    }
}

impl<B: Body> Body for HopByHopBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        loop {
            let mut frame = ready!(this.inner.as_mut().poll_frame(cx));
            if let (Some(Ok(frame)), Some(filter)) = (&mut frame, this.filter.as_ref()) {
                if let Some(trailers) = frame.trailers_mut() {
                    let left = strip_trailers(
                        trailers,
                        &filter.nominations,
                        filter.receiver,
                        &filter.policy,
                    );
                    if !left {
                        continue;
                    }
                }
            }
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The response body.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response that has come through a retry layer.
    ///
    /// That of the inner service, unchanged. Of a failed response that was to be retried and then could
    /// not be, the part that was read to save its connection stands here, and the rest follows.
    pub struct ResponseBody<B: Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B: Body> {
        Direct { #[pin] body: B },
        Drained { drained: Drained<B> },
    }
}

/// A response body of which a beginning has been read.
pub(crate) struct Drained<B: Body> {
    frames: VecDeque<Frame<B::Data>>,
    error: Option<B::Error>,
    bytes: u64,
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> ResponseBody<B> {
    pub(crate) const fn direct(body: B) -> Self {
        Self {
            kind: Kind::Direct { body },
        }
    }

    pub(crate) const fn drained(drained: Drained<B>) -> Self {
        Self {
            kind: Kind::Drained { drained },
        }
    }
}

impl<B: Body> Drained<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            frames: VecDeque::new(),
            error: None,
            bytes: 0,
            rest: (!body.is_end_stream()).then(|| Box::pin(body)),
        }
    }

    /// Reads on; ready when the body has ended, or more of it would be read than the limit.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, limit: u64) -> Poll<()> {
        while let Some(body) = &mut self.rest {
            if self.bytes.saturating_add(body.size_hint().lower().max(1)) > limit {
                break;
            }
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let ended = body.is_end_stream();
                    let bytes = frame.data_ref().map_or(0, Buf::remaining) as u64;
                    self.bytes = self.bytes.saturating_add(bytes);
                    self.frames.push_back(frame);
                    if ended {
                        self.rest = None;
                    } else if self.frames.len() as u64 > limit {
                        break;
                    }
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    self.rest = None;
                }
                None => self.rest = None,
            }
        }
        Poll::Ready(())
    }

    /// Whether the transport has nothing left to deliver.
    pub(crate) const fn is_complete(&self) -> bool {
        self.rest.is_none()
    }

    #[expect(clippy::type_complexity, reason = "as `Body::poll_frame`")]
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.rest {
            Some(body) => body.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && self.error.is_none()
            && self.rest.as_deref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self
            .frames
            .iter()
            .filter_map(Frame::data_ref)
            .map(|data| data.remaining() as u64)
            .sum::<u64>();
        let rest = match &self.rest {
            Some(body) => body.size_hint(),
            // Unknown: the body failed before its end.
            None if self.error.is_some() => SizeHint::new(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(kept));
        hint
    }
}

// ===== impl ResponseBody =====

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Direct { body } => body.poll_frame(cx),
            KindProj::Drained { drained } => drained.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Direct { body } => body.is_end_stream(),
            Kind::Drained { drained } => drained.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Direct { body } => body.size_hint(),
            Kind::Drained { drained } => drained.size_hint(),
        }
    }
}

impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::direct(B::default())
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

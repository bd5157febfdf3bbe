//! The body that carries an exchange to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Exchange;

pin_project! {
    /// A response body that keeps its [`Exchange`] open until the body has ended.
    ///
    /// The exchange ends at the end of the stream, at a frame after which the body says that it has
    /// ended (hyper does not poll a body of known length past its last byte), at an error, and when
    /// the body is dropped, whichever is first. Everything else is forwarded unchanged.
    #[derive(Debug, Default)]
    pub struct ExchangeBody<B> {
        #[pin]
        inner: B,
        exchange: Option<Exchange>,
    }
}

impl<B> ExchangeBody<B> {
    /// Wraps a body; without an exchange it only forwards.
    pub const fn new(inner: B, exchange: Option<Exchange>) -> Self {
        Self { inner, exchange }
    }

    /// The exchange, while it is open.
    #[must_use]
    pub const fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    /// The wrapped body.
    #[must_use]
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The wrapped body, mutably.
    pub const fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The wrapped body; the exchange ends.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body> Body for ExchangeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let ended = match &frame {
            Some(Ok(_)) => this.inner.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        if ended {
            *this.exchange = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The futures of the services.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::body::{HopByHopBody, TrailerFilter};
use crate::observe::{OnStrip, StripEvent};
use crate::policy::Policy;
use crate::rejection::{Message, Rejection};
use crate::response::{RequestContext, strip_response};

pin_project! {
    /// The response of [`HopByHop`](crate::HopByHop) and [`StripResponse`](crate::StripResponse).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, H = ()> {
        #[pin]
        inner: RequestFuture<F>,
        strip: Option<ResponseStrip<H>>,
    }
}

pin_project! {
    /// The response of [`StripRequest`](crate::StripRequest).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RequestFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Running { #[pin] future: F },
        Rejected { rejection: Option<Rejection> },
    }
}

/// What is needed once the response is there.
#[derive(Debug)]
pub(crate) struct ResponseStrip<H> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) request: RequestContext,
    pub(crate) hook: H,
}

// ===== impl ResponseFuture =====

impl<F, H> ResponseFuture<F, H> {
    pub(crate) const fn running(future: F, strip: ResponseStrip<H>) -> Self {
        Self {
            inner: RequestFuture::running(future),
            strip: Some(strip),
        }
    }

    pub(crate) const fn rejected(rejection: Rejection) -> Self {
        Self {
            inner: RequestFuture::rejected(rejection),
            strip: None,
        }
    }
}

impl<F, B, E, H> Future for ResponseFuture<F, H>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
    H: OnStrip,
{
    type Output = Result<Response<HopByHopBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match this.strip.take() {
            Some(strip) => strip.apply(response),
            None => response.map(|body| HopByHopBody::new(body, None)),
        }))
    }
}

// ===== impl RequestFuture =====

impl<F> RequestFuture<F> {
    pub(crate) const fn running(future: F) -> Self {
        Self {
            state: State::Running { future },
        }
    }

    pub(crate) const fn rejected(rejection: Rejection) -> Self {
        Self {
            state: State::Rejected {
                rejection: Some(rejection),
            },
        }
    }
}

impl<F, B, E> Future for RequestFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Running { future } => future.poll(cx),
            StateProj::Rejected { rejection } => {
                let rejection = rejection.take().expect("polled after completion");
                Poll::Ready(Ok(refusal(rejection)))
            }
        }
    }
}

// ===== impl ResponseStrip =====

impl<H: OnStrip> ResponseStrip<H> {
    fn apply<B: Default>(self, mut response: Response<B>) -> Response<HopByHopBody<B>> {
        let (status, version) = (response.status(), response.version());
        let headers = response.headers_mut();
        let stripped = match strip_response(headers, status, version, &self.request, &self.policy) {
            Ok(stripped) => stripped,
            Err(rejection) => {
                self.hook.on_strip(StripEvent::Rejected(&rejection));
                return refusal(rejection).map(|body| HopByHopBody::new(body, None));
            }
        };
        if !stripped.report.is_empty() {
            self.hook.on_strip(StripEvent::Stripped {
                message: Message::Response,
                report: &stripped.report,
            });
        }
        if stripped.report.is_notable() {
            response.extensions_mut().insert(stripped.report);
        }
        let filter = TrailerFilter {
            policy: self.policy,
            nominations: stripped.nominations,
            receiver: self.request.version(),
        };
        response.map(|body| HopByHopBody::new(body, Some(filter)))
    }
}

fn refusal<B: Default>(rejection: Rejection) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = rejection.status();
    response.extensions_mut().insert(rejection);
    response
}

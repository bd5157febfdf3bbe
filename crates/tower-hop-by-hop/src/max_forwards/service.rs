use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Rules;
use super::{Forwarding, count_forward, trace_echo};

/// The service of [`MaxForwardsLayer`](super::MaxForwardsLayer).
#[derive(Clone, Debug)]
pub struct MaxForwards<S> {
    inner: S,
    rules: Arc<Rules>,
}

pin_project! {
    /// The response of [`MaxForwards`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct MaxForwardsFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Forwarded { #[pin] future: F },
        Answered { answer: Option<Response<Bytes>> },
    }
}

// ===== impl MaxForwards =====

impl<S> MaxForwards<S> {
    pub(super) const fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }

    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for MaxForwards<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = MaxForwardsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let method = request.method().clone();
        let forwarding = count_forward(request.headers_mut(), &method, self.rules.max);
        let state = match forwarding {
            Forwarding::Forward => State::Forwarded {
                future: self.inner.call(request),
            },
            Forwarding::Answer => State::Answered {
                answer: Some(self.rules.answer(&request)),
            },
            Forwarding::Invalid => State::Answered {
                answer: Some(with_status(StatusCode::BAD_REQUEST, Bytes::new())),
            },
        };
        MaxForwardsFuture { state }
    }
}

// ===== impl MaxForwardsFuture =====

impl<F, B, E> Future for MaxForwardsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Forwarded { future } => future.poll(cx),
            StateProj::Answered { answer } => {
                let answer = answer.take().expect("polled after completion");
                Poll::Ready(Ok(answer.map(B::from)))
            }
        }
    }
}

// ===== impl Rules =====

impl Rules {
    /// Answers as the final recipient of an OPTIONS or TRACE.
    fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let mut response = if request.method() != Method::TRACE {
            with_status(StatusCode::OK, Bytes::new())
        } else if self.trace {
            let mut response = with_status(StatusCode::OK, trace_echo(request, &self.hidden));
            let message = HeaderValue::from_static("message/http");
            response.headers_mut().insert(CONTENT_TYPE, message);
            return response;
        } else {
            with_status(StatusCode::METHOD_NOT_ALLOWED, Bytes::new())
        };
        if let Some(allow) = &self.allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        response
    }
}

fn with_status(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

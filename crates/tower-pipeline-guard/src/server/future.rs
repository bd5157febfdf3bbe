//! The futures of the guard.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::handle::InFlight;
use super::service::Call;

pin_project! {
    /// Response future of [`PipelineGuard`](super::PipelineGuard).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        #[pin]
        state: State<S, B>,
        flight: Option<InFlight>,
        // The version of the last request that the connection may carry.
        last: Option<Version>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        Direct { #[pin] future: S::Future },
        Oneshot { #[pin] future: Oneshot<S, Request<RequestBody<B>>> },
        Ahead { call: Call<Oneshot<S, Request<RequestBody<B>>>> },
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    pub(super) const fn direct(future: S::Future, flight: Option<InFlight>) -> Self {
        Self {
            state: State::Direct { future },
            flight,
            last: None,
        }
    }

    pub(super) const fn oneshot(
        future: Oneshot<S, Request<RequestBody<B>>>,
        flight: Option<InFlight>,
    ) -> Self {
        Self {
            state: State::Oneshot { future },
            flight,
            last: None,
        }
    }

    pub(super) const fn ahead(
        call: Call<Oneshot<S, Request<RequestBody<B>>>>,
        flight: InFlight,
    ) -> Self {
        Self {
            state: State::Ahead { call },
            flight: Some(flight),
            last: None,
        }
    }

    /// Says in the response that the connection ends with it.
    pub(super) const fn last(mut self, version: Version) -> Self {
        self.last = Some(version);
        self
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.state.project() {
            StateProj::Direct { future } => future.poll(cx),
            StateProj::Oneshot { future } => future.poll(cx),
            StateProj::Ahead { call } => match call.output.take() {
                Some(output) => Poll::Ready(output),
                None => call.future.as_mut().poll(cx),
            },
        };
        let Poll::Ready(result) = polled else {
            if let Some(flight) = this.flight {
                flight.0.drive(cx);
            }
            return Poll::Pending;
        };
        let flight = this.flight.take();
        Poll::Ready(result.map(|mut response| {
            if let Some(version) = *this.last {
                announce_close(&mut response, version);
            }
            response.map(|body| ResponseBody::new(body, flight))
        }))
    }
}

fn announce_close<B>(response: &mut Response<B>, version: Version) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response.headers_mut().remove("keep-alive");
    if version == Version::HTTP_10 {
        // hyper heeds the field in responses of HTTP/1.1 only.
        *response.version_mut() = version;
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// Readies a service, then calls it.
    #[project = OneshotProj]
    pub(super) enum Oneshot<S: Service<R>, R> {
        Waiting { service: S, request: Option<R> },
        Called { #[pin] future: S::Future },
    }
}

impl<S: Service<R>, R> Oneshot<S, R> {
    pub(super) const fn new(service: S, request: R) -> Self {
        Self::Waiting {
            service,
            request: Some(request),
        }
    }
}

impl<S: Service<R>, R> Future for Oneshot<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                OneshotProj::Called { future } => return future.poll(cx),
                OneshotProj::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("polled again after it failed");
                    service.call(request)
                }
            };
            self.set(Self::Called { future });
        }
    }
}

//! The futures of the guard.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
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
        }
    }

    pub(super) const fn oneshot(
        future: Oneshot<S, Request<RequestBody<B>>>,
        flight: Option<InFlight>,
    ) -> Self {
        Self {
            state: State::Oneshot { future },
            flight,
        }
    }

    pub(super) const fn ahead(
        call: Call<Oneshot<S, Request<RequestBody<B>>>>,
        flight: InFlight,
    ) -> Self {
        Self {
            state: State::Ahead { call },
            flight: Some(flight),
        }
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
        Poll::Ready(result.map(|response| response.map(|body| ResponseBody::new(body, flight))))
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

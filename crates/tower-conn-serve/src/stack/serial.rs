//! One request at a time, as hyper does it.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::ExchangeBody;
use tower_idle_reaper::{Reap, ReapLayer, ReapedIo, ResponseFuture};
use tower_layer::Layer;
use tower_service::Service;

use super::{BoxError, Rewind, Stack, connection_of, sealed};

/// Requests are run one after the other, and responses written as they come: the default.
///
/// The service is called with a `Request<Incoming>`.
#[derive(Clone, Copy, Debug)]
pub struct Serial;

impl sealed::Sealed for Serial {}

impl<T, S, B> Stack<T, S> for Serial
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
    B: Body + Default + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = ExchangeBody<B>;
    type Error = S::Error;
    type Future = ResponseFuture<Oneshot<S, Request<Incoming>>>;
    type Io = Rewind<ReapedIo<T>>;
    type Service = PerConnection<S>;

    fn assemble(&self, io: ReapedIo<T>, read: Bytes, service: S) -> (Self::Io, Self::Service) {
        let reap = ReapLayer::of(connection_of(&io));
        let service = PerConnection(RefCell::new(reap.layer(Ready(service))));
        (Rewind::new(io, read), service)
    }

    fn take_apart(mut io: Self::Io, service: Self::Service) -> Option<(ReapedIo<T>, S)> {
        let reap = service.0.into_inner();
        Some((io.take()?, reap.into_inner().0))
    }
}

/// The service of one connection, as hyper calls it.
///
/// The exchange begins with the call itself, however long the application takes to be ready: as long
/// as no exchange is open, hyper holds no request.
#[derive(Debug)]
pub struct PerConnection<S>(
    // hyper calls through a shared reference, one call at a time.
    RefCell<Reap<Ready<S>>>,
);

impl<S, B> hyper::service::Service<Request<Incoming>> for PerConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    B: Default,
{
    type Response = Response<ExchangeBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<Oneshot<S, Request<Incoming>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.0.borrow_mut().call(request)
    }
}

/// A service that is always ready, and waits for the one inside it after the call.
#[derive(Clone, Debug)]
pub struct Ready<S>(pub(super) S);

impl<S, R> Service<R> for Ready<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        // Most are ready at any time; one that is not is asked again, by the task.
        let mut cx = Context::from_waker(Waker::noop());
        match self.0.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => Oneshot::Called {
                future: self.0.call(request),
            },
            Poll::Ready(Err(error)) => Oneshot::Failed { error: Some(error) },
            Poll::Pending => {
                // The one that was asked has a place in a queue, perhaps.
                let next = self.0.clone();
                Oneshot::Waiting {
                    service: std::mem::replace(&mut self.0, next),
                    request: Some(request),
                }
            }
        }
    }
}

pin_project! {
    /// One call of a service of its own.
    #[project = OneshotProj]
    pub enum Oneshot<S: Service<R>, R> {
        /// Until the service is ready.
        Waiting { service: S, request: Option<R> },
        /// It has been called.
        Called { #[pin] future: S::Future },
        /// It will not be ready.
        Failed { error: Option<S::Error> },
    }
}

impl<S: Service<R>, R> fmt::Debug for Oneshot<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oneshot").finish_non_exhaustive()
    }
}

impl<S: Service<R>, R> Future for Oneshot<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                OneshotProj::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else {
                        unreachable!("taken together with the state");
                    };
                    let future = service.call(request);
                    self.set(Self::Called { future });
                }
                OneshotProj::Called { future } => return future.poll(cx),
                OneshotProj::Failed { error } => {
                    return error
                        .take()
                        .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
            }
        }
    }
}

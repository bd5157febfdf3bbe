//! The guard in `axum::serve`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::{Connection, TransportConnection};
use tower_layer::Layer;
use tower_service::Service;

use super::observe::Observer;
use super::{
    LookaheadIo, OnAhead, Pipeline, PipelineGuard, PipelineGuardLayer, RequestBody, ResponseBody,
    ResponseFuture,
};

/// A listener for `axum::serve` whose transports are [`LookaheadIo`].
///
/// Goes with [`GuardedMakeService`] around the service; see the [crate docs](crate).
#[derive(Debug)]
pub struct LookaheadListener<L> {
    inner: L,
    config: Pipeline,
}

impl<L> LookaheadListener<L> {
    /// Wraps a listener.
    pub const fn new(inner: L, config: Pipeline) -> Self {
        Self { inner, config }
    }

    /// The wrapped listener.
    pub const fn get_ref(&self) -> &L {
        &self.inner
    }
}

impl<L: Listener> Listener for LookaheadListener<L> {
    type Io = LookaheadIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, addr) = self.inner.accept().await;
        (LookaheadIo::new(io, self.config), addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

impl<I: TransportConnection + AsyncWrite> TransportConnection for LookaheadIo<I> {
    fn connection(&self) -> Connection {
        self.get_ref().connection()
    }
}

/// A transport that comes with a [`PipelineGuardLayer`] for its service.
pub trait PipelineTransport {
    /// The layer of this connection.
    fn guard_layer(&self) -> PipelineGuardLayer;
}

impl<I: AsyncRead + AsyncWrite> PipelineTransport for LookaheadIo<I> {
    fn guard_layer(&self) -> PipelineGuardLayer {
        self.layer()
    }
}

/// Makes the service of each connection, and puts a [`PipelineGuard`] around it.
#[derive(Clone)]
pub struct GuardedMakeService<M> {
    inner: M,
    observer: Option<Observer>,
}

impl<M> GuardedMakeService<M> {
    /// Wraps what `axum::serve` would be given: a `Router`, or what its `into_make_service..` makes.
    pub const fn new(inner: M) -> Self {
        Self {
            inner,
            observer: None,
        }
    }

    /// Has this told of the requests that run ahead, on all connections.
    #[must_use]
    pub fn on_ahead(mut self, observer: impl OnAhead + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl<M: fmt::Debug> fmt::Debug for GuardedMakeService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedMakeService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<'a, M, L> Service<IncomingStream<'a, L>> for GuardedMakeService<M>
where
    L: Listener,
    L::Io: PipelineTransport,
    M: Service<IncomingStream<'a, L>>,
{
    type Response = GuardedService<M::Response>;
    type Error = M::Error;
    type Future = GuardedMakeFuture<M::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, stream: IncomingStream<'a, L>) -> Self::Future {
        let layer = stream.io().guard_layer();
        let layer = match &self.observer {
            Some(observer) => layer.on_ahead(Arc::clone(observer)),
            None => layer,
        };
        GuardedMakeFuture {
            future: self.inner.call(stream),
            layer,
        }
    }
}

pin_project! {
    /// Future of [`GuardedMakeService`].
    #[derive(Debug)]
    pub struct GuardedMakeFuture<F> {
        #[pin]
        future: F,
        layer: PipelineGuardLayer,
    }
}

impl<F, S, E> Future for GuardedMakeFuture<F>
where
    F: Future<Output = Result<S, E>>,
{
    type Output = Result<GuardedService<S>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = ready!(this.future.poll(cx))?;
        Poll::Ready(Ok(GuardedService {
            inner: this.layer.layer(inner),
        }))
    }
}

/// [`PipelineGuard`] with the request and response types of axum.
#[derive(Clone, Debug)]
pub struct GuardedService<S> {
    inner: PipelineGuard<S>,
}

impl<S> Service<Request> for GuardedService<S>
where
    S: Service<http::Request<RequestBody<Body>>, Response = Response> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = GuardedFuture<ResponseFuture<S, Body>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        GuardedFuture {
            future: self.inner.call(request),
        }
    }
}

pin_project! {
    /// Response future of [`GuardedService`].
    #[derive(Debug)]
    pub struct GuardedFuture<F> {
        #[pin]
        future: F,
    }
}

impl<F, E> Future for GuardedFuture<F>
where
    F: Future<Output = Result<http::Response<ResponseBody<Body>>, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().future.poll(cx))?;
        Poll::Ready(Ok(response.map(|body| {
            if body.is_end_stream() {
                // Nothing to wait for, nothing to box.
                body.into_inner()
            } else {
                Body::new(body)
            }
        })))
    }
}

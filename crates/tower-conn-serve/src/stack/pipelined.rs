//! Pipelined safe requests in parallel.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::ExchangeBody;
use tower_idle_reaper::{Reap, ReapLayer, ReapedIo};
use tower_layer::Layer;
use tower_pipeline_guard::{
    LookaheadIo, OnAhead, Pipeline, PipelineGuard, RequestBody, ResponseBody, ResponseFuture,
};
use tower_service::Service;

use super::serial::Ready;
use super::{BoxError, Rewind, Stack, connection_of, sealed};

/// Pipelined safe requests run in parallel, and their responses are written together; see
/// [`Server::pipeline`](crate::Server::pipeline).
///
/// The service is called with a `Request<RequestBody<Incoming>>`.
#[derive(Clone)]
pub struct Pipelined {
    pub(crate) pipeline: Pipeline,
    pub(crate) observer: Option<Arc<dyn OnAhead + Send + Sync>>,
}

impl fmt::Debug for Pipelined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pipelined").field(&self.pipeline).finish()
    }
}

impl sealed::Sealed for Pipelined {}

/// The service of one connection, as hyper calls it.
#[derive(Debug)]
pub struct Guarded<S>(PipelineGuard<Reap<Ready<S>>>);

impl<S, B> hyper::service::Service<Request<Incoming>> for Guarded<S>
where
    S: Service<Request<RequestBody<Incoming>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Default + Send + 'static,
{
    type Response = Response<ResponseBody<ExchangeBody<B>>>;
    type Error = S::Error;
    type Future = ResponseFuture<Reap<Ready<S>>, Incoming>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Ready at any time: what is inside waits for the application after the call.
        self.0.clone().call(request)
    }
}

impl<T, S, B> Stack<T, S> for Pipelined
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody<Incoming>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
    B: Body + Default + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = ResponseBody<ExchangeBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<Reap<Ready<S>>, Incoming>;
    type Io = LookaheadIo<Rewind<ReapedIo<T>>>;
    type Service = Guarded<S>;

    fn assemble(&self, io: ReapedIo<T>, read: Bytes, service: S) -> (Self::Io, Self::Service) {
        let reap = ReapLayer::of(connection_of(&io));
        let (io, mut guard) = self.pipeline.wrap(Rewind::new(io, read));
        if let Some(observer) = &self.observer {
            guard = guard.on_ahead(Arc::clone(observer));
        }
        let service = guard.layer(reap.layer(Ready(service)));
        (io, Guarded(service))
    }

    fn take_apart(mut io: Self::Io, service: Self::Service) -> Option<(ReapedIo<T>, S)> {
        if io.has_buffered() {
            return None;
        }
        let reap = service.0.into_inner();
        Some((io.get_mut().take()?, reap.into_inner().0))
    }
}

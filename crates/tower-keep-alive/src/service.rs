//! The service: reads the request's side before the handler, and hands over to the future.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_conn_core::{Connection, ExchangeBody};
use tower_layer::Layer;
use tower_service::Service;

use crate::future::{Exchanged, ResponseFuture};
use crate::layer::Config;
use crate::{KeepAliveLayer, OnDecision, RequestBody, RequestFacts};

/// Middleware that decides whether a connection persists after each response, and says so; see the
/// [crate docs](crate).
#[derive(Clone)]
pub struct KeepAlive<S, O = ()> {
    pub(crate) inner: S,
    pub(crate) config: Arc<Config>,
    pub(crate) on_decision: O,
}

impl<S> KeepAlive<S> {
    /// Wraps a service with the defaults of [`KeepAliveLayer::new`].
    pub fn new(inner: S) -> Self {
        KeepAliveLayer::new().layer(inner)
    }

    /// The layer, for its options.
    pub fn layer() -> KeepAliveLayer {
        KeepAliveLayer::new()
    }
}

impl<S, O> KeepAlive<S, O> {
    /// The wrapped service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: fmt::Debug, O> fmt::Debug for KeepAlive<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<S, O, ReqBody, ResBody> Service<Request<ReqBody>> for KeepAlive<S, O>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
    O: OnDecision + Clone,
{
    type Response = Response<ExchangeBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ReqBody, ResBody, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let facts = RequestFacts::of(&request);
        let exchange = Connection::begin_once(request.extensions_mut());
        let connection = Connection::of(request.extensions()).cloned();
        if let Some(connection) = &connection {
            connection.saw_version(facts.version());
        }

        let (head, body) = request.into_parts();
        // A stream of HTTP/2 is reset on its own, and the connection does not suffer.
        let (body, watch) = if facts.is_http1() {
            RequestBody::watched(body)
        } else {
            (RequestBody::unwatched(body), None)
        };
        let exchanged = Exchanged {
            config: Arc::clone(&self.config),
            on_decision: self.on_decision.clone(),
            request: facts,
            exchange,
            connection,
        };
        let inner = self.inner.call(Request::from_parts(head, body));
        ResponseFuture::new(inner, watch, exchanged)
    }
}

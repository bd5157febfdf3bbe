//! The service.

use std::task::{Context, Poll};

use http::{Method, Request, Response, header};
use http_body::Body;
use tower_conn_core::options::has_connection_option;
use tower_conn_core::{CloseReason, Connection, Exchange, ExchangeBody, Link};
use tower_service::Service;

use crate::ResponseFuture;
use crate::shared::{PEER_ASKED, Shared};

/// Keeps the [exchange](Exchange) of each request open until its response body has ended, so that
/// the reaper knows which connections are busy.
///
/// - The exchange begins here, unless an outer layer has begun it.
/// - The request that reaches [`Policy::max_requests`](crate::Policy::max_requests) has the
///   connection close after it.
/// - While the connection is closing, HTTP/1 responses carry `Connection: close`
///   (RFC 9112 section 9.6).
/// - A response that is ready before all of its HTTP/1 request body has arrived has the connection
///   close after it: hyper does that, and leaves it to its users to announce it.
/// - A response of 101, or a successful one to CONNECT, makes the connection a tunnel, to which the
///   limits on HTTP do not apply.
/// - A request that arrives on a connection that has been closed, which can only happen to a
///   multiplexed one, is not passed on: nobody would get its answer. It is answered with 503.
///
/// Requests without a connection, or one that is under no reaper, are passed on.
#[derive(Clone, Debug)]
pub struct Reap<S> {
    inner: S,
    connection: Option<Link>,
}

impl<S> Reap<S> {
    pub(crate) const fn new(inner: S, connection: Option<Link>) -> Self {
        Self { inner, connection }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Reap<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Default,
{
    type Response = Response<ExchangeBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let version = request.version();
        let is_connect = request.method() == Method::CONNECT;
        let extensions = request.extensions_mut();
        let exchange = match &self.connection {
            Some(own) if Connection::of(extensions).is_none() => {
                let Ok(exchange) = own.begin() else {
                    return ResponseFuture::refused();
                };
                extensions.insert(exchange.connection().clone());
                Some(exchange)
            }
            _ => Exchange::begin_once(extensions),
        };
        if let Some(exchange) = exchange {
            let connection = exchange.connection();
            connection.saw_version(version);
            if let Some(shared) = Shared::of(connection) {
                begin(&request, connection, shared);
            }
            let inner = self.inner.call(request);
            return ResponseFuture::new(inner, exchange, version, is_connect);
        }
        match Connection::of(request.extensions()) {
            None => ResponseFuture::passed(self.inner.call(request)),
            Some(connection)
                if connection.exchange_number().is_none() && connection.is_closed() =>
            {
                ResponseFuture::refused()
            }
            Some(connection) => {
                let outer = connection.clone();
                ResponseFuture::nested(self.inner.call(request), outer, version, is_connect)
            }
        }
    }
}

fn begin<B: Body>(request: &Request<B>, connection: &Connection, shared: Shared<'_>) {
    if !request.body().is_end_stream() && shared.is_last_head(connection.exchange_number()) {
        shared.tell_body(request.body().size_hint().exact());
    }
    let headers = request.headers();
    if headers.contains_key(header::CONNECTION) && has_connection_option(headers, "close") {
        shared.set(PEER_ASKED);
    }
    let reaper = shared.reaper();
    if reaper
        .policy
        .max_requests
        .is_some_and(|max| connection.exchange_number() >= Some(max))
    {
        connection.request_close(CloseReason::MaxRequests);
    }
    if reaper.drain.is_draining() {
        connection.request_close(CloseReason::Draining);
    }
}

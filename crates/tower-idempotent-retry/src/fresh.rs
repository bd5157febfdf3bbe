//! New connections for requests that ask for one.

use std::task::{Context, Poll, ready};

use http::Request;
use tower_conn_core::FreshConnection;
use tower_service::Service;

/// Sends the requests that carry [`FreshConnection`] with a service of their own.
///
/// For clients that do not know the extension. hyper-util's legacy client has no way to ask for a new connection, but a
/// second client that keeps none always makes one:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tower::ServiceBuilder;
/// use tower_idempotent_retry::{FreshConnections, ReplayBody, RetryLayer};
/// # #[cfg(feature = "hyper-util")] {
/// use tower_idempotent_retry::ReuseConnector;
///
/// let connector = ReuseConnector::new(HttpConnector::new());
/// let pooled: Client<_, ReplayBody<Full<Bytes>>> =
///     Client::builder(TokioExecutor::new()).build(connector.clone());
/// let fresh = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
///
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::client())
///     .service(FreshConnections::new(pooled, fresh));
/// # let _ = client; }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FreshConnections<S> {
    pooled: S,
    fresh: S,
}

impl<S> FreshConnections<S> {
    /// The service for most requests, and the one for those that ask for a fresh connection.
    pub const fn new(pooled: S, fresh: S) -> Self {
        Self { pooled, fresh }
    }

    /// The service for most requests.
    pub const fn pooled(&self) -> &S {
        &self.pooled
    }

    /// The service for requests that ask for a fresh connection.
    pub const fn fresh(&self) -> &S {
        &self.fresh
    }
}

impl<S, B> Service<Request<B>> for FreshConnections<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.pooled.poll_ready(cx))?;
        self.fresh.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if request.extensions().get::<FreshConnection>().is_some() {
            self.fresh.call(request)
        } else {
            self.pooled.call(request)
        }
    }
}

//! Hints for the connections of `hyper_util::client::legacy::Client`.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Extensions, Request, Response, Version};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_conn_core::Connection;
use tower_layer::Layer;
use tower_service::Service;

use super::registry::Registry;
use crate::{Lifetime, RequestFacts, ReusePolicy};

/// Applies [`HonorHints`] to a `hyper_util::client::legacy::Client`; see there.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct KeepAliveHintLayer {
    policy: ReusePolicy,
}

impl KeepAliveHintLayer {
    /// With this policy for each connection of the client.
    pub const fn new(policy: ReusePolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for KeepAliveHintLayer {
    type Service = HonorHints<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HonorHints {
            inner,
            shared: Arc::new(Shared {
                policy: self.policy,
                connections: Mutex::new(Connections {
                    registry: Registry::new(),
                    unnamed: 0,
                }),
            }),
        }
    }
}

/// A `hyper_util::client::legacy::Client` that does not reuse a connection past its server's hint,
/// nor past the other limits of a [`ReusePolicy`].
///
/// The client's pool knows one idle time for all servers, 90 s by default, and many servers close
/// sooner. Here each connection has its own: before a request is passed on, the connections that are
/// due are poisoned, and the pool drops a poisoned connection instead of handing it out. There is no
/// timer and no task. A connection is known by its [`Connection`], where the connector provides one,
/// or else by its addresses (`HttpInfo`, which `HttpConnector` and the TLS connectors around it
/// provide); of any other, each response counts as one of its own, so that it goes at the earliest
/// of its deadlines.
///
/// All requests of the client must go through the same layered service or its clones. HTTP/2
/// connections are left alone. The layer takes the place of a `capture_connection` that the caller
/// has put on a request; and it does not work under `reqwest`, which drops request extensions: there,
/// set `pool_idle_timeout` below what the servers announce.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tower::ServiceBuilder;
/// use tower_keep_alive::{KeepAliveHintLayer, ReusePolicy};
///
/// let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
/// let client = ServiceBuilder::new()
///     .layer(KeepAliveHintLayer::new(ReusePolicy::new()))
///     .service(client);
/// # let _ = client;
/// ```
#[derive(Clone)]
pub struct HonorHints<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    policy: ReusePolicy,
    connections: Mutex<Connections>,
}

struct Connections {
    registry: Registry<Key, CaptureConnection>,
    unnamed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Connection(u64),
    Addresses(SocketAddr, SocketAddr),
    Unnamed(u64),
}

impl<S> HonorHints<S> {
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

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        // Nothing panics while it holds the lock.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let due = self.connections().registry.take_due(Instant::now());
        due.iter().for_each(poison);
    }

    fn received<R>(
        &self,
        connection: CaptureConnection,
        request: &RequestFacts,
        response: &Response<R>,
    ) {
        if response.version() > Version::HTTP_11 {
            return;
        }
        let now = Instant::now();
        let mut connections = self.connections();
        let key = key_of(response.extensions()).unwrap_or_else(|| {
            connections.unnamed += 1;
            Key::Unnamed(connections.unnamed)
        });
        let known = connections.registry.lifetime(&key);
        let mut lifetime = known.unwrap_or_else(|| Lifetime::new(now));
        lifetime.sent();
        lifetime.received(&self.policy, request, response, now);
        let deadline = match lifetime.expired(&self.policy, now) {
            Some(_) => None,
            None => lifetime.deadline(&self.policy),
        };
        let refused = match deadline {
            Some(deadline) => connections
                .registry
                .remember(key, connection, lifetime, deadline)
                .err(),
            None => {
                connections.registry.forget(&key);
                Some(connection)
            }
        };
        drop(connections);
        refused.iter().for_each(poison);
    }
}

fn key_of(extensions: &Extensions) -> Option<Key> {
    if let Some(connection) = Connection::of(extensions) {
        return Some(Key::Connection(connection.id()));
    }
    let info = extensions.get::<HttpInfo>()?;
    Some(Key::Addresses(info.local_addr(), info.remote_addr()))
}

fn poison(connection: &CaptureConnection) {
    if let Some(connected) = &*connection.connection_metadata() {
        connected.poison();
    }
}

impl<S: fmt::Debug> fmt::Debug for HonorHints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HonorHints")
            .field("inner", &self.inner)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for HonorHints<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HonorHintsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.shared.sweep();
        let connection = capture_connection(&mut request);
        HonorHintsFuture {
            request: RequestFacts::of(&request),
            inner: self.inner.call(request),
            connection: Some(connection),
            shared: Arc::clone(&self.shared),
        }
    }
}

pin_project! {
    /// The future of [`HonorHints`].
    pub struct HonorHintsFuture<F> {
        #[pin]
        inner: F,
        request: RequestFacts,
        connection: Option<CaptureConnection>,
        shared: Arc<Shared>,
    }
}

impl<F, R, E> Future for HonorHintsFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        if let Some(connection) = this.connection.take() {
            this.shared.received(connection, this.request, &response);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F: fmt::Debug> fmt::Debug for HonorHintsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HonorHintsFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

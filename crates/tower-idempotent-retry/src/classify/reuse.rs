//! Whether a connection of hyper-util's legacy client was new or reused.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use http::Extensions;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use tower_service::Service;

/// How many responses a connection has given, shared by all who see it.
#[derive(Clone, Default)]
struct ConnectionUse(Arc<AtomicU32>);

/// Notes that the connection of a response with these extensions has answered.
pub(crate) fn note_response(extensions: &Extensions) {
    if let Some(used) = extensions.get::<ConnectionUse>() {
        used.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn of_error(error: &legacy::Error) -> Option<bool> {
    let mut extras = Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    let used = extras.get::<ConnectionUse>()?;
    Some(used.0.load(Ordering::Relaxed) > 0)
}

/// A connector whose connections tell whether they are new.
///
/// hyper-util's legacy client knows whether it sent a request on a kept connection, but its errors
/// do not say so. Wrap its connector, and the errors of its requests carry the answer to
/// [`DefaultClassify`](crate::DefaultClassify), which [`RetryLayer::stale_only`](crate::RetryLayer::stale_only)
/// needs, and which lets the other presets repeat without a wait.
///
/// Responses are counted by the retry layer: a connection counts as reused once a response on it
/// has come through a layer of this crate.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tower::ServiceBuilder;
/// use tower_idempotent_retry::{ReplayBody, ReuseConnector, RetryLayer};
///
/// let client: Client<_, ReplayBody<Full<Bytes>>> =
///     Client::builder(TokioExecutor::new()).build(ReuseConnector::new(HttpConnector::new()));
/// let client = ServiceBuilder::new().layer(RetryLayer::client()).service(client);
/// # let _ = client;
/// ```
#[derive(Clone, Debug)]
pub struct ReuseConnector<C> {
    inner: C,
}

impl<C> ReuseConnector<C> {
    /// Wraps a connector.
    pub const fn new(inner: C) -> Self {
        Self { inner }
    }

    /// The wrapped connector.
    pub const fn get_ref(&self) -> &C {
        &self.inner
    }

    /// The wrapped connector, mutably.
    pub const fn get_mut(&mut self) -> &mut C {
        &mut self.inner
    }
}

impl<C, Dst> Service<Dst> for ReuseConnector<C>
where
    C: Service<Dst>,
{
    type Response = ReuseIo<C::Response>;
    type Error = C::Error;
    type Future = ConnectFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, dst: Dst) -> Self::Future {
        ConnectFuture {
            inner: self.inner.call(dst),
        }
    }
}

pin_project! {
    /// The future of [`ReuseConnector`].
    #[derive(Debug)]
    pub struct ConnectFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for ConnectFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<ReuseIo<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(Ok(ReuseIo {
            inner,
            used: ConnectionUse::default(),
        }))
    }
}

pin_project! {
    /// A connection made by [`ReuseConnector`].
    pub struct ReuseIo<T> {
        #[pin]
        inner: T,
        used: ConnectionUse,
    }
}

impl<T> ReuseIo<T> {
    /// The wrapped connection.
    pub const fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The wrapped connection; it is no longer counted.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for ReuseIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuseIo")
            .field("inner", &self.inner)
            .field("responses", &self.used.0)
            .finish()
    }
}

impl<T: Connection> Connection for ReuseIo<T> {
    fn connected(&self) -> Connected {
        self.inner.connected().extra(self.used.clone())
    }
}

impl<T: Read> Read for ReuseIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().inner.poll_read(cx, buf)
    }
}

impl<T: Write> Write for ReuseIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }
}

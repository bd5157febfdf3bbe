//! A request id that the server has to send back.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_conn_core::{CloseReason, Connection};
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`EchoGuard`]: stamps a request id, and takes no response that carries another.
///
/// Framing cannot tell a response from the one before it or behind it: a server that answers twice,
/// leaves an answer out or swaps two, hands users each other's data. An id in the request that comes
/// back in the response can. The layer works on any connection, pipelined or not, over any pool, with
/// servers that return the field, as most do with `X-Request-Id` if told so.
///
/// On a mismatch the response is dropped and the call fails with an error made from [`EchoMismatch`];
/// and if a [`Connection`] is in the extensions of the response, it is closed at once, with whatever
/// else is outstanding on it.
///
/// A request that has the field once keeps its value; otherwise it gets one that no other request of
/// this process has.
///
/// ```
/// use http::{HeaderName, Request, Response};
/// use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
/// use tower_pipeline_guard::EchoGuardLayer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let layer = EchoGuardLayer::new(HeaderName::from_static("x-request-id"));
/// let mut service = layer.layer(service_fn(|request: Request<()>| async move {
///     assert!(request.headers().contains_key("x-request-id"));
///     // The answer to somebody else.
///     Ok::<_, BoxError>(Response::builder().header("x-request-id", "1").body(()).unwrap())
/// }));
/// let error = service.ready().await.unwrap().call(Request::new(())).await.unwrap_err();
/// assert!(error.is::<tower_pipeline_guard::EchoMismatch>());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EchoGuardLayer {
    name: HeaderName,
    required: bool,
}

impl EchoGuardLayer {
    /// Compares this field. A response without it is let through.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self {
            name,
            required: false,
        }
    }

    /// Whether a response without the field counts as one to another request. Default `false`.
    #[must_use]
    pub const fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }
}

impl<S> Layer<S> for EchoGuardLayer {
    type Service = EchoGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EchoGuard {
            inner,
            name: self.name.clone(),
            required: self.required,
        }
    }
}

/// Compares a request id; see [`EchoGuardLayer`].
#[derive(Clone, Debug)]
pub struct EchoGuard<S> {
    inner: S,
    name: HeaderName,
    required: bool,
}

impl<S> EchoGuard<S> {
    /// The wrapped service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EchoGuard<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: From<EchoMismatch>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = EchoFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let mut present = request.headers().get_all(&self.name).iter();
        let id = match (present.next(), present.next()) {
            (Some(id), None) => id.clone(),
            _ => {
                let id = fresh_id();
                request.headers_mut().insert(self.name.clone(), id.clone());
                id
            }
        };
        EchoFuture {
            future: self.inner.call(request),
            name: self.name.clone(),
            id,
            required: self.required,
        }
    }
}

pin_project! {
    /// Response future of [`EchoGuard`].
    #[derive(Debug)]
    pub struct EchoFuture<F> {
        #[pin]
        future: F,
        name: HeaderName,
        id: HeaderValue,
        required: bool,
    }
}

impl<F, E, ResBody> Future for EchoFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    E: From<EchoMismatch>,
{
    type Output = Result<Response<ResBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let mut echoes = response.headers().get_all(&*this.name).iter().peekable();
        let same = match echoes.peek() {
            None => !*this.required,
            Some(_) => echoes.all(|echo| echo == *this.id),
        };
        if same {
            return Poll::Ready(Ok(response));
        }
        if let Some(connection) = Connection::of(response.extensions()) {
            connection.close(CloseReason::ProtocolError);
        }
        Poll::Ready(Err(EchoMismatch { _private: () }.into()))
    }
}

/// The response carried the id of another request, or none where one is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoMismatch {
    _private: (),
}

impl fmt::Display for EchoMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response does not carry the id of its request")
    }
}

impl std::error::Error for EchoMismatch {}

/// An id that is not used twice, here or (most likely) by another process.
fn fresh_id() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(0));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{process:016x}-{number:x}"))
        .expect("hexadecimal digits are a field value")
}

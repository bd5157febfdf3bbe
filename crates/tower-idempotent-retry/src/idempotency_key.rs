//! A key for each request, so that a server can recognise a repetition.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::policy::IDEMPOTENCY_KEY;
use crate::safety::ReplaySafety;

/// Adds an `Idempotency-Key` to requests whose method is not idempotent, unless they carry one.
///
/// The key is a random UUID (version 4), quoted, as the field is a structured string
/// (draft-ietf-httpapi-idempotency-key-header section 2). A server that honours it applies the request once,
/// however often it is sent, so that [`RetryLayer::client`](crate::RetryLayer::client) may repeat it. Use
/// it with servers that document the key, and not otherwise: other servers apply the repetition, too.
///
/// It goes *outside* the retry layer, so that all attempts carry the same key:
///
/// ```
/// use http::Request;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_idempotent_retry::{IdempotencyKeyLayer, ReplayBody, RetryLayer};
/// # use http::Response; use http_body_util::Empty; use bytes::Bytes; use std::convert::Infallible;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = ServiceBuilder::new()
///     .layer(IdempotencyKeyLayer::new())
///     .layer(RetryLayer::client())
///     .service(service_fn(|request: Request<ReplayBody<Empty<Bytes>>>| async move {
///         let key = request.headers()["idempotency-key"].to_str().unwrap();
///         assert!(key.len() == 38 && key.starts_with('"') && key.ends_with('"'));
///         Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
///     }));
///
/// let request = Request::post("http://pay.example/").body(Empty::new()).unwrap();
/// client.oneshot(request).await.unwrap();
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct IdempotencyKeyLayer {
    name: HeaderName,
    make: Arc<dyn Fn() -> HeaderValue + Send + Sync>,
}

impl IdempotencyKeyLayer {
    /// UUIDs in `Idempotency-Key`.
    pub fn new() -> Self {
        let uuids = Uuids::new();
        Self {
            name: IDEMPOTENCY_KEY,
            make: Arc::new(move || uuids.next()),
        }
    }

    /// The name of the field, where it is another one. Tell the retry layer as well:
    /// [`RetryLayer::trusted_key`](crate::RetryLayer::trusted_key).
    pub fn name(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }

    /// Makes the values in another way. Each request needs one of its own.
    pub fn make(mut self, make: impl Fn() -> HeaderValue + Send + Sync + 'static) -> Self {
        self.make = Arc::new(make);
        self
    }
}

impl Default for IdempotencyKeyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IdempotencyKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKeyLayer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdempotencyKeyLayer {
    type Service = IdempotencyKey<S>;

    fn layer(&self, inner: S) -> IdempotencyKey<S> {
        IdempotencyKey {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of [`IdempotencyKeyLayer`].
#[derive(Clone, Debug)]
pub struct IdempotencyKey<S> {
    inner: S,
    layer: IdempotencyKeyLayer,
}

impl<S> IdempotencyKey<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, by value.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<B>> for IdempotencyKey<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let method = request.method();
        let needs_one = ReplaySafety::of_method(method) == ReplaySafety::Unsafe
            && *method != Method::CONNECT
            && !request.headers().contains_key(&self.layer.name);
        if needs_one {
            let value = (self.layer.make)();
            request.headers_mut().insert(self.layer.name.clone(), value);
        }
        self.inner.call(request)
    }
}

/// Random UUIDs: a keyed hash of a counter, with a key from the operating system.
struct Uuids {
    key: RandomState,
    counter: AtomicU64,
}

impl Uuids {
    fn new() -> Self {
        Self {
            key: RandomState::new(),
            counter: AtomicU64::new(0),
        }
    }

    fn next(&self) -> HeaderValue {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let high = self.key.hash_one((number, 0_u8));
        let low = self.key.hash_one((number, 1_u8));
        // RFC 9562 section 5.4: version 4, variant 10.
        let high = (high & !0xF000) | 0x4000;
        let low = (low & (u64::MAX >> 2)) | (1 << 63);
        let text = format!(
            "\"{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\"",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF,
        );
        HeaderValue::try_from(text).expect("hexadecimal digits and hyphens in quotes")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_quoted_uuids_of_version_4_and_differ() {
        let (one, other) = (Uuids::new(), Uuids::new());
        let mut seen = HashSet::new();
        for uuids in [&one, &other] {
            for _ in 0..10_000 {
                let value = uuids.next();
                let text = value.to_str().expect("ASCII");
                let uuid = text
                    .strip_prefix('"')
                    .and_then(|it| it.strip_suffix('"'))
                    .expect("quotes");
                let groups: Vec<&str> = uuid.split('-').collect();
                assert_eq!(
                    groups.iter().map(|it| it.len()).collect::<Vec<_>>(),
                    [8, 4, 4, 4, 12]
                );
                assert!(uuid.chars().all(|it| it == '-' || it.is_ascii_hexdigit()));
                assert!(groups[2].starts_with('4'), "version: {uuid}");
                assert!(
                    groups[3].starts_with(['8', '9', 'a', 'b']),
                    "variant: {uuid}"
                );
                assert!(seen.insert(text.to_owned()), "twice: {uuid}");
            }
        }
    }
}

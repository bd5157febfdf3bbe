//! What every layer of the workspace keeps.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service};
use tower_conn_testkit::body::ScriptedBody;
use tower_conn_testkit::contract::{
    BodyContract, BodyRules, LayerBodies, LayerContract, assert_layer_contract,
};
use tower_conn_testkit::service::NamedError;
use tower_idempotent_retry::{
    Backoff, BoxError, IdempotencyKeyLayer, NoRetry, ReplayBody, ResponseFuture, RetryError,
    RetryLayer,
};

/// A retry layer fails with a boxed error, which holds the inner service's as it was: this takes it out again.
#[derive(Clone, Debug)]
struct Unboxed(RetryLayer);

#[derive(Clone)]
struct UnboxedService<S>(S);

impl<S> Layer<S> for Unboxed {
    type Service = UnboxedService<<RetryLayer as Layer<S>>::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        UnboxedService(self.0.layer(inner))
    }
}

impl<S, B> Service<Request<B>> for UnboxedService<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = NamedError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, NamedError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NamedError>> {
        self.0.poll_ready(cx).map_err(named)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move { response.await.map_err(named) })
    }
}

fn named(error: BoxError) -> NamedError {
    let error = match error.downcast::<RetryError>() {
        Ok(error) => error.into_source(),
        Err(error) => error,
    };
    *error.downcast().expect("the error of the inner service")
}

fn retrying() -> Unboxed {
    Unboxed(RetryLayer::client().backoff(Backoff::none()))
}

fn once() -> Request<ScriptedBody> {
    let mut request = Request::new(ScriptedBody::default());
    request.extensions_mut().insert(NoRetry);
    request
}

fn post() -> Request<ScriptedBody> {
    Request::post("http://peer.example/")
        .body(ScriptedBody::default())
        .expect("a request")
}

#[tokio::test(start_paused = true)]
async fn retry_keeps_the_contract() {
    LayerContract::new(retrying())
        .inner_must_be_clone()
        .error::<NamedError>()
        .may_repeat()
        .check()
        .await;
    for make in [once, post] {
        LayerContract::new(retrying())
            .inner_must_be_clone()
            .error::<NamedError>()
            .request(make)
            .check()
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn retry_forwards_bodies() {
    // An attempt that may have to be repeated keeps the source of its body until the response.
    LayerBodies::new(retrying())
        .request_rules(BodyRules::new().may_outlive())
        .check()
        .await;
    LayerBodies::new(retrying())
        .request(|body| {
            let mut request = post().map(|_| body);
            request.extensions_mut().insert(NoRetry);
            request
        })
        .check()
        .await;
}

#[test]
fn replay_bodies_forward() {
    BodyContract::new(ReplayBody::once).check();
    BodyContract::new(|body| ReplayBody::replayable(body, 64 * 1024).0).check();
    BodyContract::new(|body| ReplayBody::replayable(body, 0).0).check();
    // The first attempt is gone, and the second starts from the beginning.
    BodyContract::new(|body| {
        let (first, replay) = ReplayBody::replayable(body, 64 * 1024);
        drop(first);
        replay.again().expect("nothing was taken")
    })
    .check();
}

#[tokio::test(start_paused = true)]
async fn idempotency_key_keeps_the_contract() {
    assert_layer_contract(IdempotencyKeyLayer::new()).await;
    LayerBodies::new(IdempotencyKeyLayer::new()).check().await;
}

/// What axum and hyper's legacy client ask of services, futures and bodies.
#[test]
fn auto_traits() {
    fn both<T: Send + Sync + 'static>() {}
    fn send<T: Send + 'static>() {}
    type Inner = tower::util::BoxCloneSyncService<
        Request<ReplayBody<ScriptedBody>>,
        Response<ScriptedBody>,
        BoxError,
    >;
    both::<RetryLayer>();
    both::<<RetryLayer as Layer<Inner>>::Service>();
    send::<
        ResponseFuture<
            Inner,
            tower_idempotent_retry::DefaultClassify,
            (),
            ScriptedBody,
            ScriptedBody,
        >,
    >();
    send::<ReplayBody<ScriptedBody>>();
    both::<RetryError>();
    fn unpin<T: Unpin>() {}
    unpin::<ReplayBody<http_body_util::Full<bytes::Bytes>>>();
    let _ = ReplayBody::once(ScriptedBody::default()).boxed_unsync();
}

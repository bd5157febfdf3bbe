use std::{
    fmt::{self, Debug},
    marker::PhantomData,
    sync::Arc,
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::checks::{Rig, Rules};
use crate::{
    body::ScriptedBody,
    service::{Handler, NotClone, ProbeError, ProbeService, TestError},
};

/// Checks what users of tower, hyper and axum may expect of any layer.
///
/// At compile time: the layer is `Clone + Debug + Send + Sync + 'static`; its service is `Send + Sync + 'static`, its
/// future `Send + 'static`, around an inner service without `Clone` and `Debug` and bodies without `Sync`; the service is
/// `Clone` when the inner one is; the error type is the inner one's, which implements nothing.
///
/// At run time: `poll_ready` passes on the inner service's `Pending`, its wake and its error; the inner service is
/// called only when it is ready, once per readiness, on the very instance that was made ready; the response future
/// passes on `Pending`, its wake and its error; a dropped response future drops the inner one; calls overlap;
/// clones start unready and are independent.
///
/// Run it on a paused clock (`#[tokio::test(start_paused = true)]`). For layers that differ on purpose see
/// [`LayerContract`].
///
/// A layer that boxes errors does not compile:
///
/// ```compile_fail,E0271
/// # use tower_conn_testkit::contract::assert_layer_contract;
/// async fn contract() {
///     let layer = tower::timeout::TimeoutLayer::new(std::time::Duration::from_secs(1));
///     assert_layer_contract(layer).await;
/// }
/// ```
///
/// Nor does one that needs an inner service with `Clone` (unless
/// [that is said](LayerContract::inner_must_be_clone)), or whose service is not `Sync`:
///
/// ```compile_fail,E0277
/// # use tower_conn_testkit::contract::assert_layer_contract;
/// # #[derive(Clone, Debug)] struct NeedsClone;
/// # impl<S: Clone> tower::Layer<S> for NeedsClone { type Service = S; fn layer(&self, inner: S) -> S { inner } }
/// async fn contract() {
///     assert_layer_contract(NeedsClone).await;
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use std::{cell::Cell, task::{Context, Poll}};
/// # use tower::{Layer, Service};
/// # use tower_conn_testkit::contract::assert_layer_contract;
/// # #[derive(Clone, Debug)] struct NotSync;
/// # #[derive(Clone)] struct WithCell<S>(S, Cell<u8>);
/// # impl<S> Layer<S> for NotSync { type Service = WithCell<S>; fn layer(&self, inner: S) -> WithCell<S> { WithCell(inner, Cell::new(0)) } }
/// # impl<S: Service<R>, R> Service<R> for WithCell<S> {
/// #     type Response = S::Response; type Error = S::Error; type Future = S::Future;
/// #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> { self.0.poll_ready(cx) }
/// #     fn call(&mut self, request: R) -> S::Future { self.0.call(request) }
/// # }
/// async fn contract() {
///     assert_layer_contract(NotSync).await;
/// }
/// ```
///
/// # Panics
///
/// With what the layer does not keep.
pub async fn assert_layer_contract<L>(layer: L)
where
    L: Layer<NotClone<ProbeService<Answer>>>
        + Layer<ProbeService<Answer>>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
    <L as Layer<NotClone<ProbeService<Answer>>>>::Service: Service<Request<ScriptedBody>, Error = ProbeError, Future: Send + 'static>
        + Send
        + Sync
        + 'static,
    <L as Layer<ProbeService<Answer>>>::Service: Service<Request<ScriptedBody>, Error = ProbeError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    LayerContract::new(layer).check().await;
}

/// [`assert_layer_contract`] with options.
///
/// `I` tells which inner services the layer must fit ([`AnyInner`] or [`CloneInner`]), `E` is their error.
pub struct LayerContract<L, I = AnyInner, E = ProbeError> {
    layer: L,
    request: Arc<dyn Fn() -> Request<ScriptedBody> + Send + Sync>,
    rules: Rules,
    kind: PhantomData<fn() -> (I, E)>,
}

/// The layer fits any inner service.
#[derive(Clone, Copy, Debug)]
pub enum AnyInner {}

/// The layer fits inner services that are `Clone`.
#[derive(Clone, Copy, Debug)]
pub enum CloneInner {}

/// Answers requests of any body type with an empty 200.
#[derive(Clone, Copy, Debug)]
pub struct Answer;

impl<B> Handler<B> for Answer {
    type Body = ScriptedBody;

    fn handle(&self, _: Request<B>) -> Response<ScriptedBody> {
        Response::new(ScriptedBody::default())
    }
}

// ===== impl LayerContract =====

impl<L> LayerContract<L> {
    /// The plain contract.
    pub fn new(layer: L) -> Self {
        Self {
            layer,
            request: Arc::new(|| Request::new(ScriptedBody::default())),
            rules: Rules::default(),
            kind: PhantomData,
        }
    }
}

impl<L, I, E> LayerContract<L, I, E> {
    /// The request to send, where an empty `GET /` will not do. The layer must pass it on.
    #[must_use]
    pub fn request(
        mut self,
        make: impl Fn() -> Request<ScriptedBody> + Send + Sync + 'static,
    ) -> Self {
        self.request = Arc::new(make);
        self
    }

    /// The layer needs an inner service that is `Clone`; nothing is checked with one that is not.
    #[must_use]
    pub fn inner_must_be_clone(self) -> LayerContract<L, CloneInner, E> {
        self.cast()
    }

    /// The inner service's error, where a layer must look into errors: [`NamedError`](crate::service::NamedError).
    #[must_use]
    pub fn error<F: TestError>(self) -> LayerContract<L, I, F> {
        self.cast()
    }

    /// The layer is always ready, and its response future waits for the inner service's readiness.
    #[must_use]
    pub fn readies_in_future(mut self) -> Self {
        self.rules.readies_in_future = true;
        self
    }

    /// One request may become several inner calls.
    #[must_use]
    pub fn may_repeat(mut self) -> Self {
        self.rules.may_repeat = true;
        self
    }

    /// A dropped response future need not drop the inner one.
    #[must_use]
    pub fn may_detach(mut self) -> Self {
        self.rules.may_detach = true;
        self
    }

    fn cast<J, F>(self) -> LayerContract<L, J, F> {
        LayerContract {
            layer: self.layer,
            request: self.request,
            rules: self.rules,
            kind: PhantomData,
        }
    }

    async fn check_with_clone<S>(&self)
    where
        L: Layer<ProbeService<Answer, E>, Service = S>,
        S: Service<Request<ScriptedBody>, Error = E> + Clone,
        E: TestError,
    {
        let rig = Rig {
            make: &|| {
                let (inner, probe) = ProbeService::failing_with(Answer);
                (self.layer.layer(inner), probe)
            },
            request: &*self.request,
            rules: self.rules,
        };
        rig.check().await;
        rig.check_clones().await;
    }
}

impl<L, E: TestError> LayerContract<L, AnyInner, E> {
    /// Runs all checks.
    ///
    /// # Panics
    ///
    /// With what the layer does not keep.
    pub async fn check(self)
    where
        L: Layer<NotClone<ProbeService<Answer, E>>>
            + Layer<ProbeService<Answer, E>>
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
        <L as Layer<NotClone<ProbeService<Answer, E>>>>::Service: Service<Request<ScriptedBody>, Error = E, Future: Send + 'static>
            + Send
            + Sync
            + 'static,
        <L as Layer<ProbeService<Answer, E>>>::Service: Service<Request<ScriptedBody>, Error = E, Future: Send + 'static>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let rig = Rig {
            make: &|| {
                let (inner, probe) = ProbeService::failing_with(Answer);
                (self.layer.layer(NotClone::new(inner)), probe)
            },
            request: &*self.request,
            rules: self.rules,
        };
        rig.check().await;
        self.check_with_clone().await;
    }
}

impl<L, E: TestError> LayerContract<L, CloneInner, E> {
    /// Runs all checks that do not need an inner service without `Clone`.
    ///
    /// # Panics
    ///
    /// With what the layer does not keep.
    pub async fn check(self)
    where
        L: Layer<ProbeService<Answer, E>> + Clone + Debug + Send + Sync + 'static,
        L::Service: Service<Request<ScriptedBody>, Error = E, Future: Send + 'static>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.check_with_clone().await;
    }
}

impl<L: Debug, I, E> Debug for LayerContract<L, I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerContract")
            .field("layer", &self.layer)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

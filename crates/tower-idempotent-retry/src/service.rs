//! The service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::classify::{Classify, DefaultClassify};
use crate::extensions::NoRetry;
use crate::future::ResponseFuture;
use crate::observe::Observe;
use crate::policy::Policy;
use crate::replay::ReplayBody;
use crate::session::{Again, Limits};
use crate::{BoxError, RetryLayer};

/// A service that sends requests again when that is safe; made by [`RetryLayer`].
///
/// The inner service is cloned once for each request that can be retried. Its readiness is used for the first
/// attempt, and asked for again before each further one.
#[derive(Clone)]
pub struct Retry<S, C = DefaultClassify, O = ()> {
    inner: S,
    policy: Arc<Policy>,
    classify: C,
    observe: O,
}

impl<S: fmt::Debug, C, O> fmt::Debug for Retry<S, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<S> Retry<S> {
    /// Wraps a service with the options of a layer.
    pub fn new(inner: S, layer: &RetryLayer) -> Self {
        tower_layer::Layer::layer(layer, inner)
    }
}

impl<S, C, O> Retry<S, C, O> {
    pub(crate) const fn from_parts(inner: S, policy: Arc<Policy>, classify: C, observe: O) -> Self {
        Self {
            inner,
            policy,
            classify,
            observe,
        }
    }

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

impl<S, C, O, ReqBody, ResBody> Service<Request<ReqBody>> for Retry<S, C, O>
where
    S: Service<Request<ReplayBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    C: Classify + Clone,
    O: Observe + Clone,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, C, O, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let limits = Limits::of(&self.policy, &request);
        let budget = self.policy.budget.of(&request);
        if let Some(budget) = &budget {
            budget.deposit();
        }
        // Decided first: what cannot be sent again is neither kept nor cloned.
        if limits.max_attempts == 1 || request.extensions().get::<NoRetry>().is_some() {
            let attempt = self.inner.call(request.map(ReplayBody::once));
            return ResponseFuture::new(attempt, None, limits);
        }
        let (head, body) = request.into_parts();
        let (body, replay) = ReplayBody::replayable(body, self.policy.body_limit);
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        let mut again = Box::new(Again {
            facts: limits.facts(&self.policy, &head),
            policy: Arc::clone(&self.policy),
            classify: self.classify.clone(),
            observe: self.observe.clone(),
            budget,
            replay,
            service: None,
            head,
        });
        let fresh = self.policy.fresh_if_unsafe && !again.facts.safety.is_repeatable();
        let attempt = ready.call(again.request(body, 1, fresh));
        again.service = Some(ready);
        ResponseFuture::new(attempt, Some(again), limits)
    }
}

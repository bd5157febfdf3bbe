//! The services.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::{HopByHopBody, TrailerFilter};
use crate::future::{RequestFuture, ResponseFuture, ResponseStrip};
use crate::observe::{OnStrip, StripEvent};
use crate::policy::Policy;
use crate::rejection::{Message, Rejection};
use crate::request::{announce_body, offer_of, strip_request};
use crate::response::RequestContext;
use crate::upgrade::UpgradeOffer;

macro_rules! strip_service {
    ($(#[$doc:meta])+ $service:ident) => {
        $(#[$doc])+
        #[derive(Clone)]
        pub struct $service<S, H = ()> {
            inner: S,
            policy: Arc<Policy>,
            hook: H,
        }

        impl<S, H> $service<S, H> {
            pub(crate) const fn new(inner: S, policy: Arc<Policy>, hook: H) -> Self {
                Self { inner, policy, hook }
            }

            /// The inner service.
            #[must_use]
            pub const fn get_ref(&self) -> &S {
                &self.inner
            }

            /// The inner service, mutably.
            pub const fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// The inner service.
            #[must_use]
            pub fn into_inner(self) -> S {
                self.inner
            }
        }

        impl<S: fmt::Debug, H> fmt::Debug for $service<S, H> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($service))
                    .field("inner", &self.inner)
                    .field("policy", &self.policy)
                    .finish_non_exhaustive()
            }
        }
    };
}

strip_service! {
    /// The service of [`HopByHopLayer`](crate::HopByHopLayer).
    HopByHop
}

strip_service! {
    /// The service of [`StripRequestLayer`](crate::StripRequestLayer).
    StripRequest
}

strip_service! {
    /// The service of [`StripResponseLayer`](crate::StripResponseLayer).
    StripResponse
}

// ===== impl HopByHop =====

impl<S, H, ReqBody, ResBody> Service<Request<ReqBody>> for HopByHop<S, H>
where
    S: Service<Request<HopByHopBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Default,
    H: OnStrip + Clone,
{
    type Response = Response<HopByHopBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let context = RequestContext::new(request.method(), request.version());
        match strip(request, &self.policy, &self.hook) {
            Ok((request, offer)) => ResponseFuture::running(
                self.inner.call(request),
                ResponseStrip {
                    policy: Arc::clone(&self.policy),
                    request: context.offer(offer),
                    hook: self.hook.clone(),
                },
            ),
            Err(rejection) => ResponseFuture::rejected(rejection),
        }
    }
}

// ===== impl StripRequest =====

impl<S, H, ReqBody, ResBody> Service<Request<ReqBody>> for StripRequest<S, H>
where
    S: Service<Request<HopByHopBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Default,
    H: OnStrip,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RequestFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match strip(request, &self.policy, &self.hook) {
            Ok((request, _)) => RequestFuture::running(self.inner.call(request)),
            Err(rejection) => RequestFuture::rejected(rejection),
        }
    }
}

// ===== impl StripResponse =====

impl<S, H, ReqBody, ResBody> Service<Request<ReqBody>> for StripResponse<S, H>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
    H: OnStrip + Clone,
{
    type Response = Response<HopByHopBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let offer = offer_of(request.headers(), request.version(), &self.policy);
        let context = RequestContext::new(request.method(), request.version()).offer(offer);
        ResponseFuture::running(
            self.inner.call(request),
            ResponseStrip {
                policy: Arc::clone(&self.policy),
                request: context,
                hook: self.hook.clone(),
            },
        )
    }
}

type Outbound<B> = (Request<HopByHopBody<B>>, UpgradeOffer);

fn strip<B: Body, H: OnStrip>(
    mut request: Request<B>,
    policy: &Arc<Policy>,
    hook: &H,
) -> Result<Outbound<B>, Rejection> {
    let version = request.version();
    let stripped = strip_request(request.headers_mut(), version, policy)
        .inspect_err(|rejection| hook.on_strip(StripEvent::Rejected(rejection)))?;
    if !stripped.report.is_empty() {
        hook.on_strip(StripEvent::Stripped {
            message: Message::Request,
            report: &stripped.report,
        });
    }
    let (mut parts, body) = request.into_parts();
    announce_body(&mut parts.headers, &parts.method, &body, policy);
    if stripped.report.is_notable() {
        parts.extensions.insert(stripped.report);
    }
    let filter = (!body.is_end_stream()).then(|| TrailerFilter {
        policy: Arc::clone(policy),
        nominations: stripped.nominations,
        receiver: policy.outbound_version(),
    });
    let request = Request::from_parts(parts, HopByHopBody::new(body, filter));
    Ok((request, stripped.offer))
}

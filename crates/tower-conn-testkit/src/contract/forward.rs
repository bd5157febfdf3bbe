use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower_layer::Layer;
use tower_service::Service;

use super::{BodyRules, body::Scenario, drive::BoxError, task::patiently};
use crate::{
    body::ScriptedBody,
    service::{Handler, NamedError, ProbeService},
};

/// Checks that bodies pass through a layer in both directions as
/// [`assert_body_forwarding`](super::assert_body_forwarding) wants it: request bodies as the inner service sees them, response bodies
/// as the caller does. The layer's answers must be the inner service's, and the extensions of requests and responses
/// must arrive, too.
///
/// Run it on a paused clock. For layers that differ on purpose see [`LayerBodies`].
///
/// # Panics
///
/// With the direction, the scenario and the step at which the layer's body differs.
pub async fn assert_layer_forwards_bodies<L, B>(layer: L)
where
    L: Layer<ProbeService<Relay, NamedError>>,
    L::Service: Service<Request<ScriptedBody>, Response = Response<B>, Error = NamedError>,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    LayerBodies::new(layer).check().await;
}

/// [`assert_layer_forwards_bodies`] with options.
pub struct LayerBodies<L> {
    layer: L,
    request: Box<dyn Fn(ScriptedBody) -> Request<ScriptedBody> + Send + Sync>,
    response: Arc<dyn Fn(ScriptedBody) -> Response<ScriptedBody> + Send + Sync>,
    request_rules: BodyRules,
    response_rules: BodyRules,
}

type Captured = UnsyncBoxBody<Bytes, BoxError>;

/// The inner service's side: keeps the request's body and answers with a scripted one.
#[derive(Clone)]
pub struct Relay {
    respond: Arc<dyn Fn(ScriptedBody) -> Response<ScriptedBody> + Send + Sync>,
    slots: Arc<Mutex<Slots>>,
}

/// Rides in the extensions of requests and responses.
#[derive(Clone)]
struct Marker;

#[derive(Default)]
struct Slots {
    request: Option<Request<Captured>>,
    response: Option<ScriptedBody>,
}

// ===== impl LayerBodies =====

impl<L> LayerBodies<L> {
    /// Plain forwarding in both directions: `POST /` requests, with a `Content-Length` when the size is known and `Transfer-Encoding:
    /// chunked` otherwise, answered by a 200.
    pub fn new(layer: L) -> Self {
        Self {
            layer,
            request: Box::new(post),
            response: Arc::new(Response::new),
            request_rules: BodyRules::new(),
            response_rules: BodyRules::new(),
        }
    }

    /// The request to send around a body.
    #[must_use]
    pub fn request(
        mut self,
        make: impl Fn(ScriptedBody) -> Request<ScriptedBody> + Send + Sync + 'static,
    ) -> Self {
        self.request = Box::new(make);
        self
    }

    /// The response to answer with around a body.
    #[must_use]
    pub fn response(
        mut self,
        make: impl Fn(ScriptedBody) -> Response<ScriptedBody> + Send + Sync + 'static,
    ) -> Self {
        self.response = Arc::new(make);
        self
    }

    /// In what request bodies differ.
    #[must_use]
    pub fn request_rules(mut self, rules: BodyRules) -> Self {
        self.request_rules = rules;
        self
    }

    /// In what response bodies differ.
    #[must_use]
    pub fn response_rules(mut self, rules: BodyRules) -> Self {
        self.response_rules = rules;
        self
    }

    /// Runs all scenarios in both directions.
    ///
    /// # Panics
    ///
    /// With the direction, the scenario and the step at which the layer's body differs.
    pub async fn check<B>(self)
    where
        L: Layer<ProbeService<Relay, NamedError>>,
        L::Service: Service<Request<ScriptedBody>, Response = Response<B>, Error = NamedError>,
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        for mut scenario in Scenario::all() {
            scenario.name.insert_str(0, "request body: ");
            let (body, probe) = scenario.script.body();
            let (response, request) = self.exchange(body, ScriptedBody::default()).await;
            scenario.check(request, &probe, &self.request_rules);
            drop(response);
        }
        for mut scenario in Scenario::all() {
            scenario.name.insert_str(0, "response body: ");
            let (body, probe) = scenario.script.body();
            let (response, _request) = self.exchange(ScriptedBody::default(), body).await;
            scenario.check(response.into_body(), &probe, &self.response_rules);
        }
    }

    /// One exchange: the response, and the request's body as the inner service got it.
    async fn exchange<B>(
        &self,
        request: ScriptedBody,
        response: ScriptedBody,
    ) -> (Response<B>, Captured)
    where
        L: Layer<ProbeService<Relay, NamedError>>,
        L::Service: Service<Request<ScriptedBody>, Response = Response<B>, Error = NamedError>,
    {
        let slots = Arc::new(Mutex::new(Slots {
            request: None,
            response: Some(response),
        }));
        let relay = Relay {
            respond: Arc::clone(&self.response),
            slots: Arc::clone(&slots),
        };
        let (inner, _probe) = ProbeService::failing_with(relay);
        let mut service = self.layer.layer(inner);
        patiently(
            poll_fn(|cx| service.poll_ready(cx)),
            "poll_ready stays pending",
        )
        .await
        .expect("the inner service is ready");
        let mut request = (self.request)(request);
        request.extensions_mut().insert(Marker);
        let response = patiently(service.call(request), "the response does not come")
            .await
            .expect("the inner service answers");
        let request = slots
            .lock()
            .expect("no panic under the lock")
            .request
            .take()
            .expect("the layer did not pass the request to the inner service");
        assert!(
            request.extensions().get::<Marker>().is_some(),
            "the layer lost the request's extensions"
        );
        assert!(
            response.extensions().get::<Marker>().is_some(),
            "the layer lost the response's extensions"
        );
        (response, request.into_body())
    }
}

impl<B> Handler<B> for Relay
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = ScriptedBody;

    fn handle(&self, request: Request<B>) -> Response<ScriptedBody> {
        let mut slots = self.slots.lock().expect("no panic under the lock");
        slots.request = Some(request.map(|body| body.map_err(Into::into).boxed_unsync()));
        let mut response = (self.respond)(slots.response.take().unwrap_or_default());
        response.extensions_mut().insert(Marker);
        response
    }
}

fn post(body: ScriptedBody) -> Request<ScriptedBody> {
    let request = Request::post("/").header(header::HOST, "contract.example");
    let request = match body.size_hint().exact() {
        Some(length) => request.header(header::CONTENT_LENGTH, length),
        None => request.header(header::TRANSFER_ENCODING, "chunked"),
    };
    request.body(body).expect("a request of valid parts")
}

impl<L: fmt::Debug> fmt::Debug for LayerBodies<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerBodies")
            .field("layer", &self.layer)
            .field("request_rules", &self.request_rules)
            .field("response_rules", &self.response_rules)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

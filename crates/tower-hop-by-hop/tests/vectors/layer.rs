//! The vectors, through the layers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_conn_testkit::body::{Script, ScriptedBody};
use tower_hop_by_hop::{
    HopByHopBody, HopByHopLayer, MaxForwardsLayer, Rejection, StripRequestLayer,
    StripResponseLayer, Upgrades, ViaLayer,
};

use crate::cases::Case;

type Handler<B> = BoxCloneSyncService<Request<B>, Response<ScriptedBody>, Infallible>;

/// What a handler saw of a request: its fields and its trailers.
type Seen = Arc<Mutex<Option<(HeaderMap, HeaderMap)>>>;

/// A handler that reads the request and answers with `response`.
fn handler<B>(
    seen: &Seen,
    response: impl Fn() -> Response<ScriptedBody> + Clone + Send + Sync + 'static,
) -> Handler<B>
where
    B: http_body::Body<Data: Send, Error: std::fmt::Debug> + Send + 'static,
{
    let seen = Arc::clone(seen);
    BoxCloneSyncService::new(service_fn(move |request: Request<B>| {
        let (seen, response) = (Arc::clone(&seen), response.clone());
        async move {
            let (parts, body) = request.into_parts();
            let collected = Box::pin(body).collect().await.expect("no error");
            let trailers = collected.trailers().cloned().unwrap_or_default();
            *seen.lock().expect("no panic") = Some((parts.headers, trailers));
            Ok(response())
        }
    }))
}

fn request(case: &Case, body: ScriptedBody) -> Request<ScriptedBody> {
    let mut request = Request::new(body);
    *request.method_mut() = case.method();
    *request.version_mut() = case.version("version");
    request
}

// Request vectors: all that the case configures, in the order of a gateway.
#[tokio::test]
async fn requests() {
    for case in Case::all() {
        if case.direction() == "request" {
            check_request(&case, HopByHopLayer::new(case.policy())).await;
            check_request(&case, StripRequestLayer::new(case.policy())).await;
        }
    }
}

async fn check_request<L, B>(case: &Case, layer: L)
where
    L: Layer<Handler<HopByHopBody<ScriptedBody>>>,
    L::Service: Service<Request<ScriptedBody>, Response = Response<B>, Error = Infallible>,
    B: From<bytes::Bytes>,
{
    let seen = Seen::default();
    let via = case
        .knob_text("via")
        .map(|name| ViaLayer::new(name).expect("valid"));
    let adds = case.headers("proxy_adds");
    let inside = ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            for (name, value) in &adds {
                request.headers_mut().insert(name, value.clone());
            }
            request
        })
        .option_layer(via)
        .service(handler(&seen, || Response::new(ScriptedBody::default())));
    let mut counted = MaxForwardsLayer::new();
    if let Some(max) = case.knob("max_forwards_max").and_then(Value::as_u64) {
        counted = counted.max(max);
    }
    let service = ServiceBuilder::new()
        .option_layer(case.knob("max_forwards").map(|_| counted))
        .layer(layer)
        .service(BoxCloneSyncService::new(inside));
    let mut request = request(case, ScriptedBody::default());
    *request.headers_mut() = case.headers("input");
    let response = service.oneshot(request).await.expect("infallible");
    let expected: u16 = match case.outcome() {
        "forward" | "respond_local" => 200,
        // A layer cannot reset a stream.
        "reject_400" | "reject_malformed" => 400,
        "reject_501" => 501,
        other => panic!("{other}"),
    };
    assert_eq!(response.status().as_u16(), expected, "{}", case.name());
    let rejected = response.extensions().get::<Rejection>().is_some();
    assert_eq!(rejected, expected != 200, "{}", case.name());
    let seen = seen.lock().expect("no panic").take();
    assert_eq!(
        seen.is_some(),
        case.outcome() == "forward",
        "{}",
        case.name()
    );
    if let Some((fields, _)) = seen {
        case.assert_fields(&fields);
    }
}

#[tokio::test]
async fn responses() {
    for case in Case::all() {
        if case.direction() == "response" {
            let mut policy = case.policy();
            if case.text("offered_upgrade").is_some() {
                // The request of the vector made this offer, so its policy let it through.
                policy = policy.upgrades(Upgrades::Any);
            }
            check_response(&case, HopByHopLayer::new(policy.clone())).await;
            check_response(&case, StripResponseLayer::new(policy)).await;
        }
    }
}

async fn check_response<L, B, R>(case: &Case, layer: L)
where
    L: Layer<Handler<R>>,
    L::Service:
        Service<Request<ScriptedBody>, Response = Response<HopByHopBody<B>>, Error = Infallible>,
    R: http_body::Body<Data: Send, Error: std::fmt::Debug> + Send + 'static,
{
    let (status, version, fields) = (
        case.status(),
        case.version("version"),
        case.headers("input"),
    );
    let respond = move || {
        let mut response = Response::new(ScriptedBody::default());
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = fields.clone();
        response
    };
    let via = case
        .knob_text("via")
        .map(|name| ViaLayer::new(name).expect("valid").responses(true));
    let inside = ServiceBuilder::new()
        .option_layer(via)
        .service(handler(&Seen::default(), respond));
    let mut request = request(case, ScriptedBody::default());
    *request.version_mut() = case.version("out_version");
    if let Some(offered) = case.text("offered_upgrade") {
        let headers = request.headers_mut();
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("upgrade", HeaderValue::from_str(offered).expect("a value"));
    }
    let service = layer.layer(BoxCloneSyncService::new(inside));
    let response = service.oneshot(request).await.expect("infallible");
    if case.outcome() == "forward" {
        assert_eq!(response.status(), case.status(), "{}", case.name());
        case.assert_fields(response.headers());
        return;
    }
    // `discard` too: to a layer an interim response is the only one.
    assert!(
        ["reject_502", "discard"].contains(&case.outcome()),
        "{}",
        case.name()
    );
    assert_eq!(
        response.status(),
        StatusCode::BAD_GATEWAY,
        "{}",
        case.name()
    );
    assert!(response.extensions().get::<Rejection>().is_some());
    assert!(response.headers().is_empty(), "{}", case.name());
}

/// As response trailers they go on in the version of the client.
#[tokio::test]
async fn response_trailers() {
    for case in Case::all() {
        if case.direction() == "trailers" {
            let (head, trailers) = (case.headers("head"), case.headers("input"));
            let respond = move || {
                let (body, _) = Script::new().data("x").trailers(trailers.clone()).body();
                let mut response = Response::new(body);
                *response.headers_mut() = head.clone();
                response
            };
            let service = HopByHopLayer::new(case.policy()).layer(handler::<
                HopByHopBody<ScriptedBody>,
            >(
                &Seen::default(), respond
            ));
            let mut request = request(&case, ScriptedBody::default());
            *request.version_mut() = case.version("out_version");
            let response = service.oneshot(request).await.expect("infallible");
            let collected = Box::pin(response.into_body())
                .collect()
                .await
                .expect("no error");
            let left = collected.trailers().cloned();
            // Nothing is sent where nothing is left.
            assert!(left.as_ref().is_none_or(|left| !left.is_empty()));
            case.assert_fields(&left.unwrap_or_default());
        }
    }
}

/// As request trailers they go on in the version of the policy.
#[tokio::test]
async fn request_trailers() {
    for case in Case::all() {
        if case.direction() == "trailers" {
            let seen = Seen::default();
            let (body, _) = Script::new()
                .data("x")
                .trailers(case.headers("input"))
                .body();
            let mut request = request(&case, body);
            *request.headers_mut() = case.headers("head");
            let policy = case.policy().outbound(case.version("out_version"));
            let service = StripRequestLayer::new(policy)
                .layer(handler(&seen, || Response::new(ScriptedBody::default())));
            service.oneshot(request).await.expect("infallible");
            let (_, left) = seen.lock().expect("no panic").take().expect("forwarded");
            case.assert_fields(&left);
        }
    }
}

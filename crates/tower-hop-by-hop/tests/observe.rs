//! Hooks, extensions, and what outer and inner layers see.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_hop_by_hop::{
    HopByHopBody, HopByHopLayer, MaxForwardsLayer, Message, Policy, ProtectedNames, RejectReason,
    Rejection, StripEvent, StripReport, ViaLayer,
};

fn request(fields: &[(&'static str, &'static str)]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    for &(name, value) in fields {
        request
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
    request
}

type Log = Arc<Mutex<Vec<String>>>;

fn log(log: &Log) -> impl Fn(StripEvent<'_>) + Clone + use<> {
    let log = Arc::clone(log);
    move |event| {
        let text = match event {
            StripEvent::Stripped { message, report } => {
                format!(
                    "{message:?} {:?} {:?}",
                    report.nominated(),
                    report.protected()
                )
            }
            StripEvent::Rejected(rejection) => {
                format!("{:?} {}", rejection.message(), rejection.reason().as_str())
            }
            other => panic!("{other:?}"),
        };
        log.lock().expect("no panic").push(text);
    }
}

#[tokio::test]
async fn a_hook_sees_what_is_stripped_and_refused() {
    let events = Log::default();
    let policy = Policy::gateway().protected_names(ProtectedNames::Reject);
    let service = HopByHopLayer::new(policy)
        .on_strip(log(&events))
        .layer(service_fn(async |request: Request<HopByHopBody<Body>>| {
            // An ordinary message carries no report.
            let report = request.extensions().get::<StripReport>();
            assert_eq!(report.is_some(), request.uri().path() == "/nominating");
            Response::builder()
                .header("connection", "age")
                .body(Body::empty())
        }));
    let mut nominating = request(&[("connection", "X-A"), ("x-a", "1")]);
    *nominating.uri_mut() = "/nominating".parse().expect("a URI");
    let response = service.clone().oneshot(nominating).await.expect("answered");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let rejection = response.extensions().get::<Rejection>().expect("told why");
    assert_eq!(rejection.message(), Message::Response);
    assert!(matches!(rejection.reason(), RejectReason::ProtectedName(name) if name == "age"));
    assert_eq!(
        rejection.to_string(),
        "response not forwarded: Connection nominates age"
    );

    let refused = request(&[("connection", "host")]);
    let response = service.clone().oneshot(refused).await.expect("answered");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    service.oneshot(request(&[])).await.expect("answered");
    let expected = [
        r#"Request ["x-a"] []"#,
        "Response protected_name",
        "Request protected_name",
        // Nothing to say of the last request.
        "Response protected_name",
    ];
    assert_eq!(*events.lock().expect("no panic"), expected);
}

#[tokio::test]
async fn a_response_carries_its_report() {
    let service =
        HopByHopLayer::gateway().layer(service_fn(async |_: Request<HopByHopBody<Body>>| {
            Response::builder()
                .header("connection", "x-a, set-cookie")
                .header("set-cookie", "a=b")
                .body(Body::empty())
        }));
    let response = service.oneshot(request(&[])).await.expect("answered");
    assert_eq!(response.headers()["set-cookie"], "a=b");
    let report = response.extensions().get::<StripReport>().expect("notable");
    assert_eq!(report.nominated(), ["x-a"]);
    assert_eq!(report.protected(), ["set-cookie"]);
}

/// Strip first, then add: what is added further in cannot be nominated away, and of what is added
/// further out the forwarding fields cannot.
#[tokio::test]
async fn added_fields_survive() {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let inside = Arc::clone(&seen);
    let add = |name: &'static str| {
        move |mut request: Request<Body>| {
            let value = HeaderValue::from_static("added");
            request.headers_mut().insert(name, value);
            request
        }
    };
    let service = ServiceBuilder::new()
        .map_request(add("x-forwarded-for"))
        .map_request(add("x-custom-outside"))
        .layer(HopByHopLayer::gateway())
        .map_request(|request: Request<HopByHopBody<Body>>| request.map(Body::new))
        .map_request(add("x-custom-inside"))
        .layer(ViaLayer::new("edge").expect("a pseudonym"))
        .service(service_fn(move |request: Request<Body>| {
            *inside.lock().expect("no panic") = request.headers().clone();
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        }));
    let nominating = [(
        "connection",
        "x-forwarded-for, x-custom-outside, x-custom-inside, via",
    )];
    service
        .oneshot(request(&nominating))
        .await
        .expect("answered");
    let seen = seen.lock().expect("no panic");
    for name in ["x-forwarded-for", "x-custom-inside"] {
        assert_eq!(seen[name], "added", "{name}");
    }
    assert_eq!(seen["via"], "1.1 edge");
    // A field of one's own, added outside, has to be protected by name.
    assert!(!seen.contains_key("x-custom-outside"));
}

#[tokio::test]
async fn layers_fit_an_axum_router() {
    let handler = async |headers: HeaderMap| {
        assert!(!headers.contains_key("connection"));
        ([("connection", "close"), ("x-handler", "1")], "hello")
    };
    let router = Router::new()
        .route("/", any(handler))
        .layer(ViaLayer::new("edge").expect("a pseudonym"))
        .layer(HopByHopLayer::gateway())
        .layer(MaxForwardsLayer::new().max(5));
    let response = router
        .clone()
        .oneshot(request(&[("connection", "keep-alive")]))
        .await
        .expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-handler"], "1");
    assert!(!response.headers().contains_key("connection"));
    let body = axum::body::to_bytes(response.into_body(), 100)
        .await
        .expect("a body");
    assert_eq!(body, "hello");

    let mut options = request(&[("max-forwards", "0")]);
    *options.method_mut() = http::Method::OPTIONS;
    let response = router.oneshot(options).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("x-handler"));
}

//! Every method of `ServiceBuilderExt` applies its layer.
#![cfg(feature = "full")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Version};
use http_body_util::{Empty, Full};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_conn::hop_by_hop::{Policy, ViaEntry};
use tower_conn::idempotent_retry::RetryInfo;
use tower_conn::keep_alive::ReusePolicy;
use tower_conn::pipeline_guard::{EchoMismatch, Pipeline};
use tower_conn::{Connection, ServiceBuilderExt};

type Body = Empty<Bytes>;
type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Answers with the request's fields, under an `x-` name, and with fields of one hop.
async fn reflect<B>(request: Request<B>) -> Answer {
    let mut response = Response::new(Full::default());
    for (name, value) in request.headers() {
        let seen = HeaderName::try_from(format!("seen-{name}")).expect("a name");
        response.headers_mut().append(seen, value.clone());
    }
    let headers = response.headers_mut();
    headers.insert("connection", "x-private".parse().expect("a value"));
    headers.insert("x-private", "1".parse().expect("a value"));
    Ok(response)
}

fn private() -> Request<Body> {
    Request::builder()
        .header("connection", "x-private")
        .header("x-private", "1")
        .body(Body::new())
        .expect("a request")
}

fn names<B>(response: &Response<B>) -> Vec<&str> {
    let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn stripping_goes_in_the_direction_of_its_name() {
    let builder = ServiceBuilder::new;
    let policy = Policy::gateway;
    let both = builder().hop_by_hop(policy()).service_fn(reflect);
    let response = both.oneshot(private()).await.expect("infallible");
    assert_eq!(names(&response), Vec::<&str>::new());

    let requests = builder().strip_requests(policy()).service_fn(reflect);
    let response = requests.oneshot(private()).await.expect("infallible");
    assert_eq!(names(&response), ["connection", "x-private"]);

    let responses = builder().strip_responses(policy()).service_fn(reflect);
    let response = responses.oneshot(private()).await.expect("infallible");
    assert_eq!(names(&response), ["seen-connection", "seen-x-private"]);
}

#[tokio::test]
async fn via_adds_the_hop() {
    let service = ServiceBuilder::new()
        .via(ViaEntry::new("edge").expect("a name"))
        .service_fn(reflect);
    let response = service.oneshot(private()).await.expect("infallible");
    assert_eq!(response.headers()["seen-via"], "1.1 edge");
}

#[tokio::test]
async fn a_loop_is_detected_by_via() {
    let service = ServiceBuilder::new()
        .loop_guard(ViaEntry::new("edge").expect("a name"))
        .service_fn(reflect);
    for (via, status) in [("1.1 other", 200), ("1.1 edge, 1.1 other", 508)] {
        let request = Request::builder().header("via", via).body(Body::new());
        let request = request.expect("a request");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn max_forwards_answers_at_zero() {
    let service = ServiceBuilder::new().max_forwards().service_fn(reflect);
    let request = Request::builder()
        .method(Method::TRACE)
        .header("max-forwards", "0");
    let request = request.body(Body::new()).expect("a request");
    let response = service.oneshot(request).await.expect("infallible");
    assert_eq!(response.headers()["content-type"], "message/http");
}

#[tokio::test]
async fn keep_alive_confirms_to_http10() {
    let service =
        ServiceBuilder::new()
            .keep_alive()
            .service(service_fn(async |_: Request<_>| -> Answer {
                Ok(Response::default())
            }));
    let request = Request::builder()
        .version(Version::HTTP_10)
        .header("connection", "keep-alive")
        .body(Body::new())
        .expect("a request");
    let response = service.oneshot(request).await.expect("infallible");
    assert_eq!(response.headers()["connection"], "keep-alive");
}

#[tokio::test]
async fn reap_opens_the_exchange_of_the_connection() {
    let connection = Connection::server();
    let given = ServiceBuilder::new()
        .reap_connection(connection.clone())
        .service_fn(reflect);
    let response = given.oneshot(private()).await.expect("infallible");
    assert_eq!(connection.exchanges_open(), 1);
    drop(response);
    assert_eq!(connection.exchanges_finished(), 1);

    let found = ServiceBuilder::new().reap().service_fn(reflect);
    let mut request = private();
    request.extensions_mut().insert(connection.clone());
    let response = found.oneshot(request).await.expect("infallible");
    assert_eq!(connection.exchanges_open(), 1);
    drop(response);
    assert_eq!(connection.exchanges_finished(), 2);
}

#[tokio::test]
async fn the_guard_of_a_transport_lets_requests_through() {
    let (near, _far) = tokio::io::duplex(64);
    let (_io, guard) = Pipeline::new().wrap(near);
    let service = ServiceBuilder::new()
        .pipeline_guard(guard)
        .service_fn(reflect);
    let response = service.oneshot(private()).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_echo_guard_refuses_the_answer_to_another_request() {
    let other = service_fn(async |_: Request<Body>| {
        let response = Response::builder().header("x-request-id", "another");
        Ok::<_, BoxError>(response.body(Full::<Bytes>::default()).expect("a response"))
    });
    let service = ServiceBuilder::new()
        .echo_guard(HeaderName::from_static("x-request-id"))
        .service(other);
    let error = service.oneshot(private()).await.expect_err("a mismatch");
    assert!(error.is::<EchoMismatch>(), "{error}");
}

#[tokio::test]
async fn a_key_is_added_to_a_post() {
    let service = ServiceBuilder::new().idempotency_key().service_fn(reflect);
    let request = Request::post("http://a.example/").body(Body::new());
    let response = service
        .oneshot(request.expect("a request"))
        .await
        .expect("infallible");
    assert!(response.headers().contains_key("seen-idempotency-key"));
}

/// How many attempts each preset makes at a POST with a key that is answered 503, and at a GET.
#[tokio::test(start_paused = true)]
async fn each_retry_preset_is_its_own() {
    macro_rules! attempts {
        ($preset:ident, $method:ident) => {{
            let calls = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&calls);
            let busy = service_fn(move |_: Request<_>| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {
                    let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
                    Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).expect("valid"))
                }
            });
            let client = ServiceBuilder::new().$preset().service(busy);
            let request = Request::$method("http://a.example/")
                .header("idempotency-key", "\"1\"")
                .body(Body::new())
                .expect("a request");
            let response = client.oneshot(request).await.expect("a response");
            let told = RetryInfo::of(response.extensions()).attempts;
            assert_eq!(told, calls.load(Ordering::Relaxed));
            told
        }};
    }
    assert_eq!(attempts!(retry_as_client, post), 3);
    assert_eq!(attempts!(retry_as_proxy, post), 1);
    assert_eq!(attempts!(retry_as_proxy, get), 3);
    assert_eq!(attempts!(retry_rfc_strict, post), 1);
    assert_eq!(attempts!(retry_rfc_strict, get), 2);
    assert_eq!(attempts!(retry_stale_only, get), 1);
}

#[tokio::test]
async fn hints_are_for_the_legacy_client() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use tower_conn_testkit::peer::ScriptedPeer;

    // One request more is announced, and nothing said about closing after it.
    let server = ScriptedPeer::start(|mut exchange| async move {
        let head = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=1\r\nContent-Length: 0\r\n\r\n";
        exchange.send(head).await.expect("an open connection");
    })
    .await;
    let client = ServiceBuilder::new()
        .keep_alive_hints(ReusePolicy::new())
        .service(Client::builder(TokioExecutor::new()).build_http::<Body>());
    for _ in 0..3 {
        let request = Request::get(server.uri("/")).body(Body::new());
        let response = client.clone().oneshot(request.expect("a request")).await;
        drop(response.expect("a response"));
        // The connection is free again only when the client's own task has run.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.connections().len(), 2);
}

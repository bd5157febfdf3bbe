//! `Via` and `Max-Forwards` by layer options.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use axum::body::Body;
use http::header::{ALLOW, MAX_FORWARDS};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_hop_by_hop::{ConfigError, LoopGuardLayer, MaxForwardsLayer, ViaLayer};

#[test]
fn a_pseudonym_is_a_token_or_a_host() {
    for good in [
        "edge",
        "edge-1.example",
        "proxy.example:8080",
        "[2001:db8::1]:80",
        "192.0.2.1",
    ] {
        assert!(ViaLayer::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "two words",
        "a,b",
        "a(b)",
        "user@host",
        "caf\u{e9}",
        "a/b",
        "a\r\nb",
    ] {
        let refused = ViaLayer::new(bad).map(drop);
        assert_eq!(refused, Err(ConfigError::InvalidPseudonym), "{bad:?}");
    }
}

#[tokio::test]
async fn a_request_that_has_been_here_is_not_forwarded() {
    let once = LoopGuardLayer::new("edge").expect("valid");
    let thrice = once.clone().passes(NonZeroUsize::new(3).expect("not zero"));
    for (layer, via, status) in [
        (&once, &[][..], StatusCode::OK),
        (&once, &["1.1 other, 1.1 edge2"], StatusCode::OK),
        (&once, &["1.1 other (edge, 1.1 edge)"], StatusCode::OK),
        (&once, &["1.1 edge"], StatusCode::LOOP_DETECTED),
        (
            &once,
            &["1.1 other", "2.0 EDGE (x)"],
            StatusCode::LOOP_DETECTED,
        ),
        (&thrice, &["1.1 edge", "1.1 a, 1.1 edge"], StatusCode::OK),
        (
            &thrice,
            &["1.1 edge, 1.1 edge", "1.1 edge"],
            StatusCode::LOOP_DETECTED,
        ),
    ] {
        let service = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(()))
        }));
        let mut request = Request::new(());
        for line in via {
            request
                .headers_mut()
                .append("via", HeaderValue::from_static(line));
        }
        let response = service.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), status, "{via:?}");
    }
}

#[tokio::test]
async fn each_direction_names_the_version_received() {
    for (responses, expected) in [
        (false, vec!["1.1 origin"]),
        (true, vec!["1.1 origin", "1.0 edge"]),
    ] {
        let service = ViaLayer::new("edge")
            .expect("valid")
            .responses(responses)
            .layer(service_fn(async |request: Request<()>| {
                assert_eq!(request.headers()["via"], "3.0 edge");
                let mut response = Response::new(());
                *response.version_mut() = Version::HTTP_10;
                response
                    .headers_mut()
                    .insert("via", HeaderValue::from_static("1.1 origin"));
                Ok::<_, Infallible>(response)
            }));
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_3;
        let response = service.oneshot(request).await.expect("infallible");
        let via: Vec<_> = response.headers().get_all("via").iter().collect();
        assert_eq!(via, expected);
    }
}

async fn counted(layer: MaxForwardsLayer, method: Method, value: &'static str) -> Response<Body> {
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    }));
    let request = Request::builder()
        .method(method)
        .uri("http://user:password@a.example/x?y")
        .version(Version::HTTP_2)
        .header(MAX_FORWARDS, value)
        .header("x-internal", "1")
        .body(())
        .expect("valid");
    service.oneshot(request).await.expect("infallible")
}

#[tokio::test]
async fn zero_is_answered_here() {
    let layer = MaxForwardsLayer::new()
        .allow(HeaderValue::from_static("GET, HEAD"))
        .hide(HeaderName::from_static("x-internal"));
    let response = counted(layer.clone(), Method::OPTIONS, "0").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    let response = counted(layer.clone(), Method::TRACE, "0").await;
    let echo = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(
        echo,
        "TRACE /x?y HTTP/1.1\r\nhost: a.example\r\nmax-forwards: 0\r\n\r\n"
    );
    let response = counted(layer.trace(false), Method::TRACE, "0").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD");
}

#[tokio::test]
async fn other_values_are_counted_or_refused() {
    let layer = MaxForwardsLayer::default().max(100);
    let response = counted(layer.clone(), Method::OPTIONS, "123456789012345678901").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()[MAX_FORWARDS], "100");
    let response = counted(layer.clone(), Method::TRACE, "two").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let response = counted(layer, Method::GET, "0").await;
    assert_eq!(response.headers()[MAX_FORWARDS], "0");
}

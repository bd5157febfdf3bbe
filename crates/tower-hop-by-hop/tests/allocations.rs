//! Where nothing is nominated, nothing is allocated.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use tower_hop_by_hop::{
    HopByHopBody, HopByHopLayer, Policy, RequestContext, strip_request, strip_response,
};

type Body = Empty<bytes::Bytes>;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for &(name, value) in fields {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    map
}

/// Ordinary messages of HTTP/1.1.
fn ordinary() -> Vec<HeaderMap> {
    vec![
        map(&[("host", "a.example"), ("accept", "*/*"), ("x-custom", "1")]),
        map(&[
            ("host", "a.example"),
            ("connection", "keep-alive"),
            ("cookie", "a=b"),
        ]),
        map(&[
            ("host", "a.example"),
            ("connection", "close"),
            ("proxy-connection", "close"),
        ]),
        map(&[
            ("host", "a.example"),
            ("connection", "Keep-Alive, TE"),
            ("te", "gzip, trailers"),
            ("keep-alive", "300"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
        ]),
        map(&[
            ("host", "a.example"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ]),
        map(&[
            ("host", "a.example"),
            ("connection", "keep-alive"),
            ("connection", "close"),
        ]),
    ]
}

#[test]
fn the_pure_functions() {
    let policy = Policy::gateway();
    for mut headers in ordinary() {
        let mut response = headers.clone();
        let used = measure(|| {
            strip_request(&mut headers, Version::HTTP_11, &policy).expect("forwarded");
        });
        assert_eq!(used.count_total, 0, "{headers:?}");
        let request = RequestContext::new(&Method::GET, Version::HTTP_11);
        let used = measure(|| {
            let status = StatusCode::OK;
            strip_response(&mut response, status, Version::HTTP_11, &request, &policy)
                .expect("forwarded");
        });
        assert_eq!(used.count_total, 0, "{response:?}");
    }
}

#[test]
fn the_layer() {
    let mut service = HopByHopLayer::gateway().layer(service_fn(
        async |mut request: Request<HopByHopBody<Body>>| {
            let mut response = Response::new(Body::new());
            std::mem::swap(response.headers_mut(), request.headers_mut());
            // As if the upstream had said it.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert("connection", close);
            Ok::<_, Infallible>(response)
        },
    ));
    for headers in ordinary() {
        let mut request = Request::new(Body::new());
        *request.headers_mut() = headers;
        let mut request = Some(request);
        let used = measure(|| {
            let mut context = Context::from_waker(Waker::noop());
            let response = service.call(request.take().expect("once"));
            let Poll::Ready(Ok(response)) = pin!(response).poll(&mut context) else {
                panic!("nothing to wait for");
            };
            assert_eq!(response.status(), StatusCode::OK);
        });
        assert_eq!(used.count_total, 0);
    }
}

#[test]
fn grpc_over_http2() {
    let policy = Policy::gateway().outbound(Version::HTTP_2);
    let mut headers = map(&[("te", "trailers"), ("content-type", "application/grpc")]);
    let used = measure(|| {
        strip_request(&mut headers, Version::HTTP_2, &policy).expect("forwarded");
    });
    assert_eq!(used.count_total, 0);
    assert_eq!(headers.len(), 2);
}

/// The counter counts, and nominations are what costs.
#[test]
fn a_nomination_is_remembered() {
    let mut headers = map(&[("connection", "x-private"), ("x-private", "1")]);
    let used = measure(|| {
        strip_request(&mut headers, Version::HTTP_11, &Policy::gateway()).expect("forwarded");
    });
    assert!(used.count_total > 0);
}

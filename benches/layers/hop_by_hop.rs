//! tower-hop-by-hop: the pure functions and the layer, next to the naive way and to a peer.

#![expect(
    deprecated,
    reason = "the peer's layer is on its way out, and the only other tower layer that strips"
)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum_reverse_proxy::Rfc9110Layer;
use criterion::{BatchSize, Criterion};
use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use tower::{Layer, Service, service_fn};
use tower_conn_core::names::{KEEP_ALIVE, PROXY_CONNECTION};
use tower_hop_by_hop::{HopByHopLayer, Policy, strip_request};

struct Case {
    name: &'static str,
    /// Of the request, and of what is made of it.
    version: Version,
    headers: HeaderMap,
}

pub(crate) fn bench(criterion: &mut Criterion) {
    for case in cases() {
        let policy = Policy::gateway().outbound(case.version);
        count_allocations(&case, &policy);
        let mut group = criterion.benchmark_group(format!("hop_by_hop/{}", case.name));
        group.bench_function("strip_request", |bencher| {
            bencher.iter_batched_ref(
                || case.headers.clone(),
                |headers| black_box(strip_request(headers, case.version, &policy).is_ok()),
                BatchSize::SmallInput,
            );
        });
        // What the harness itself costs per message, to be taken off the two around it.
        group.bench_function("nothing", |bencher| {
            bencher.iter_batched_ref(
                || case.headers.clone(),
                |headers| black_box(headers.len()),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("nine_names", |bencher| {
            bencher.iter_batched_ref(
                || case.headers.clone(),
                |headers| remove_nine_names(black_box(headers)),
                BatchSize::SmallInput,
            );
        });
        let mut bare = service_fn(answer::<Body>);
        group.bench_function("no_layer", |bencher| {
            bencher.iter_batched(
                || case.request(),
                |request| complete(bare.call(request)),
                BatchSize::SmallInput,
            );
        });
        let mut layer = HopByHopLayer::new(policy.clone()).layer(service_fn(answer));
        group.bench_function("layer", |bencher| {
            bencher.iter_batched(
                || case.request(),
                |request| complete(layer.call(request)),
                BatchSize::SmallInput,
            );
        });
        let mut naive = service_fn(async |mut request: Request<Body>| {
            remove_nine_names(request.headers_mut());
            let mut response = answer(request).await?;
            remove_nine_names(response.headers_mut());
            Ok::<_, Infallible>(response)
        });
        group.bench_function("layer_nine_names", |bencher| {
            bencher.iter_batched(
                || case.request(),
                |request| complete(naive.call(request)),
                BatchSize::SmallInput,
            );
        });
        let mut peer = Rfc9110Layer::new().layer(service_fn(answer));
        group.bench_function("layer_axum_reverse_proxy", |bencher| {
            bencher.iter_batched(
                || case.request(),
                |request| complete(peer.call(request)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// One line per case: heap allocations of one message.
fn count_allocations(case: &Case, policy: &Policy) {
    let allocations = |run: &mut dyn FnMut()| allocation_counter::measure(run).count_total;
    let mut headers = case.headers.clone();
    let pure = allocations(&mut || {
        black_box(strip_request(&mut headers, case.version, policy).is_ok());
    });
    let mut request = Some(case.request());
    let mut bare = Some(case.request());
    let mut service = HopByHopLayer::new(policy.clone()).layer(service_fn(answer));
    let mut unlayered = service_fn(answer::<Body>);
    let mut peer = Rfc9110Layer::new().layer(service_fn(answer::<Body>));
    let layer = allocations(&mut || complete(service.call(request.take().expect("once"))));
    let base = allocations(&mut || complete(unlayered.call(bare.take().expect("once"))));
    let mut request = Some(case.request());
    let peer = allocations(&mut || complete(peer.call(request.take().expect("once"))));
    println!(
        "hop_by_hop/{}: allocations: strip_request {pure}, layer {}, axum_reverse_proxy {}",
        case.name,
        layer - base,
        peer - base,
    );
}

async fn answer<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for (name, value) in RESPONSE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

const RESPONSE: [(&str, &str); 8] = [
    ("server", "origin"),
    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "0"),
    ("connection", "keep-alive"),
    ("cache-control", "max-age=60"),
    ("etag", "\"abc\""),
    ("vary", "accept-encoding"),
];

/// Polls a future that never waits.
fn complete<B>(future: impl Future<Output = Result<Response<B>, Infallible>>) {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(response) = pin!(future).poll(&mut context) else {
        unreachable!("nothing to wait for");
    };
    black_box(response.is_ok());
}

fn remove_nine_names(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        PROXY_CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

// ===== impl Case =====

impl Case {
    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn cases() -> Vec<Case> {
    let http1 = |name, headers| Case {
        name,
        version: Version::HTTP_11,
        headers,
    };
    let mut no_connection = browser();
    no_connection.remove(CONNECTION);
    let mut websocket = browser();
    for (name, value) in [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        websocket.insert(name, HeaderValue::from_static(value));
    }
    let grpc = parse(&[
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "1S"),
        ("grpc-encoding", "identity"),
        ("grpc-accept-encoding", "gzip"),
        ("user-agent", "grpc-rust/1.0"),
    ]);
    vec![
        http1("no_connection", no_connection),
        http1("keep_alive", browser()),
        http1("websocket", websocket),
        http1("nominations_3", nominating(3)),
        http1("nominations_40", nominating(40)),
        http1("fields_100", with_custom_fields(88)),
        Case {
            name: "http2_grpc",
            version: Version::HTTP_2,
            headers: grpc,
        },
    ]
}

/// The twelve fields of a browser's navigation.
fn browser() -> HeaderMap {
    parse(&[
        ("host", "www.example.com"),
        ("connection", "keep-alive"),
        ("cache-control", "max-age=0"),
        ("upgrade-insecure-requests", "1"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en-US,en;q=0.9"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
    ])
}

fn with_custom_fields(count: usize) -> HeaderMap {
    let mut headers = browser();
    for at in 0..count {
        let name = HeaderName::try_from(format!("x-field-{at:02}")).expect("a name");
        headers.insert(name, HeaderValue::from_static("some value"));
    }
    headers
}

/// As many custom fields, all nominated in one line.
fn nominating(count: usize) -> HeaderMap {
    let mut headers = with_custom_fields(count);
    let mut options = "keep-alive".to_owned();
    for at in 0..count {
        // Writing to a string does not fail.
        let _ = write!(options, ", X-Field-{at:02}");
    }
    let options = HeaderValue::try_from(options).expect("a value");
    headers.insert(CONNECTION, options);
    headers
}

fn parse(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

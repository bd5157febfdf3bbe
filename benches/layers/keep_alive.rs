//! tower-keep-alive: the layer, next to the same service without it.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};
use tower_conn_core::Connection;
use tower_keep_alive::{KeepAlive, KeepAliveLayer};

pub(crate) fn bench(criterion: &mut Criterion) {
    for case in &CASES {
        count_allocations(case);
        measure(case, criterion);
    }
}

struct Case {
    name: &'static str,
    version: Version,
    /// The client's `Connection` field.
    option: Option<&'static str>,
    body: &'static str,
    /// Whether the handler reads the body.
    reads: bool,
    handle: bool,
}

const SILENT: Case = Case {
    name: "silent",
    version: Version::HTTP_11,
    option: None,
    body: "",
    reads: false,
    handle: true,
};

const CASES: [Case; 8] = [
    SILENT,
    Case {
        name: "without_handle",
        handle: false,
        ..SILENT
    },
    Case {
        name: "announced",
        option: Some("keep-alive"),
        ..SILENT
    },
    Case {
        name: "http10",
        version: Version::HTTP_10,
        option: Some("keep-alive"),
        ..SILENT
    },
    Case {
        name: "close",
        option: Some("close"),
        ..SILENT
    },
    Case {
        name: "http2",
        version: Version::HTTP_2,
        ..SILENT
    },
    Case {
        name: "body_read",
        body: "some form",
        reads: true,
        ..SILENT
    },
    Case {
        name: "body_drained",
        body: "some form",
        ..SILENT
    },
];

impl Case {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(self.body));
        *request.version_mut() = self.version;
        if !self.body.is_empty() {
            *request.method_mut() = Method::POST;
        }
        if let Some(option) = self.option {
            let option = HeaderValue::from_static(option);
            request.headers_mut().insert(CONNECTION, option);
        }
        if self.handle {
            request.extensions_mut().insert(Connection::server());
        }
        request
    }
}

fn layer() -> KeepAliveLayer {
    KeepAliveLayer::new()
        .idle_timeout(Duration::from_secs(75))
        .max_requests(std::num::NonZeroU32::new(1000))
}

async fn answer<B: Body>(
    reads: bool,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if reads {
        black_box(request.into_body().collect().await.is_ok());
    } else {
        drop(request);
    }
    let mut response = Response::new(Full::from("hello"));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("content-length", HeaderValue::from_static("5"));
    Ok(response)
}

fn measure(case: &Case, criterion: &mut Criterion) {
    let reads = case.reads;
    let mut group = criterion.benchmark_group(format!("keep_alive/{}", case.name));
    let mut bare = service_fn(move |request| answer(reads, request));
    group.bench_function("bare", |bencher| {
        bencher.iter_batched(
            || case.request(),
            |request| complete(bare.call(request)),
            BatchSize::SmallInput,
        );
    });
    let mut layered: KeepAlive<_> =
        layer().layer(service_fn(move |request| answer(reads, request)));
    group.bench_function("layer", |bencher| {
        bencher.iter_batched(
            || case.request(),
            |request| complete(layered.call(request)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// One line per case: the heap allocations of one exchange that the layer adds.
fn count_allocations(case: &Case) {
    let reads = case.reads;
    let count = |run: &mut dyn FnMut()| allocation_counter::measure(run).count_total;
    let mut bare = service_fn(move |request| answer(reads, request));
    let mut layered: KeepAlive<_> =
        layer().layer(service_fn(move |request| answer(reads, request)));
    let (mut one, mut other) = (Some(case.request()), Some(case.request()));
    let base = count(&mut || complete(bare.call(one.take().expect("once"))));
    let with = count(&mut || complete(layered.call(other.take().expect("once"))));
    println!(
        "keep_alive/{}: allocations: bare {base}, layer +{}",
        case.name,
        with - base
    );
}

/// Polls a future that never waits, and reads the body of its response to the end.
fn complete<B: Body>(future: impl Future<Output = Result<Response<B>, Infallible>>) {
    let mut context = Context::from_waker(Waker::noop());
    let whole = async {
        let Ok(response) = future.await;
        black_box(response.into_body().collect().await.is_ok())
    };
    let Poll::Ready(read) = pin!(whole).poll(&mut context) else {
        unreachable!("nothing to wait for");
    };
    black_box(read);
}

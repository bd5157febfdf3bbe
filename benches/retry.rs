//! What tower-idempotent-retry costs when nothing has to be retried, and what a retry costs.
//!
//! `cargo bench --bench retry`. Allocation counts are printed first: they are exact, times are not.
//!
//! `no_layer` is the service alone, to be taken off the others. Comparison: `tower` is `tower::retry` with a policy
//! that clones the request and retries nothing, over a body that can be cloned.

use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, Service, service_fn};
use tower_idempotent_retry::{Attempt, Backoff, Budget, NoRetry, RetryBudget, RetryLayer};

type Answer = Result<Response<Empty<Bytes>>, Infallible>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    success(&mut criterion);
    retried(&mut criterion);
    budget(&mut criterion);
    criterion.final_summary();
}

/// The first attempt is answered.
fn success(criterion: &mut Criterion) {
    for (name, method, body) in [
        ("get", "GET", Bytes::new()),
        ("put_1k", "PUT", Bytes::from(vec![7; 1024])),
    ] {
        let request = || request(method, body.clone());
        let once = || {
            let mut request = request();
            request.extensions_mut().insert(NoRetry);
            request
        };
        let mut bare = service_fn(answer::<Full<Bytes>>);
        let mut layer = RetryLayer::client().layer(service_fn(answer));
        let mut unlimited = RetryLayer::client().no_budget().layer(service_fn(answer));
        let mut tower = tower::retry::RetryLayer::new(Never).layer(service_fn(answer));

        let base = allocations(&mut bare, request());
        println!(
            "retry/{name}: allocations: layer {}, no_budget {}, no_retry {}, tower {}",
            // Twice, so that the budget of the destination is there.
            [0; 2].map(|_| allocations(&mut layer, request()) - base)[1],
            allocations(&mut unlimited, request()) - base,
            allocations(&mut layer, once()) - allocations(&mut bare, once()),
            allocations(&mut tower, request()) - base,
        );

        let mut group = criterion.benchmark_group(format!("retry/{name}"));
        group.bench_function("no_layer", |bencher| {
            bencher.iter_batched(request, |it| complete(bare.call(it)), BatchSize::SmallInput);
        });
        group.bench_function("layer", |bencher| {
            bencher.iter_batched(
                request,
                |it| complete(layer.call(it)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("layer_no_budget", |bencher| {
            bencher.iter_batched(
                request,
                |it| complete(unlimited.call(it)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("layer_no_retry", |bencher| {
            bencher.iter_batched(once, |it| complete(layer.call(it)), BatchSize::SmallInput);
        });
        group.bench_function("tower", |bencher| {
            bencher.iter_batched(
                request,
                |it| complete(tower.call(it)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// The first attempt is answered 503, and the second at once after it.
fn retried(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime");
    let _timers = runtime.enter();
    let request = || request("PUT", Bytes::from_static(&[7; 1024]));
    let mut layer = RetryLayer::client()
        .backoff(Backoff::none())
        .no_budget()
        .drain(0, Duration::ZERO)
        .layer(service_fn(busy_once));
    println!(
        "retry/retried: allocations: {}",
        allocations(&mut layer, request())
    );
    criterion.bench_function("retry/retried", |bencher| {
        bencher.iter_batched(
            request,
            |it| complete(layer.call(it)),
            BatchSize::SmallInput,
        );
    });
}

fn budget(criterion: &mut Criterion) {
    let budget = Budget::percent(100).build();
    let turn = |budget: &RetryBudget| {
        budget.deposit();
        black_box(budget.withdraw());
    };
    criterion.bench_function("retry/budget", |bencher| bencher.iter(|| turn(&budget)));
    let tower = tower::retry::budget::TpsBudget::new(Duration::from_secs(10), 10, 1.0);
    criterion.bench_function("retry/budget_tower", |bencher| {
        bencher.iter(|| {
            tower::retry::budget::Budget::deposit(&tower);
            black_box(tower::retry::budget::Budget::withdraw(&tower));
        });
    });
}

fn request(method: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri("http://upstream.example/a/path");
    for (name, value) in [
        ("host", "upstream.example"),
        ("user-agent", "bench/1.0"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-request-id", "0123456789abcdef"),
    ] {
        request = request.header(name, HeaderValue::from_static(value));
    }
    request
        .body(Full::new(body))
        .expect("a request of valid parts")
}

/// Reads the body, as a transport does.
async fn answer<B: Body + Unpin>(request: Request<B>) -> Answer {
    read(request.into_body()).await;
    Ok(Response::new(Empty::new()))
}

async fn busy_once<B: Body + Unpin>(request: Request<B>) -> Answer {
    let first = Attempt::of(request.extensions()).get() == 1;
    let mut response = answer(request).await?;
    if first {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

async fn read<B: Body + Unpin>(mut body: B) {
    while !body.is_end_stream() {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        black_box(frame.is_some());
    }
}

/// A policy of tower's that retries nothing.
#[derive(Clone)]
struct Never;

impl<Res, E> tower::retry::Policy<Request<Full<Bytes>>, Res, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, _: &mut Result<Res, E>) -> Option<Ready<()>> {
        None
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

fn allocations<S>(service: &mut S, request: Request<Full<Bytes>>) -> u64
where
    S: Service<Request<Full<Bytes>>>,
{
    let mut request = Some(request);
    allocation_counter::measure(|| complete(service.call(request.take().expect("once"))))
        .count_total
}

/// Polls a future that never waits.
fn complete<T, E>(future: impl Future<Output = Result<T, E>>) {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(response) = pin!(future).poll(&mut context) else {
        unreachable!("nothing to wait for");
    };
    black_box(response.is_ok());
}

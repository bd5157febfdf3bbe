//! What the reaper costs for each exchange, and what a sweep costs.
//!
//! `cargo bench --bench reaper`. The baseline of each group comes first. The exchange itself is a guard
//! that keeps its connection: beginning and ending it are an addition and a subtraction of one word, and
//! the guard clones and drops an `Arc`, which no guard that may outlive its service can do without. So
//! "an Arc, cloned and dropped" is a floor of "exchange alone". What the transport adds grows with the
//! head, by the search for an empty line in it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tower::{Layer, Service, service_fn};
use tower_conn_core::{Connection, StampTable};
use tower_idle_reaper::{Accept, IdleReaper, Policy, ReapLayer};

/// As a browser sends it.
const BROWSER: &str = "GET /articles/2024/connections HTTP/1.1\r\nHost: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.com/articles\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const MILLION: u32 = 1_000_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// A transport that always has a request to read, which is in the buffer already, and takes
/// everything: what a system call copies is not what is measured.
struct Endless(usize);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        buf.advance(self.0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One read of this request, one exchange, one write and flush of a response.
fn turn<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, head: &mut [u8], exchange: impl FnOnce()) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut buf = ReadBuf::new(black_box(head));
    assert!(Pin::new(&mut *io).poll_read(&mut cx, &mut buf).is_ready());
    exchange();
    assert!(
        Pin::new(&mut *io)
            .poll_write(&mut cx, black_box(GET))
            .is_ready()
    );
    assert!(Pin::new(&mut *io).poll_flush(&mut cx).is_ready());
}

fn exchange(c: &mut Criterion) {
    let runtime = runtime();
    let _context = runtime.enter();
    let reaper = IdleReaper::new(Policy::safe());
    let mut group = c.benchmark_group("exchange");

    for (which, head) in [("", GET), (" of a browser", BROWSER.as_bytes())] {
        let head = &mut head.to_vec();
        let mut plain = Endless(head.len());
        group.bench_function(format!("transport{which}, plain"), |b| {
            b.iter(|| turn(&mut plain, head, || ()));
        });
        let mut reaped = reaper.wrap(Endless(head.len()), None);
        let connection = reaped.connection();
        group.bench_function(format!("transport{which}, reaped"), |b| {
            b.iter(|| turn(&mut reaped, head, || ()));
        });
        let mut whole = || turn(&mut reaped, head, || drop(black_box(connection.begin())));
        whole();
        let allocations = allocation_counter::measure(&mut whole).count_total;
        println!("exchange: allocations: transport{which} and exchange, reaped {allocations}");
        group.bench_function(format!("transport{which} and exchange, reaped"), |b| {
            b.iter(&mut whole);
        });
    }
    let reaped = reaper.wrap(Endless(0), None);
    let connection = reaped.connection();
    group.bench_function("exchange alone", |b| {
        b.iter(|| drop(black_box(connection.begin())));
    });
    let shared = Arc::new(0u64);
    group.bench_function("an Arc, cloned and dropped", |b| {
        b.iter(|| drop(black_box(Arc::clone(&shared))));
    });

    let handler = service_fn(
        |_: Request<Empty<Bytes>>| -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
            ready(Ok(Response::new(Full::default())))
        },
    );
    let request = |connection: &Connection| {
        let mut request = Request::new(Empty::new());
        request.extensions_mut().insert(connection.clone());
        request
    };
    let mut bare = handler;
    group.bench_function("service, plain", |b| {
        b.iter_batched(
            || request(&connection),
            |request| bare.call(request).into_inner(),
            criterion::BatchSize::SmallInput,
        );
    });
    let mut layered = ReapLayer::new().layer(handler);
    group.bench_function("service, with the layer", |b| {
        b.iter_batched(
            || request(&connection),
            |request| {
                let mut response = std::pin::pin!(layered.call(request));
                response
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

async fn ask(client: &mut DuplexStream) {
    client.write_all(GET).await.expect("served");
    let mut space = [0; 256];
    let n = client.read(&mut space).await.expect("served");
    assert!(n > 0);
}

fn engine(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("hyper http1, in memory");
    let handler = |_| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));

    let (mut client, far) = duplex(4096);
    let service = TowerToHyperService::new(service_fn(handler));
    runtime.spawn(http1::Builder::new().serve_connection(TokioIo::new(far), service));
    group.bench_function("plain", |b| b.iter(|| runtime.block_on(ask(&mut client))));

    // The timer that the reaper replaces.
    let (mut client, far) = duplex(4096);
    let service = TowerToHyperService::new(service_fn(handler));
    let mut timed = http1::Builder::new();
    timed
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30));
    runtime.spawn(timed.serve_connection(TokioIo::new(far), service));
    group.bench_function("with hyper's head timer", |b| {
        b.iter(|| runtime.block_on(ask(&mut client)));
    });

    let reaper = IdleReaper::new(Policy::safe());
    let (mut client, far) = duplex(4096);
    let io = {
        let _context = runtime.enter();
        reaper.wrap(far, None)
    };
    let connection = io.connection();
    let service = ReapLayer::of(connection.clone()).layer(service_fn(handler));
    let service = TowerToHyperService::new(service);
    let serving = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    runtime.spawn(reaper.watch(serving, connection));
    group.bench_function("reaped", |b| b.iter(|| runtime.block_on(ask(&mut client))));
    group.finish();
}

/// A listener that accepts one connection.
struct Once(Option<DuplexStream>);

impl Once {
    async fn next(&mut self) -> DuplexStream {
        match self.0.take() {
            Some(io) => io,
            None => std::future::pending().await,
        }
    }
}

impl axum::serve::Listener for Once {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        (self.next().await, ())
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Accept for Once {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, ())> {
        Ok((self.next().await, ()))
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn peer_of(_: &()) -> Option<SocketAddr> {
        None
    }
}

fn axum_serve(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("axum::serve, in memory");
    let app = Router::new().route("/", get(|| async {}));

    let (mut client, far) = duplex(4096);
    let serving = axum::serve(Once(Some(far)), app.clone());
    runtime.spawn(serving.into_future());
    group.bench_function("plain", |b| b.iter(|| runtime.block_on(ask(&mut client))));

    let reaper = IdleReaper::new(Policy::safe());
    let (mut client, far) = duplex(4096);
    let app = app
        .layer(ReapLayer::new())
        .into_make_service_with_connect_info::<Connection>();
    let serving = axum::serve(reaper.listener(Once(Some(far))), app);
    runtime.spawn(serving.into_future());
    group.bench_function("reaped", |b| b.iter(|| runtime.block_on(ask(&mut client))));
    group.finish();
}

fn sweep(c: &mut Criterion) {
    let runtime = runtime();
    let _context = runtime.enter();
    let mut group = c.benchmark_group("sweep of 1,000,000");

    // The most that a sweep can have to do without finding anything: no chunk can be passed over.
    let table = StampTable::new(MILLION, Duration::from_millis(50));
    table.advance_to(NonZeroU32::MAX);
    for slot in 0..MILLION {
        table.set_idle(slot);
    }
    group.bench_function("every idle stamp, none due", |b| {
        b.iter(|| {
            let mut found = 0;
            black_box(table.sweep(black_box(NonZeroU32::MIN), |_| found += 1));
            assert_eq!(found, 0);
        });
    });
    drop(table);

    let reaper = IdleReaper::new(Policy::safe());
    let all: Vec<_> = (0..MILLION)
        .map(|_| reaper.wrap(Endless(0), None))
        .collect();
    group.bench_function("a whole reaper, nothing due", |b| {
        b.iter(|| assert_eq!(reaper.sweep_once(), 0));
    });
    drop(all);
    group.finish();
}

criterion_group!(benches, exchange, engine, axum_serve, sweep);
criterion_main!(benches);

//! Pipelining on one connection.
//!
//! - `server/*`: requests per second at depth 1 to 256, with stock hyper, hyper with `pipeline_flush`, and
//!   `tower-pipeline-guard`; and how long eight pipelined requests of 100 ms take.
//! - `client/*`: one request at a time, a warm pool of as many hyper connections, and one pipelined
//!   connection, through an in-process proxy that delays each direction by half a round trip. The proxy
//!   keeps the order, and has no bandwidth limit and no loss.
//!
//! `cargo bench --bench pipeline`; with `-- server` or `-- client` only these. All sockets are on the
//! loopback interface of one machine, client and server share its cores: compare rows, not numbers.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_pipeline_guard::Pipeline;
use tower_pipeline_guard::client::{Builder, PipelinedConnection};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

#[derive(Clone, Copy)]
enum Server {
    Stock,
    PipelineFlush,
    Guard,
}

async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(Response::new(Full::from("Hello, World!")))
}

async fn start(server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            stream.set_nodelay(true).expect("a live socket");
            let mut builder = http1::Builder::new();
            match server {
                Server::Stock | Server::PipelineFlush => {
                    builder.pipeline_flush(matches!(server, Server::PipelineFlush));
                    let service = TowerToHyperService::new(service_fn(answer));
                    tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
                }
                Server::Guard => {
                    let parallel = NonZeroUsize::new(8).expect("not zero");
                    let (io, guard) = Pipeline::new().parallel(parallel).wrap(stream);
                    let service = ServiceBuilder::new().layer(guard).service_fn(answer);
                    let service = TowerToHyperService::new(service);
                    tokio::spawn(builder.serve_connection(TokioIo::new(io), service));
                }
            }
        }
    });
    addr
}

async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("a live socket");
    stream
}

/// Sends a burst and reads until as many responses have come; all of them have the same length.
async fn burst(
    stream: &mut TcpStream,
    burst: &[u8],
    response: usize,
    count: usize,
    buf: &mut [u8],
) {
    stream.write_all(burst).await.expect("open");
    let mut left = response * count;
    while left > 0 {
        let read = stream.read(buf).await.expect("open");
        assert_ne!(read, 0, "closed");
        left = left.checked_sub(read).expect("no more than was asked for");
    }
}

/// The length of one response.
async fn measure(stream: &mut TcpStream) -> usize {
    stream.write_all(REQUEST).await.expect("open");
    let mut seen = Vec::new();
    while !seen.ends_with(b"Hello, World!") {
        assert_ne!(stream.read_buf(&mut seen).await.expect("open"), 0);
    }
    seen.len()
}

fn server(criterion: &mut Criterion, runtime: &Runtime) {
    let servers = [
        ("stock", Server::Stock),
        ("pipeline_flush", Server::PipelineFlush),
        ("guard", Server::Guard),
    ];
    let mut group = criterion.benchmark_group("server/depth");
    for (name, server) in servers {
        let addr = runtime.block_on(start(server));
        for depth in [1, 4, 16, 64, 256] {
            group.throughput(Throughput::Elements(depth as u64));
            group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                let mut stream = runtime.block_on(connect(addr));
                let response = runtime.block_on(measure(&mut stream));
                let requests = REQUEST.repeat(depth);
                let mut buf = vec![0; 64 * 1024];
                bencher.iter(|| {
                    runtime.block_on(burst(&mut stream, &requests, response, depth, &mut buf));
                });
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("server/eight_of_100_ms");
    group.sample_size(10);
    for (name, server) in [("stock", Server::Stock), ("guard", Server::Guard)] {
        let addr = runtime.block_on(start(server));
        group.bench_function(name, |bencher| {
            let mut stream = runtime.block_on(connect(addr));
            let response = runtime.block_on(measure(&mut stream));
            let requests = SLOW.repeat(8);
            let mut buf = vec![0; 64 * 1024];
            bencher.iter(|| runtime.block_on(burst(&mut stream, &requests, response, 8, &mut buf)));
        });
    }
    group.finish();
}

/// A proxy that delays what it forwards, in both directions.
async fn delayed(upstream: SocketAddr, one_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("accepts");
            client.set_nodelay(true).expect("a live socket");
            let server = connect(upstream).await;
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            tokio::spawn(delay(client_read, server_write, one_way));
            tokio::spawn(delay(server_read, client_write, one_way));
        }
    });
    addr
}

async fn delay(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    one_way: Duration,
) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    loop {
        let mut bytes = Vec::with_capacity(16 * 1024);
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => drop(sender.send((Instant::now() + one_way, bytes))),
        }
    }
}

/// How many requests one iteration of a client row makes, and how many may be outstanding at once.
const REQUESTS: usize = 64;
const DEPTH: usize = 16;

fn request() -> Request<Empty<Bytes>> {
    let request = Request::get("http://x/").header("host", "x");
    request.body(Empty::new()).expect("a request")
}

async fn hyper_connection(
    addr: SocketAddr,
) -> hyper::client::conn::http1::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(connect(addr).await);
    let (sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("nothing to negotiate");
    tokio::spawn(connection);
    sender
}

/// Makes its share of the requests, one at a time on each connection.
async fn one_at_a_time(
    pool: Vec<hyper::client::conn::http1::SendRequest<Empty<Bytes>>>,
) -> Vec<hyper::client::conn::http1::SendRequest<Empty<Bytes>>> {
    let share = REQUESTS / pool.len();
    let tasks: Vec<_> = pool
        .into_iter()
        .map(|mut sender| {
            tokio::spawn(async move {
                for _ in 0..share {
                    sender.ready().await.expect("open");
                    let response = sender.send_request(request()).await.expect("a response");
                    black_box(response.into_body().collect().await.expect("a body"));
                }
                sender
            })
        })
        .collect();
    let mut pool = Vec::new();
    for task in tasks {
        pool.push(task.await.expect("no panic"));
    }
    pool
}

async fn pipelined(connection: &PipelinedConnection<Empty<Bytes>>) {
    let tasks: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let mut connection = connection.clone();
            tokio::spawn(async move {
                let ready = connection.ready().await.expect("open");
                let response = ready.call(request()).await.expect("a response");
                black_box(response.into_body().collect().await.expect("a body"));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

async fn pipelined_connection(addr: SocketAddr) -> PipelinedConnection<Empty<Bytes>> {
    let depth = NonZeroUsize::new(DEPTH).expect("not zero");
    let (connection, driver) = Builder::new().depth(depth).handshake(connect(addr).await);
    tokio::spawn(driver);
    connection
}

fn client(criterion: &mut Criterion, runtime: &Runtime) {
    let upstream = runtime.block_on(start(Server::Guard));
    for round_trip in [0, 2, 20, 100] {
        let one_way = Duration::from_millis(round_trip) / 2;
        let addr = match round_trip {
            0 => upstream,
            _ => runtime.block_on(delayed(upstream, one_way)),
        };
        let mut group = criterion.benchmark_group(format!("client/{round_trip}_ms"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(REQUESTS as u64));
        for (name, sockets) in [
            ("one_at_a_time/1_socket", 1),
            ("warm_pool/16_sockets", DEPTH),
        ] {
            group.bench_function(name, |bencher| {
                let mut pool = Vec::new();
                for _ in 0..sockets {
                    pool.push(runtime.block_on(hyper_connection(addr)));
                }
                let mut pool = Some(runtime.block_on(one_at_a_time(pool)));
                bencher.iter(|| {
                    let warm = pool.take().expect("given back");
                    pool = Some(runtime.block_on(one_at_a_time(warm)));
                });
            });
        }
        group.bench_function("pipelined/1_socket", |bencher| {
            let connection = runtime.block_on(pipelined_connection(addr));
            runtime.block_on(pipelined(&connection));
            bencher.iter(|| runtime.block_on(pipelined(&connection)));
        });
        // Connecting is part of it: what a burst costs that finds nothing open.
        group.bench_function("cold_burst/hyper/16_sockets", |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..DEPTH)
                        .map(|_| tokio::spawn(hyper_connection(addr)))
                        .collect();
                    let mut pool = Vec::new();
                    for task in tasks {
                        pool.push(task.await.expect("no panic"));
                    }
                    one_at_a_time(pool).await
                })
            });
        });
        group.bench_function("cold_burst/pipelined/1_socket", |bencher| {
            bencher.iter(|| {
                runtime.block_on(async { pipelined(&pipelined_connection(addr).await).await });
            });
        });
        group.finish();
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut criterion = Criterion::default().configure_from_args();
    server(&mut criterion, &runtime);
    client(&mut criterion, &runtime);
    criterion.final_summary();
}

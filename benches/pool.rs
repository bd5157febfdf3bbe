//! The pool against hyper-util's legacy client, in one run.
//!
//! `cargo bench --bench pool` prints three tables: CPU per request and throughput at 1, 32 and 256
//! concurrent requests; the time to the first byte of each of 200 requests sent at once; and memory per
//! idle connection. `-- --test` runs everything once with small numbers.
//! `POOL_BENCH_PROFILE="pool 256 20000 1"` sends 20000 requests, 256 at once, with one client on one
//! thread, and nothing else: for callgrind.
//!
//! The server is a process of its own, started from this binary, so that its CPU time is not counted.
//! Rounds of the clients alternate, and the median of the rounds is printed. The pool runs with its
//! default limit of 64 connections, without and with pipelining; the legacy client without a limit, as it
//! has none; the burst has both as they are and the pool with a limit of 6, too.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_conn_pool::{Pool, connector};

type Body = Full<Bytes>;

/// The two clients under one roof.
#[derive(Clone)]
enum Subject {
    Pool(Pool<HttpConnector, Body>),
    Legacy(Arc<Client<HttpConnector, Body>>),
}

/// The pool's limits for all origins together, unless that for one is higher.
const DEFAULT_TOTAL: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");
const DEFAULT_IDLE: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Pool { limit: usize, depth: usize },
    Legacy,
}

impl Kind {
    fn name(self) -> String {
        match self {
            Self::Pool { limit, depth: 1 } => format!("pool, limit {limit}"),
            Self::Pool { depth, .. } => format!("pool, depth {depth}"),
            Self::Legacy => "legacy client".to_owned(),
        }
    }

    fn build(self) -> Subject {
        match self {
            Self::Pool { limit, depth } => {
                let limit = NonZeroUsize::new(limit).expect("not zero");
                let mut builder = Pool::builder()
                    .max_per_origin(limit)
                    .max_idle_per_origin(limit)
                    .max_total(limit.max(DEFAULT_TOTAL))
                    .max_idle(limit.max(DEFAULT_IDLE));
                if let Some(depth) = NonZeroUsize::new(depth).filter(|depth| depth.get() > 1) {
                    builder = builder.pipeline_depth(depth);
                }
                Subject::Pool(builder.build(connector()))
            }
            Self::Legacy => Subject::Legacy(Arc::new(
                Client::builder(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .pool_timer(TokioTimer::new())
                    .build(connector()),
            )),
        }
    }
}

impl Subject {
    /// Sends a GET and reads the response; the time to its head.
    async fn get(&self, uri: &Uri) -> Duration {
        let request = Request::get(uri).body(Body::default()).expect("a request");
        let start = Instant::now();
        let first;
        match self {
            Self::Pool(pool) => {
                let response = pool.clone().oneshot(request).await.expect("answers");
                first = Instant::now();
                response.into_body().collect().await.expect("reads");
            }
            Self::Legacy(client) => {
                let response = client.request(request).await.expect("answers");
                first = Instant::now();
                response.into_body().collect().await.expect("reads");
            }
        }
        first.saturating_duration_since(start)
    }
}

// ===== the server =====

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a binary"))
            .env("POOL_BENCH_SERVER", "1")
            .env_remove("POOL_BENCH_PROFILE")
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("an address");
        let addr = line.trim().parse().expect("an address");
        Self { child, addr }
    }

    fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.addr)
            .parse()
            .expect("a URI")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    match request.uri().path() {
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        "/work" => tokio::time::sleep(Duration::from_millis(2)).await,
        _ => {}
    }
    Ok(Response::new(Body::from("hello, world")))
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    println!("{}", listener.local_addr().expect("bound"));
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
                .await;
        });
    }
}

// ===== the measurements =====

/// CPU time of this process so far, from `/proc`; zero where that does not exist.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanos: u64 = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

/// Resident memory of this process, from `/proc`; zero where that does not exist.
fn resident() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kib| kib * 1024)
}

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("comparable"));
    values[values.len() / 2]
}

/// Requests a second, and CPU time for each.
async fn throughput(
    subject: &Subject,
    uri: &Uri,
    concurrent: usize,
    requests: usize,
) -> (f64, f64) {
    let left = Arc::new(AtomicUsize::new(requests));
    let (start, before) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..concurrent)
        .map(|_| {
            let (subject, uri, left) = (subject.clone(), uri.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    subject.get(&uri).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    let wall = Instant::now().saturating_duration_since(start);
    let cpu = cpu().saturating_sub(before);
    let n = requests as f64;
    (n / wall.as_secs_f64(), cpu.as_secs_f64() * 1e6 / n)
}

fn steady_state(runtime: &Runtime, server: &Server, test: bool) {
    println!(
        "\n{:<16} {:>10} {:>12} {:>14}",
        "client", "concurrent", "requests/s", "CPU us/request"
    );
    let (requests, rounds) = if test { (200, 1) } else { (30_000, 9) };
    let pool = |depth| Kind::Pool { limit: 64, depth };
    let kinds = [pool(1), Kind::Legacy, pool(8)];
    let uri = server.uri("/");
    for concurrent in [1, 32, 256] {
        let subjects = kinds.map(|kind| runtime.block_on(async move { kind.build() }));
        for subject in &subjects {
            runtime.block_on(throughput(subject, &uri, concurrent, requests / 10));
        }
        let mut results = [const { Vec::new() }; 3];
        for round in 0..rounds {
            // Each is first as often as the others.
            for at in [0, 1, 2].map(|at| (at + round) % 3) {
                results[at].push(runtime.block_on(throughput(
                    &subjects[at],
                    &uri,
                    concurrent,
                    requests,
                )));
            }
        }
        for (kind, results) in kinds.iter().zip(results) {
            let rate = median(results.iter().map(|r| r.0).collect());
            let cpu = median(results.iter().map(|r| r.1).collect());
            println!(
                "{:<16} {concurrent:>10} {rate:>12.0} {cpu:>14.1}",
                kind.name()
            );
        }
    }
}

fn cold_burst(runtime: &Runtime, server: &Server, test: bool) {
    println!(
        "\n{:<16} {:>10} {:>12} {:>12} {:>12}",
        "200 at once", "", "median ms", "p99 ms", "last ms"
    );
    let uri = server.uri("/work");
    let rounds = if test { 1 } else { 9 };
    for kind in [
        Kind::Pool { limit: 6, depth: 1 },
        Kind::Pool {
            limit: 64,
            depth: 1,
        },
        Kind::Legacy,
    ] {
        let mut all = Vec::new();
        for _ in 0..rounds {
            let mut times = runtime.block_on(async {
                let subject = kind.build();
                let burst: Vec<_> = (0..200)
                    .map(|_| {
                        let (subject, uri) = (subject.clone(), uri.clone());
                        tokio::spawn(async move { subject.get(&uri).await })
                    })
                    .collect();
                let mut times = Vec::new();
                for one in burst {
                    times.push(one.await.expect("no panic").as_secs_f64() * 1e3);
                }
                times
            });
            times.sort_by(f64::total_cmp);
            all.push((times[100], times[198], times[199]));
        }
        println!(
            "{:<27} {:>12.2} {:>12.2} {:>12.2}",
            kind.name(),
            median(all.iter().map(|t| t.0).collect()),
            median(all.iter().map(|t| t.1).collect()),
            median(all.iter().map(|t| t.2).collect())
        );
    }
}

/// Each client in a process of its own: what another has freed is not given back to the system.
fn idle_memory(server: &Server, test: bool) {
    println!(
        "\n{:<16} {:>12} {:>18}",
        "idle", "connections", "resident KiB each"
    );
    let count = if test { "20" } else { "2000" };
    for kind in ["pool", "legacy client"] {
        let output = Command::new(std::env::current_exe().expect("a binary"))
            .env("POOL_BENCH_MEMORY", kind)
            .env("POOL_BENCH_COUNT", count)
            .env("POOL_BENCH_URI", server.uri("/slow").to_string())
            .output()
            .expect("starts");
        let each = String::from_utf8_lossy(&output.stdout);
        println!("{kind:<16} {count:>12} {:>18}", each.trim());
    }
}

async fn idle_memory_of(kind: &str) {
    let var = |name| std::env::var(name).expect("is set");
    let count: usize = var("POOL_BENCH_COUNT").parse().expect("a number");
    let uri: Uri = var("POOL_BENCH_URI").parse().expect("a URI");
    let kind = match kind {
        "pool" => Kind::Pool {
            limit: count,
            depth: 1,
        },
        _ => Kind::Legacy,
    };
    let subject = kind.build();
    subject.get(&uri).await;
    let before = resident();
    let all: Vec<_> = (0..count)
        .map(|_| {
            let (subject, uri) = (subject.clone(), uri.clone());
            tokio::spawn(async move { subject.get(&uri).await })
        })
        .collect();
    for one in all {
        one.await.expect("no panic");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let each = resident().saturating_sub(before) as f64 / count as f64 / 1024.0;
    println!("{each:.1}");
}

fn profile(what: &str) {
    let mut what = what.split(' ');
    let kind = match what.next() {
        Some("pool") => Kind::Pool {
            limit: 64,
            depth: 1,
        },
        Some("pipelined") => Kind::Pool {
            limit: 64,
            depth: 8,
        },
        _ => Kind::Legacy,
    };
    let mut number = || what.next().and_then(|n| n.parse().ok()).expect("a number");
    let (concurrent, requests, threads) = (number(), number(), number());
    let server = Server::start();
    let uri = server.uri("/");
    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let subject = kind.build();
        let (rate, cpu) = throughput(&subject, &uri, concurrent, requests).await;
        println!("{rate:.0} requests/s, {cpu:.1} us CPU each");
    });
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    if std::env::var_os("POOL_BENCH_SERVER").is_some() {
        return runtime.block_on(serve());
    }
    if let Ok(kind) = std::env::var("POOL_BENCH_MEMORY") {
        return runtime.block_on(idle_memory_of(&kind));
    }
    if let Ok(what) = std::env::var("POOL_BENCH_PROFILE") {
        return profile(&what);
    }
    let test = std::env::args().any(|arg| arg == "--test");
    let server = Server::start();
    steady_state(&runtime, &server, test);
    cold_burst(&runtime, &server, test);
    idle_memory(&server, test);
}

//! The client side: a pool of hyper connections and a pipelined connection at several round trips.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceExt};
use tower_pipeline_guard::client::{Builder, PipelinedConnection};

use crate::process::{Process, cpu_of, median};
use crate::server::Kind;

/// How many requests may be outstanding at once, and how many a cold burst is.
const DEPTH: usize = 16;

/// How many sockets have been opened.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, PartialEq)]
enum Subject {
    OneAtATime,
    Pool,
    Pipelined { proven: bool },
}

const SUBJECTS: [Subject; 4] = [
    Subject::OneAtATime,
    Subject::Pool,
    Subject::Pipelined { proven: false },
    Subject::Pipelined { proven: true },
];

enum Client {
    Hyper(Vec<SendRequest<Empty<Bytes>>>),
    Pipelined(PipelinedConnection<Empty<Bytes>>),
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::OneAtATime => "hyper, one at a time",
            Self::Pool => "hyper, 16 connections",
            Self::Pipelined { proven: false } => "pipelined",
            Self::Pipelined { proven: true } => "pipelined, server known",
        }
    }

    async fn connect(self, addr: SocketAddr) -> Client {
        match self {
            Self::OneAtATime => Client::Hyper(vec![hyper_connection(addr).await]),
            Self::Pool => {
                let opening: Vec<_> = (0..DEPTH)
                    .map(|_| tokio::spawn(hyper_connection(addr)))
                    .collect();
                let mut all = Vec::new();
                for one in opening {
                    all.push(one.await.expect("no panic"));
                }
                Client::Hyper(all)
            }
            Self::Pipelined { proven } => {
                let depth = NonZeroUsize::new(DEPTH).expect("not zero");
                let builder = Builder::new().depth(depth).assume_proven(proven);
                let (connection, driver) = builder.handshake(connect(addr).await);
                tokio::spawn(driver);
                Client::Pipelined(connection)
            }
        }
    }
}

impl Client {
    /// Makes requests, as many at once as there is room for.
    async fn make(&mut self, requests: usize) {
        match self {
            Self::Hyper(connections) => {
                let share = requests / connections.len();
                let tasks: Vec<_> = connections
                    .drain(..)
                    .map(|mut sender| {
                        tokio::spawn(async move {
                            for _ in 0..share {
                                sender.ready().await.expect("open");
                                let response =
                                    sender.send_request(request()).await.expect("a response");
                                response.into_body().collect().await.expect("a body");
                            }
                            sender
                        })
                    })
                    .collect();
                for task in tasks {
                    connections.push(task.await.expect("no panic"));
                }
            }
            Self::Pipelined(connection) => {
                let tasks: Vec<_> = (0..DEPTH)
                    .map(|_| {
                        let mut connection = connection.clone();
                        tokio::spawn(async move {
                            for _ in 0..requests / DEPTH {
                                let ready = connection.ready().await.expect("open");
                                let response = ready.call(request()).await.expect("a response");
                                response.into_body().collect().await.expect("a body");
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
            }
        }
    }
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::get("http://x/").header("host", "x");
    request.body(Empty::new()).expect("a request")
}

async fn connect(addr: SocketAddr) -> TcpStream {
    SOCKETS.fetch_add(1, Ordering::Relaxed);
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("a live socket");
    stream
}

async fn hyper_connection(addr: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(connect(addr).await);
    let (sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("nothing to negotiate");
    tokio::spawn(connection);
    sender
}

// ===== the proxy =====

/// A proxy that delays what it forwards, in both directions. Who connects waits a round trip, as the
/// handshake with the proxy itself takes none.
async fn delayed(upstream: SocketAddr, one_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("accepts");
            tokio::spawn(async move {
                let connected = Instant::now() + one_way * 2;
                client.set_nodelay(true).expect("a live socket");
                let server = TcpStream::connect(upstream).await.expect("connects");
                server.set_nodelay(true).expect("a live socket");
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                tokio::spawn(delay(client_read, server_write, one_way, connected));
                tokio::spawn(delay(server_read, client_write, one_way, connected));
            });
        }
    });
    addr
}

async fn delay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    one_way: Duration,
    connected: Instant,
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
            Ok(_) => {
                let sent = Instant::now().max(connected);
                drop(sender.send((sent + one_way, bytes)));
            }
        }
    }
}

// ===== the measurements =====

pub(crate) fn round_trips(test: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = Process::start(Kind::Guard.name());
    println!(
        "\n{:<8} {:<24} {:>12} {:>8} {:>16} {:>14}",
        "RTT ms", "client", "requests/s", "sockets", "CPU us/request", "cold burst ms"
    );
    for round_trip in [0, 2, 20, 100] {
        let one_way = Duration::from_millis(round_trip) / 2;
        let addr = match round_trip {
            0 => server.addr,
            _ => runtime.block_on(delayed(server.addr, one_way)),
        };
        let (requests, rounds) = match (test, round_trip) {
            (true, _) => (DEPTH, 1),
            (false, 0) => (20_000, 11),
            (false, 2) => (640, 7),
            (false, _) => (64, 5),
        };
        measure(&runtime, addr, round_trip, requests, rounds);
    }
}

fn measure(runtime: &Runtime, addr: SocketAddr, round_trip: u64, requests: usize, rounds: usize) {
    let mut sockets = SUBJECTS.map(|_| 0);
    let mut warm = Vec::new();
    for (at, subject) in SUBJECTS.into_iter().enumerate() {
        let before = SOCKETS.load(Ordering::Relaxed);
        let mut client = runtime.block_on(subject.connect(addr));
        runtime.block_on(client.make(DEPTH));
        sockets[at] = SOCKETS.load(Ordering::Relaxed) - before;
        warm.push(client);
    }
    let mut results = SUBJECTS.map(|_| Vec::new());
    for round in 0..rounds {
        for turn in 0..SUBJECTS.len() {
            let at = (round + turn) % SUBJECTS.len();
            let (start, before) = (Instant::now(), cpu_of("self"));
            runtime.block_on(warm[at].make(requests));
            let wall = Instant::now().saturating_duration_since(start);
            let cpu = cpu_of("self").saturating_sub(before);
            let start = Instant::now();
            runtime.block_on(async { SUBJECTS[at].connect(addr).await.make(DEPTH).await });
            let cold = Instant::now().saturating_duration_since(start);
            results[at].push((
                requests as f64 / wall.as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / requests as f64,
                cold.as_secs_f64() * 1e3,
            ));
        }
    }
    for (at, subject) in SUBJECTS.iter().enumerate() {
        // The proxy runs in this process: CPU time means something only without it.
        let cpu = match round_trip {
            0 => format!("{:.1}", median(results[at].iter().map(|round| round.1))),
            _ => "-".to_owned(),
        };
        println!(
            "{round_trip:<8} {:<24} {:>12.0} {:>8} {cpu:>16} {:>14.2}",
            subject.name(),
            median(results[at].iter().map(|round| round.0)),
            sockets[at],
            median(results[at].iter().map(|round| round.2)),
        );
    }
}

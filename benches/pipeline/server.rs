//! The server side: three servers under the same pipelined load.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, service_fn};
use tower_pipeline_guard::Pipeline;

use crate::process::{Process, median};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Stock,
    PipelineFlush,
    Guard,
}

const KINDS: [Kind; 3] = [Kind::Stock, Kind::PipelineFlush, Kind::Guard];

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock hyper",
            Self::PipelineFlush => "pipeline_flush",
            Self::Guard => "guard",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        KINDS
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("a server")
    }
}

async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/slow" => {
            sleep(Duration::from_millis(100)).await;
            Bytes::from_static(b"Hello, World!")
        }
        "/100k" => Bytes::from(vec![b'x'; 100 * 1024]),
        _ => Bytes::from_static(b"Hello, World!"),
    };
    Ok(Response::new(Full::new(body)))
}

/// Serves in this thread, for ever.
pub(crate) fn serve(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        println!("{}", listener.local_addr().expect("bound"));
        let eight = NonZeroUsize::new(8).expect("not zero");
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            stream.set_nodelay(true).expect("a live socket");
            let mut builder = http1::Builder::new();
            if kind == Kind::Guard {
                let (io, guard) = Pipeline::new().parallel(eight).wrap(stream);
                let service = ServiceBuilder::new().layer(guard).service_fn(answer);
                let service = TowerToHyperService::new(service);
                tokio::spawn(builder.serve_connection(TokioIo::new(io), service));
            } else {
                builder.pipeline_flush(kind == Kind::PipelineFlush);
                let service = TowerToHyperService::new(service_fn(answer));
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        }
    });
}

/// A client that knows how long a response is, and does nothing but count bytes.
struct Load {
    stream: TcpStream,
    request: Vec<u8>,
    response: usize,
    buf: Vec<u8>,
}

impl Load {
    fn connect(addr: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(addr).expect("connects");
        stream.set_nodelay(true).expect("a live socket");
        let mut load = Self {
            stream,
            request: format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
            response: 0,
            buf: vec![0; 256 * 1024],
        };
        load.stream.write_all(&load.request).expect("open");
        let mut seen = Vec::new();
        while !seen.ends_with(b"Hello, World!") {
            let read = load.stream.read(&mut load.buf).expect("open");
            assert_ne!(read, 0, "closed");
            seen.extend_from_slice(&load.buf[..read]);
        }
        load.response = seen.len();
        load
    }

    /// Sends bursts, each when the one before is answered.
    fn bursts(&mut self, depth: usize, count: usize) {
        let burst = self.request.repeat(depth);
        for _ in 0..count {
            self.stream.write_all(&burst).expect("open");
            let mut left = self.response * depth;
            while left > 0 {
                let read = self.stream.read(&mut self.buf).expect("open");
                assert_ne!(read, 0, "closed");
                left = left.checked_sub(read).expect("no more than was asked for");
            }
        }
    }
}

/// One round of one server.
struct Round {
    rate: f64,
    cpu: f64,
}

pub(crate) fn depths(test: bool) {
    println!(
        "{:<6} {:<16} {:>12} {:>10} {:>16} {:>12}",
        "depth", "server", "requests/s", "to stock", "CPU us/request", "RSS KiB"
    );
    let rounds = if test { 1 } else { 15 };
    for depth in [1, 4, 16, 64, 256] {
        let bursts = match (test, depth) {
            (true, _) => 3,
            (false, 1) => 2_000,
            (false, _) => (20_000 / depth).min(2_000),
        };
        let servers = KINDS.map(|kind| Process::start(kind.name()));
        let mut loads: Vec<_> = servers
            .iter()
            .map(|server| Load::connect(server.addr, "/"))
            .collect();
        let mut results = KINDS.map(|_| Vec::new());
        for round in 0..=rounds {
            for turn in 0..KINDS.len() {
                // Each is first as often as the others.
                let at = (round + turn) % KINDS.len();
                let (start, before) = (Instant::now(), servers[at].cpu());
                loads[at].bursts(depth, bursts);
                let wall = Instant::now().saturating_duration_since(start);
                let cpu = servers[at].cpu().saturating_sub(before);
                let requests = (depth * bursts) as f64;
                if round > 0 || test {
                    results[at].push(Round {
                        rate: requests / wall.as_secs_f64(),
                        cpu: cpu.as_secs_f64() * 1e6 / requests,
                    });
                }
            }
        }
        let rate = |at: usize| median(results[at].iter().map(|round| round.rate));
        for (at, kind) in KINDS.iter().enumerate() {
            println!(
                "{depth:<6} {:<16} {:>12.0} {:>10.2} {:>16.2} {:>12}",
                kind.name(),
                rate(at),
                rate(at) / rate(0),
                median(results[at].iter().map(|round| round.cpu)),
                servers[at].resident()
            );
        }
    }
}

/// Memory while a client asks for two gigabytes and reads nothing.
pub(crate) fn flood(test: bool) {
    println!(
        "\n{:<23} {:>14} {:>14}",
        "20,000 of 100 KiB unread", "RSS KiB before", "RSS KiB after"
    );
    for kind in KINDS {
        let server = Process::start(kind.name());
        let mut load = Load::connect(server.addr, "/");
        let before = server.resident();
        let count = if test { 20 } else { 20_000 };
        let flood = b"GET /100k HTTP/1.1\r\nHost: x\r\n\r\n".repeat(count);
        let timeout = Some(Duration::from_secs(1));
        load.stream.set_write_timeout(timeout).expect("not zero");
        match load.stream.write_all(&flood) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("{error}")
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_secs(if test { 0 } else { 2 }));
        println!("{:<24} {before:>14} {:>14}", kind.name(), server.resident());
    }
}

pub(crate) fn eight_slow(test: bool) {
    println!("\n{:<23} {:>14}", "8 of 100 ms, at once", "ms");
    let rounds = if test { 1 } else { 5 };
    for kind in [Kind::Stock, Kind::Guard] {
        let server = Process::start(kind.name());
        let mut load = Load::connect(server.addr, "/slow");
        let times = (0..rounds).map(|_| {
            let start = Instant::now();
            load.bursts(8, 1);
            Instant::now().saturating_duration_since(start)
        });
        println!(
            "{:<23} {:>14.1}",
            kind.name(),
            median(times.map(|time| time.as_secs_f64() * 1e3))
        );
    }
}

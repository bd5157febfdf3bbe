//! The servers that are compared, each with one thread.

use std::convert::Infallible;
use std::io::{BufRead, Write};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tower_conn_serve::{Drain, Policy, Server, Shared};

use crate::process::resident;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// hyper's HTTP/1 and nothing else.
    Hyper,
    /// This server with the same service.
    Ours,
    /// This server, which never parks.
    OursHot,
    /// This server, which parks soon.
    OursParked,
    AxumServe,
    /// This server with the same router.
    OursAxum,
    OursAxumHot,
    OursAxumParked,
}

impl Kind {
    pub(crate) const LOADED: [Self; 4] = [Self::Hyper, Self::Ours, Self::AxumServe, Self::OursAxum];
    pub(crate) const IDLE: [Self; 6] = [
        Self::Hyper,
        Self::OursHot,
        Self::OursParked,
        Self::AxumServe,
        Self::OursAxumHot,
        Self::OursAxumParked,
    ];

    pub(crate) fn named(name: &str) -> Self {
        let all = [Self::LOADED.as_slice(), Self::IDLE.as_slice()].concat();
        all.into_iter()
            .find(|kind| format!("{kind:?}") == name)
            .expect("a kind of server")
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Hyper => "bare hyper",
            Self::Ours => "tower-conn-serve, tower service",
            Self::OursHot => "tower-conn-serve, tower service, hot",
            Self::OursParked => "tower-conn-serve, tower service, parked",
            Self::AxumServe => "axum::serve",
            Self::OursAxum => "tower-conn-serve, axum",
            Self::OursAxumHot => "tower-conn-serve, axum, hot",
            Self::OursAxumParked => "tower-conn-serve, axum, parked",
        }
    }

    pub(crate) const fn drains(self) -> bool {
        !matches!(self, Self::Hyper | Self::AxumServe)
    }

    /// Whether its connections park within a few hundred milliseconds.
    pub(crate) const fn parks(self) -> bool {
        matches!(self, Self::OursParked | Self::OursAxumParked)
    }

    fn server(self) -> Server {
        let server = Server::new()
            .policy(Policy::safe())
            .drain(Drain::within(Duration::from_secs(30)));
        match self {
            Self::OursHot | Self::OursAxumHot => server.park_after(None),
            Self::OursParked | Self::OursAxumParked => {
                server.park_after(Duration::from_millis(100))
            }
            _ => server,
        }
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

/// Serves until the standard input ends. Tells its address, and its memory whenever it reads `memory`;
/// drains at `drain`.
pub(crate) fn run(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (lines, commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    runtime.block_on(serve(kind, commands));
}

async fn serve(kind: Kind, mut commands: UnboundedReceiver<String>) {
    let tcp = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    say(&format!("{}", tcp.local_addr().expect("bound").port()));
    let router = Router::new().route("/", get(|| async { "hello" }));
    let (mut handle, mut ended) = (None, None);
    match kind {
        Kind::Hyper => {
            tokio::spawn(async move {
                let http = http1::Builder::new();
                while let Ok((stream, _)) = tcp.accept().await {
                    let _ = stream.set_nodelay(true);
                    let service = hyper::service::service_fn(hello);
                    tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
                }
            });
        }
        Kind::AxumServe => {
            tokio::spawn(async move { axum::serve(tcp, router).await });
        }
        Kind::OursAxum | Kind::OursAxumHot | Kind::OursAxumParked => {
            let serve = kind.server().serve(tcp, router);
            handle = Some(serve.handle());
            ended = Some(tokio::spawn(async move { serve.await }));
        }
        Kind::Ours | Kind::OursHot | Kind::OursParked => {
            let service = tower::service_fn(hello);
            let serve = kind.server().serve(tcp, Shared::new(service));
            handle = Some(serve.handle());
            ended = Some(tokio::spawn(async move { serve.await }));
        }
    }
    while let Some(command) = commands.recv().await {
        match command.as_str() {
            "memory" => {
                let stats = crate::ALLOCATOR.stats();
                let live = stats.bytes_allocated - stats.bytes_deallocated;
                let parked = handle.as_ref().map_or(0, |handle| handle.stats().parked);
                say(&format!("{live} {} {parked}", resident(std::process::id())));
            }
            "drain" => {
                if let (Some(handle), Some(ended)) = (handle.take(), ended.take()) {
                    handle.shutdown();
                    let summary = ended.await.expect("it drains").expect("it never fails");
                    say(&format!("{} {}", summary.took.as_micros(), summary.drained));
                }
            }
            _ => return,
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

//! A server under a reaper, in memory and on sockets, over hyper, hyper-util and axum.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, service_fn};
use tower_conn_core::{CloseReason, Connection, ConnectionListener};
use tower_conn_testkit::app::{AppBody, answer, route, status, text};
pub(crate) use tower_conn_testkit::clock::{millis, secs};
use tower_conn_testkit::raw::RawStream;
pub(crate) use tower_conn_testkit::raw::{GET, get};
use tower_idle_reaper::{
    Accept, IdleReaper, Policy, ReapHandle, ReapLayer, ReapedIo, ReapedListener,
};

/// What serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Http1,
    Http1Upgrades,
    Auto,
    AutoUpgrades,
    Http2,
    Axum,
}

impl Engine {
    /// Those that speak HTTP/1.
    pub(crate) const HTTP1: [Self; 5] = [
        Self::Http1,
        Self::Http1Upgrades,
        Self::Auto,
        Self::AutoUpgrades,
        Self::Axum,
    ];
    /// Those that the reaper drives and that speak HTTP/2.
    pub(crate) const HTTP2: [Self; 3] = [Self::Auto, Self::AutoUpgrades, Self::Http2];
}

/// A server, and how often its handler ran.
pub(crate) struct Server {
    pub(crate) reaper: IdleReaper,
    pub(crate) engine: Engine,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) pipe_size: usize,
    axum: Option<mpsc::UnboundedSender<(DuplexStream, SocketAddr)>>,
}

pub(crate) type Client = RawStream<DuplexStream>;

impl Server {
    pub(crate) fn new(engine: Engine, policy: Policy) -> Self {
        Self::with(engine, IdleReaper::new(policy))
    }

    pub(crate) fn with(engine: Engine, reaper: IdleReaper) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let axum = (engine == Engine::Axum).then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let listener = ConnectionListener::new(ReapedListener::new(Pipes(receiver), &reaper));
            serve_axum(listener, Arc::clone(&calls));
            sender
        });
        Self {
            reaper,
            engine,
            calls,
            pipe_size: 64 * 1024,
            axum,
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// A client of its own address; `None` instead of a handle under axum.
    pub(crate) fn connect(&self) -> Client {
        self.connect_from(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    pub(crate) fn connect_from(&self, addr: SocketAddr) -> Client {
        RawStream::over(self.pipe_from(addr)).deadline(secs(1000))
    }

    pub(crate) fn pipe(&self) -> DuplexStream {
        self.pipe_from(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    pub(crate) fn pipe_from(&self, addr: SocketAddr) -> DuplexStream {
        let (near, far) = duplex(self.pipe_size);
        if let Some(axum) = &self.axum {
            axum.send((far, addr)).expect("axum serves");
            return near;
        }
        let reaper = self.reaper.clone();
        let calls = Arc::clone(&self.calls);
        let engine = self.engine;
        tokio::spawn(async move {
            if let Ok(io) = reaper.admit(far, Some(addr)).await {
                drive(engine, &reaper, io, calls).await;
            }
        });
        near
    }

    /// How many connections ended, for exactly these reasons.
    pub(crate) fn ended(&self) -> Vec<(CloseReason, u64)> {
        self.reaper.closed_by_reason().collect()
    }

    /// Waits until all connections have ended.
    pub(crate) async fn until_empty(&self) {
        while self.reaper.connections() > 0 {
            tokio::time::sleep(millis(1)).await;
        }
    }
}

/// Serves one connection to its end, with hyper or hyper-util.
pub(crate) async fn drive<T>(
    engine: Engine,
    reaper: &IdleReaper,
    io: ReapedIo<T>,
    calls: Arc<AtomicUsize>,
) -> CloseReason
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection = io.connection();
    let service = ServiceBuilder::new()
        .layer(ReapLayer::of(connection.clone()))
        .service(service_fn(move |request| {
            handle(request, Arc::clone(&calls))
        }));
    let service = TowerToHyperService::new(service);
    let io = TokioIo::new(io);
    match engine {
        Engine::Http1 => {
            let future = http1::Builder::new().serve_connection(io, service);
            reaper.watch(future, connection).await
        }
        Engine::Http1Upgrades => {
            let future = http1::Builder::new()
                .half_close(true)
                .serve_connection(io, service)
                .with_upgrades();
            reaper.watch(future, connection).await
        }
        Engine::Http2 => {
            let future = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(io, service);
            reaper.watch(future, connection).await
        }
        Engine::Auto => {
            let builder = auto::Builder::new(TokioExecutor::new());
            let future = builder.serve_connection(io, service).into_owned();
            reaper.watch(future, connection).await
        }
        Engine::AutoUpgrades => {
            let builder = auto::Builder::new(TokioExecutor::new());
            let future = builder
                .serve_connection_with_upgrades(io, service)
                .into_owned();
            reaper.watch(future, connection).await
        }
        Engine::Axum => unreachable!("axum has a loop of its own"),
    }
}

/// Serves with an unmodified `axum::serve`.
pub(crate) fn serve_axum<L: Accept>(
    listener: ConnectionListener<ReapedListener<L>>,
    calls: Arc<AtomicUsize>,
) {
    let service = service_fn(move |request| handle(request, Arc::clone(&calls)));
    let app = axum::Router::new()
        .fallback_service(service)
        .layer(ReapLayer::new());
    let make = app.into_make_service_with_connect_info::<Connection>();
    tokio::spawn(async move { axum::serve(listener, make).await });
}

/// Listens on a port of the loopback interface.
pub(crate) async fn listen(engine: Engine, policy: Policy) -> (IdleReaper, SocketAddr) {
    let reaper = IdleReaper::new(policy);
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = tcp.local_addr().expect("bound");
    if engine == Engine::Axum {
        serve_axum(reaper.listener(tcp), Arc::default());
        return (reaper, addr);
    }
    let mut listener = ReapedListener::new(tcp, &reaper);
    let serving = reaper.clone();
    tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await;
            let reaper = serving.clone();
            tokio::spawn(async move { drive(engine, &reaper, io, Arc::default()).await });
        }
    });
    (reaper, addr)
}

/// A listener whose connections are pipes.
pub(crate) struct Pipes(pub(crate) mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>);

impl Accept for Pipes {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    fn peer_of(addr: &SocketAddr) -> Option<SocketAddr> {
        Some(*addr)
    }
}

/// Answers by path: as [`answer`] does, `/upgrade` as an echo, and `/handle/N` with a use of the handle.
pub(crate) async fn handle<B>(
    mut request: Request<B>,
    calls: Arc<AtomicUsize>,
) -> Result<Response<AppBody>, Infallible>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    calls.fetch_add(1, Ordering::Relaxed);
    Ok(match route(&request) {
        ("upgrade", _) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let mut io = TokioIo::new(upgraded);
                let mut buf = [0; 1024];
                while let Ok(n @ 1..) = io.read(&mut buf).await {
                    if io.write_all(&buf[..n]).await.is_err() {
                        return;
                    }
                }
            });
            let mut response = status(StatusCode::SWITCHING_PROTOCOLS, "");
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, header::HeaderValue::from_static("echo"));
            headers.insert(
                header::CONNECTION,
                header::HeaderValue::from_static("upgrade"),
            );
            response
        }
        ("handle", number) => {
            let handle = ReapHandle::of(request.extensions()).expect("under a reaper");
            match number {
                1 => drop(handle.close_after_response()),
                2 => handle.drain(secs(5)),
                3 => drop(handle.abort()),
                4 => {
                    let kept = handle.keep_open();
                    tokio::spawn(async move {
                        tokio::time::sleep(secs(500)).await;
                        drop(kept);
                    });
                }
                _ => {}
            }
            if number == 2 {
                pending::<()>().await;
            }
            text("handled")
        }
        _ => answer(request).await,
    })
}

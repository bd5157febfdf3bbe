//! What serves the connections.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{Layer, service_fn};
use tower_conn_core::{Connection, ConnectionListener};
use tower_idle_reaper::{Accept, IdleReaper, ReapLayer, ReapedListener};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Plain,
    Timer,
    Axum,
    Reaped,
    AxumReaped,
}

impl Side {
    pub(crate) const fn is_reaped(self) -> bool {
        matches!(self, Self::Reaped | Self::AxumReaped)
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "plain" => Self::Plain,
            "timer" => Self::Timer,
            "axum" => Self::Axum,
            "reaped" => Self::Reaped,
            "axum-reaped" => Self::AxumReaped,
            _ => return Err(format!("no such side: {text}")),
        })
    }
}

/// A server of connections in memory, and of one listener.
pub(crate) struct Server {
    side: Side,
    reaper: IdleReaper,
    pipes: mpsc::UnboundedSender<DuplexStream>,
}

impl Server {
    pub(crate) fn new(side: Side, reaper: IdleReaper) -> Self {
        let (pipes, accepted) = mpsc::unbounded_channel();
        let server = Self {
            side,
            reaper,
            pipes,
        };
        server.serve(Pipes(accepted));
        server
    }

    /// The client's end of a connection.
    pub(crate) fn pipe(&self) -> DuplexStream {
        let (near, far) = duplex(256);
        // The server runs as long as the process.
        let _ = self.pipes.send(far);
        near
    }

    /// Serves another listener as well.
    pub(crate) async fn listen(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        self.serve(listener);
        Ok(addr)
    }

    fn serve<L>(&self, mut listener: L)
    where
        L: Accept + axum::serve::Listener<Io = <L as Accept>::Io>,
        <L as axum::serve::Listener>::Addr: fmt::Debug,
    {
        let (side, reaper) = (self.side, self.reaper.clone());
        match side {
            Side::Plain | Side::Timer => drop(tokio::spawn(async move {
                while let Ok((io, _)) = Accept::accept(&mut listener).await {
                    serve_plain(io, side == Side::Timer);
                }
            })),
            Side::Reaped => drop(tokio::spawn(async move {
                let mut listener = ReapedListener::new(listener, &reaper);
                loop {
                    let (io, _) = listener.accept().await;
                    let connection = io.connection();
                    let service = ReapLayer::of(connection.clone()).layer(service_fn(hello));
                    let service = TowerToHyperService::new(service);
                    let engine = http1::Builder::new().serve_connection(TokioIo::new(io), service);
                    tokio::spawn(reaper.watch(engine, connection));
                }
            })),
            Side::Axum => {
                let app = Router::new().route("/", get(|| async { "hello" }));
                tokio::spawn(axum::serve(listener, app).into_future());
            }
            Side::AxumReaped => {
                let app = Router::new()
                    .route("/", get(|| async { "hello" }))
                    .layer(ReapLayer::new())
                    .into_make_service_with_connect_info::<Connection>();
                let listener = ConnectionListener::new(ReapedListener::new(listener, &reaper));
                tokio::spawn(axum::serve(listener, app).into_future());
            }
        }
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

fn serve_plain(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, timer: bool) {
    let service = TowerToHyperService::new(service_fn(hello));
    let mut engine = http1::Builder::new();
    if timer {
        engine
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(75));
    }
    tokio::spawn(engine.serve_connection(TokioIo::new(io), service));
}

/// The connections in memory.
struct Pipes(mpsc::UnboundedReceiver<DuplexStream>);

impl Pipes {
    async fn next(&mut self) -> DuplexStream {
        match self.0.recv().await {
            Some(io) => io,
            None => std::future::pending().await,
        }
    }
}

impl Accept for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        Ok((self.next().await, ()))
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }

    fn peer_of(_: &()) -> Option<SocketAddr> {
        None
    }
}

impl axum::serve::Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        (self.next().await, ())
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

//! A server behind the guard, three ways: hyper's http1, hyper-util's auto, `axum::serve`.
#![allow(dead_code, reason = "each test uses a part")]

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Semaphore};
use tower::{Layer, service_fn};
use tower_conn_testkit::raw::RawClient;
use tower_idle_reaper::{IdleReaper, Policy};
use tower_pipeline_guard::{GuardedMakeService, LookaheadListener, Pipeline, RunsAhead};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http1,
    Auto,
    Axum,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Http1, Kind::Auto, Kind::Axum];

/// What the handlers did, and what they wait for.
pub(crate) struct App {
    log: Mutex<Vec<String>>,
    /// Each permit lets one `/slow..` handler finish.
    pub(crate) gate: Semaphore,
    /// `/together` handlers finish when eight of them run.
    together: Barrier,
    running: AtomicUsize,
    pub(crate) peak: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
    pub(crate) body_frames: Arc<AtomicUsize>,
    pub(crate) writes: AtomicUsize,
    /// Bytes that were read from sockets.
    pub(crate) read: AtomicUsize,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) app: Arc<App>,
}

struct Running {
    app: Arc<App>,
    path: String,
    done: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.app.running.fetch_sub(1, SeqCst);
        if !self.done {
            self.app.cancelled.fetch_add(1, SeqCst);
        }
        let what = if self.done { "end" } else { "cancel" };
        self.app.note(&format!("{what} {}", self.path));
    }
}

impl App {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            gate: Semaphore::new(0),
            together: Barrier::new(8),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            body_frames: Arc::default(),
            writes: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        })
    }

    fn note(&self, line: &str) {
        self.log.lock().expect("no panic").push(line.to_owned());
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    pub(crate) fn started(&self, path: &str) -> bool {
        self.log().iter().any(|line| {
            line.strip_prefix("start ")
                .or_else(|| line.strip_prefix("ahead "))
                == Some(path)
        })
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("not in time: {what}; {:?}", self.log());
    }

    async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path().to_owned();
        let ahead = request.extensions().get::<RunsAhead>().is_some();
        self.note(&format!("{} {path}", if ahead { "ahead" } else { "start" }));
        let now = self.running.fetch_add(1, SeqCst) + 1;
        self.peak.fetch_max(now, SeqCst);
        let mut running = Running {
            app: Arc::clone(&self),
            path: path.clone(),
            done: false,
        };
        let mut response = Response::new(Body::from(path.clone()));
        if path.starts_with("/slow") {
            self.gate.acquire().await.expect("open").forget();
            if path.ends_with("close") {
                let close = header::HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
        } else if path.starts_with("/together") {
            self.together.wait().await;
        } else if path.starts_with("/close") {
            response.headers_mut().insert(
                header::CONNECTION,
                header::HeaderValue::from_static("close"),
            );
            if path.ends_with("300k") {
                *response.body_mut() = Body::from(vec![b'x'; 300 * 1024]);
            }
        } else if path.starts_with("/100k") {
            *response.body_mut() = Body::from(vec![b'x'; 100 * 1024]);
        } else if path.starts_with("/big") {
            let frames = Arc::clone(&self.body_frames);
            let stream = futures_stream(move || {
                frames.fetch_add(1, SeqCst);
                Bytes::from_static(&[b'y'; 16 * 1024])
            });
            *response.body_mut() = Body::new(StreamBody::new(stream));
        } else if path.starts_with("/413") {
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        } else if path.starts_with("/ws") {
            *response.status_mut() = StatusCode::FORBIDDEN;
        } else if request.method() == Method::POST && !path.starts_with("/drop") {
            match request.into_body().collect().await {
                Ok(body) => *response.body_mut() = Body::from(body.to_bytes()),
                Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
            }
        }
        running.done = true;
        Ok(response)
    }
}

/// Endless frames, without a stream crate.
fn futures_stream(
    next: impl FnMut() -> Bytes + Send + 'static,
) -> impl futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    struct Endless<F>(F);
    impl<F: FnMut() -> Bytes + Unpin> futures_core::Stream for Endless<F> {
        type Item = Result<Frame<Bytes>, Infallible>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok(Frame::data((self.0)()))))
        }
    }
    Endless(Box::new(next) as Box<dyn FnMut() -> Bytes + Send>)
}

impl Server {
    pub(crate) async fn start(kind: Kind, pipeline: Pipeline) -> Self {
        Self::start_with(kind, pipeline, |http1| {
            http1.timer(hyper_util::rt::TokioTimer::new());
        })
        .await
    }

    pub(crate) async fn start_with(
        kind: Kind,
        pipeline: Pipeline,
        tune: impl Fn(&mut hyper::server::conn::http1::Builder) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound");
        let app = App::new();
        let server = Self {
            addr,
            app: Arc::clone(&app),
        };
        if kind == Kind::Axum {
            let listener = CountListener {
                listener,
                app: Arc::clone(&app),
            };
            let router = Router::new()
                .fallback(move |request: axum::extract::Request| Arc::clone(&app).handle(request));
            tokio::spawn(
                axum::serve(
                    LookaheadListener::new(listener, pipeline),
                    GuardedMakeService::new(router),
                )
                .into_future(),
            );
            return server;
        }
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                stream.set_nodelay(true).expect("a live socket");
                let (io, guard) = pipeline.wrap(Counted {
                    stream,
                    app: Arc::clone(&app),
                });
                let app = Arc::clone(&app);
                let service =
                    guard.layer(service_fn(move |request| Arc::clone(&app).handle(request)));
                let service = TowerToHyperService::new(service);
                let io = TokioIo::new(io);
                if kind == Kind::Auto {
                    tokio::spawn(async move {
                        let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                            .serve_connection_with_upgrades(io, service)
                            .await;
                    });
                } else {
                    let mut http1 = hyper::server::conn::http1::Builder::new();
                    tune(&mut http1);
                    tokio::spawn(http1.serve_connection(io, service).with_upgrades());
                }
            }
        });
        server
    }

    /// hyper's http1 on a transport of tower-idle-reaper, which closes in stages.
    pub(crate) async fn lingering(pipeline: Pipeline) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound");
        let app = App::new();
        let server = Self {
            addr,
            app: Arc::clone(&app),
        };
        tokio::spawn(async move {
            let reaper = IdleReaper::new(Policy::safe());
            loop {
                let (stream, peer) = listener.accept().await.expect("accepts");
                let (io, guard) = pipeline.wrap(reaper.wrap(stream, Some(peer)));
                let app = Arc::clone(&app);
                let service =
                    guard.layer(service_fn(move |request| Arc::clone(&app).handle(request)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service)),
                );
            }
        });
        server
    }

    pub(crate) async fn client(&self) -> RawClient {
        RawClient::connect(self.addr).await.expect("connects")
    }
}

struct CountListener {
    listener: TcpListener,
    app: Arc<App>,
}

impl axum::serve::Listener for CountListener {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        let (stream, addr) = self.listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("a live socket");
        (
            Counted {
                stream,
                app: Arc::clone(&self.app),
            },
            addr,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Counts what is read from the socket, and the writes that reach it.
pub(crate) struct Counted {
    stream: TcpStream,
    app: Arc<App>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.app.read.fetch_add(buf.filled().len() - before, SeqCst);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.app.writes.fetch_add(1, SeqCst);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.app.writes.fetch_add(1, SeqCst);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Heads of GETs to these paths.
pub(crate) fn gets<'a>(paths: impl IntoIterator<Item = &'a str>) -> String {
    paths
        .into_iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect()
}

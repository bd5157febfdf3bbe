//! Servers in memory and on sockets, and what they serve.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod h2;

use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::service_fn;
use tower_conn_serve::{Accept, Handle, Server, Shared, Summary};
use tower_conn_testkit::raw::RawStream;

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The request for a path.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) type Client = RawStream<DuplexStream>;

/// A server whose connections are pipes, under whatever clock the test has.
pub(crate) struct Pipes {
    pub(crate) handle: Handle,
    pub(crate) serving: JoinHandle<io::Result<Summary>>,
    pub(crate) calls: Arc<AtomicUsize>,
    sender: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
}

/// A listener whose connections are pipes.
pub(crate) struct PipeListener(mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>);

impl PipeListener {
    pub(crate) fn new() -> (mpsc::UnboundedSender<(DuplexStream, SocketAddr)>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(receiver))
    }
}

impl Accept for PipeListener {
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

impl Pipes {
    pub(crate) fn new(server: Server) -> Self {
        let (sender, listener) = PipeListener::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let service = service_fn(move |request| handle(request, Arc::clone(&counted)));
        let serve = server.serve(listener, Shared::new(service));
        Self {
            handle: serve.handle(),
            serving: tokio::spawn(serve.into_future()),
            calls,
            sender,
        }
    }

    pub(crate) fn pipe(&self) -> DuplexStream {
        let (near, far) = duplex(64 * 1024);
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.sender.send((far, addr)).expect("it serves");
        near
    }

    pub(crate) fn connect(&self) -> Client {
        RawStream::over(self.pipe()).deadline(secs(10_000))
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits until all connections have ended.
    pub(crate) async fn until_empty(&self) {
        while self.handle.reaper().connections() > 0 {
            tokio::time::sleep(millis(1)).await;
        }
    }
}

/// A server on a port of the loopback interface.
pub(crate) async fn listen(
    server: Server,
) -> (Handle, SocketAddr, JoinHandle<io::Result<Summary>>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = tcp.local_addr().expect("bound");
    let service = service_fn(|request| handle(request, Arc::default()));
    let serve = server.serve(tcp, Shared::new(service));
    (serve.handle(), addr, tokio::spawn(serve.into_future()))
}

pub(crate) type TestBody = UnsyncBoxBody<Bytes, Infallible>;

fn full(text: &'static str) -> Response<TestBody> {
    Response::new(Full::from(text).boxed_unsync())
}

/// Answers by path.
pub(crate) async fn handle<B>(
    request: Request<B>,
    calls: Arc<AtomicUsize>,
) -> Result<Response<TestBody>, Infallible>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    calls.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path().to_owned();
    let (name, number) = path[1..]
        .split_once('/')
        .unwrap_or_else(|| (&path[1..], "0"));
    let number: u64 = number.parse().unwrap_or(0);
    Ok(match name {
        "slow" => {
            tokio::time::sleep(secs(number)).await;
            full("late")
        }
        "stream" => {
            let (frames, body) = mpsc::channel(1);
            tokio::spawn(async move {
                for _ in 0..number {
                    tokio::time::sleep(secs(1)).await;
                    let frame = http_body::Frame::data(Bytes::from_static(b"tick"));
                    if frames.send(Ok(frame)).await.is_err() {
                        return;
                    }
                }
            });
            Response::new(StreamBody::new(Receiver(body)).boxed_unsync())
        }
        "big" => {
            let body = Bytes::from(vec![b'x'; usize::try_from(number).unwrap_or(0)]);
            Response::new(Full::from(body).boxed_unsync())
        }
        "upload" => match request.into_body().collect().await {
            Ok(_) => full("taken"),
            Err(_) => {
                let mut response = full("the body failed");
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        },
        "later" => {
            // Answers at once, and reads the body in its own time.
            tokio::spawn(async move {
                tokio::time::sleep(secs(number)).await;
                let _ = request.into_body().collect().await;
            });
            full("accepted")
        }
        "panic" => panic!("the handler panics"),
        _ => full("hello"),
    })
}

/// A channel as a stream of frames.
struct Receiver(mpsc::Receiver<Result<http_body::Frame<Bytes>, Infallible>>);

impl futures_core::Stream for Receiver {
    type Item = Result<http_body::Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

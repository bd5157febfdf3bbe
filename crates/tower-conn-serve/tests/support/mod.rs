//! Servers in memory and on sockets, and what they serve.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::service_fn;
use tower_conn_serve::{Accept, Handle, Server, Shared, Summary};
use tower_conn_testkit::app::{AppBody, answer, route, text};
pub(crate) use tower_conn_testkit::clock::{millis, secs};
use tower_conn_testkit::raw::RawStream;
pub(crate) use tower_conn_testkit::raw::{GET, get};

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

/// Answers by path: as [`answer`] does, `/later/N`, and `/panic`.
pub(crate) async fn handle<B>(
    request: Request<B>,
    calls: Arc<AtomicUsize>,
) -> Result<Response<AppBody>, Infallible>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    calls.fetch_add(1, Ordering::Relaxed);
    Ok(match route(&request) {
        ("later", number) => {
            // Answers at once, and reads the body in its own time.
            tokio::spawn(async move {
                tokio::time::sleep(secs(number)).await;
                let _ = request.into_body().collect().await;
            });
            text("accepted")
        }
        ("panic", _) => panic!("the handler panics"),
        _ => answer(request).await,
    })
}

//! What the tests of the pool share.
#![allow(dead_code, reason = "each test uses some of it")]

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::{Connected, Connection as Transport, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tower::{Service, ServiceExt};
use tower_conn_pool::{Connection, ConnectionUse, Pool, PoolBody, PoolError, PoolEvent};
use tower_conn_testkit::raw::RawStream;

/// A pool over TCP, of requests with bodies in memory.
pub(crate) type TcpPool = Pool<HttpConnector, Full<Bytes>>;

/// A GET.
pub(crate) fn get(uri: &Uri) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).expect("a request")
}

/// Sends a request and reads the whole response.
pub(crate) async fn fetch<S>(
    pool: &S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<PoolBody>, Error = PoolError> + Clone,
{
    let (head, body) = pool.clone().oneshot(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}

/// The connection of a response.
pub(crate) fn connection<B>(response: &Response<B>) -> &Connection {
    Connection::of(response.extensions()).expect("every response has its connection")
}

/// How a response got its connection.
pub(crate) fn usage<B>(response: &Response<B>) -> ConnectionUse {
    *response
        .extensions()
        .get()
        .expect("every response says how it got its connection")
}

/// Waits until something that other tasks do has happened.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not happen: {what}");
}

/// An observer that keeps a line for each event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn observe(&self) -> impl Fn(&PoolEvent<'_>) + Send + Sync + 'static + use<> {
        let log = Arc::clone(&self.0);
        move |event: &PoolEvent<'_>| {
            let line = match event {
                PoolEvent::Opened(_) => "opened".to_owned(),
                PoolEvent::Reused(..) => "reused".to_owned(),
                PoolEvent::Queued(_, place) => format!("queued {place}"),
                PoolEvent::Hint { hint, .. } => format!("hint {hint}"),
                PoolEvent::RaceLost(_) => "race lost".to_owned(),
                PoolEvent::Closed(_, reason) => format!("closed {reason}"),
                PoolEvent::PortsLow { used, ports, .. } => format!("ports {used}/{ports}"),
                other => format!("{other:?}"),
            };
            log.lock().expect("no panic").push(line);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|seen| *seen == line).count()
    }
}

/// A connector to a server in memory, which a paused clock does not upset.
#[derive(Clone)]
pub(crate) struct Memory<F> {
    server: F,
    opened: Arc<AtomicUsize>,
    open: Arc<Open>,
}

/// How many transports exist, and the most that ever did.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl<F> Memory<F> {
    /// Each connection is handed to the server, with its number from 1.
    pub(crate) fn new<Fut>(server: F) -> Self
    where
        F: Fn(RawStream<DuplexStream>, usize) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            server,
            opened: Arc::default(),
            open: Arc::default(),
        }
    }

    /// The most transports that existed at once.
    pub(crate) fn most_open(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl<F, Fut> Service<Uri> for Memory<F>
where
    F: Fn(RawStream<DuplexStream>, usize) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Response = TokioIo<MemoryIo>;
    type Error = io::Error;
    type Future = std::future::Ready<Result<TokioIo<MemoryIo>, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let stream = RawStream::over(theirs).deadline(Duration::from_secs(1_000_000));
        tokio::spawn((self.server)(stream, number));
        let now = self.open.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.most.fetch_max(now, Ordering::SeqCst);
        std::future::ready(Ok(TokioIo::new(MemoryIo(ours, Arc::clone(&self.open)))))
    }
}

/// One end of a connection in memory.
pub(crate) struct MemoryIo(DuplexStream, Arc<Open>);

impl Drop for MemoryIo {
    fn drop(&mut self) {
        self.1.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Transport for MemoryIo {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for MemoryIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Answers every request on a connection in memory with this response until the client leaves.
pub(crate) async fn answer_all(mut stream: RawStream<DuplexStream>, response: &'static str) {
    while stream.read_request().await.is_ok() {
        if stream.send(response).await.is_err() {
            return;
        }
    }
}

//! What TCP adds: Nagle and delayed acknowledgements, keepalive, local ports.

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use support::{Log, connection, fetch, get, until};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_conn_pool::{Pool, PoolErrorKind, PortBudget, connector};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

/// A body of two parts with a turn of the runtime between them: two writes.
struct TwoParts(u8);

impl futures_core::Stream for TwoParts {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 += 1;
        match self.0 {
            1 | 3 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part"))))),
            2 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }
}

/// Hides that the transport is TCP, so that the pool leaves its options alone.
#[derive(Clone)]
struct Hidden(HttpConnector);

struct HiddenIo(TokioIo<TcpStream>);

impl hyper_util::client::legacy::connect::Connection for HiddenIo {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        self.0.inner().connected()
    }
}

impl hyper::rt::Read for HiddenIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for HiddenIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl tower::Service<Uri> for Hidden {
    type Response = HiddenIo;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<HiddenIo, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { Ok(HiddenIo(inner.oneshot(uri).await?)) })
    }
}

/// How long each of twenty POSTs in two writes on one connection takes, the quickest first.
async fn times<S>(pool: S, uri: Uri) -> Vec<Duration>
where
    S: tower::Service<
            Request<StreamBody<TwoParts>>,
            Response = http::Response<tower_conn_pool::PoolBody>,
        > + Clone,
    S::Error: std::fmt::Debug,
{
    let mut times = Vec::new();
    for _ in 0..20 {
        let request = Request::post(&uri)
            .body(StreamBody::new(TwoParts(0)))
            .expect("a request");
        let start = Instant::now();
        let response = pool.clone().oneshot(request).await.expect("answers");
        response.into_body().collect().await.expect("reads");
        times.push(Instant::now().saturating_duration_since(start));
    }
    times.sort();
    times
}

/// Nagle holds the second small segment back until the first is acknowledged, and the peer, which has
/// nothing to say before it has the whole request, delays that acknowledgement: 40 ms on Linux, but for
/// the first segments of a connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_nodelay_a_request_in_two_writes_stalls_and_with_it_not() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        exchange.ok("").await.expect("sends");
    })
    .await;
    let mut nagle = connector();
    nagle.set_nodelay(false);
    let stalled = times(Pool::new(Hidden(nagle.clone())), peer.uri("/")).await;
    let stall = Duration::from_millis(30);
    assert!(stalled[10] >= stall, "half of them stall: {stalled:?}");
    let hidden = times(Pool::new(Hidden(connector())), peer.uri("/")).await;
    let turned_on = times(Pool::new(nagle), peer.uri("/")).await;
    for quick in [hidden, turned_on] {
        // A busy machine may delay some of them.
        assert!(quick[10] < stall, "{quick:?} with nodelay");
    }
}

#[tokio::test]
async fn the_connectors_sockets_send_at_once_and_are_kept_alive() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    let stream = connector().oneshot(uri.parse().expect("a URI")).await;
    let stream = stream.expect("connects").into_inner();
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.tcp_nodelay().expect("a socket"));
    assert!(socket.keepalive().expect("a socket"));
}

#[tokio::test]
async fn ports_in_time_wait_are_counted_and_waiting_is_preferred() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = Arc::clone(&gate);
    let peer = ScriptedPeer::start(move |mut exchange: Exchange| {
        let slow = Arc::clone(&slow);
        async move {
            if exchange.request.target == "/slow" {
                slow.acquire().await.expect("open").forget();
            }
            exchange.ok("").await.expect("sends");
        }
    })
    .await;
    let budget = PortBudget::new(4).warn_at(2);
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .port_budget(budget.clone())
        .observer(log.observe())
        .build(connector());
    let close = || {
        let mut request = get(&peer.uri("/"));
        request
            .headers_mut()
            .insert("connection", http::HeaderValue::from_static("close"));
        request
    };
    fetch(&pool, close()).await.expect("answers");
    until("it is closed", || pool.stats().open == 0).await;
    assert_eq!(budget.used(peer.addr()), 1, "this side closed first");

    // One more is open and one is in TIME_WAIT: low. The others wait for the open one.
    let spawn = || {
        let (pool, request) = (pool.clone(), get(&peer.uri("/slow")));
        tokio::spawn(async move { fetch(&pool, request).await })
    };
    let mut all = vec![spawn()];
    peer.until_requests(2).await;
    for waiting in 1..=2 {
        all.push(spawn());
        until("it waits", || pool.stats().waiting == waiting).await;
    }
    gate.add_permits(3);
    let mut used = std::collections::HashSet::new();
    for one in all {
        let response = one.await.expect("no panic").expect("answers");
        used.insert(connection(&response).id());
    }
    assert_eq!(used.len(), 1, "low: what there is is used again");
    assert!(
        log.lines().iter().any(|line| line == "ports 2/4"),
        "{:?}",
        log.lines()
    );

    for _ in 0..8 {
        let _ = fetch(&pool, close()).await;
        until("it is closed", || pool.stats().open == 0).await;
    }
    let error = fetch(&pool, get(&peer.uri("/")))
        .await
        .expect_err("no port is left");
    assert_eq!(error.kind(), PoolErrorKind::PortsExhausted);
    assert!(error.is_connect() && !error.is_sent());
    assert_eq!(budget.used(peer.addr()), 4);
}

#[tokio::test]
async fn a_connector_without_a_local_address_is_a_clear_error() {
    let no_port = tower::service_fn(|_: Uri| async {
        let error = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        Err::<TokioIo<support::MemoryIo>, _>(error)
    });
    let pool: Pool<_, Full<Bytes>> = Pool::builder().build(no_port);
    let uri = "http://h/".parse().expect("a URI");
    let error = fetch(&pool, get(&uri)).await.expect_err("has no port");
    assert_eq!(error.kind(), PoolErrorKind::PortsExhausted);
    assert!(error.is_connect() && !error.is_sent());
    assert_eq!(error.to_string(), "no local port is left to connect from");
    assert_eq!(pool.stats().open, 0);
}

/// A real EADDRNOTAVAIL: 192.0.2.1 (RFC 5737) is nobody's address, this machine's least of all.
#[tokio::test]
async fn the_systems_own_error_is_found_under_the_connectors() {
    let mut elsewhere = connector();
    elsewhere.set_local_address(Some([192, 0, 2, 1].into()));
    let pool: Pool<_, Full<Bytes>> = Pool::builder().build(elsewhere);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    let error = fetch(&pool, get(&uri.parse().expect("a URI"))).await;
    let error = error.expect_err("there is no such address");
    assert_eq!(error.kind(), PoolErrorKind::PortsExhausted, "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
}

//! Requests dropped at random points: limits stay exact, nothing leaks, nothing is shared.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use support::{Log, fetch, get, until};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_conn_pool::{Pool, connector};

const LIMIT: usize = 8;
const REQUESTS: u64 = 10_000;

/// A small generator of numbers that need not be good.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// How many connections a server has open, and the most it ever had.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Echoes the request body behind the path, in chunks, some of them late.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with('3') {
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut text = path.into_bytes();
    text.extend_from_slice(&body);
    if text.ends_with(b"7") {
        text.resize(200_000, b'.');
    }
    Ok(Response::new(Full::new(Bytes::from(text))))
}

async fn server() -> (SocketAddr, Arc<Open>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let open = Arc::new(Open::default());
    let seen = Arc::clone(&open);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most.fetch_max(now, Ordering::SeqCst);
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(echo);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                seen.now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (addr, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_dropped_at_random_points() {
    let (addr, open) = server().await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_per_origin(NonZeroUsize::new(LIMIT).expect("not zero"))
        .observer(log.observe())
        .build(connector());
    let completed = Arc::new(AtomicUsize::new(0));
    let room = Arc::new(Semaphore::new(64));
    for n in 0..REQUESTS {
        let place = Arc::clone(&room).acquire_owned().await.expect("is open");
        let (pool, completed) = (pool.clone(), Arc::clone(&completed));
        tokio::spawn(async move {
            let mut random = Random(n * 0x9E37_79B9 + 1);
            random.below(1);
            let path = format!("/{n}");
            let sent = vec![b'x'; random.below(4) as usize * 10];
            let mut expected = path.clone().into_bytes();
            expected.extend_from_slice(&sent);
            let request = Request::post(format!("http://{addr}{path}"))
                .body(Full::from(sent))
                .expect("a request");
            let exchange = async {
                let response = pool
                    .oneshot(request)
                    .await
                    .expect("is not failed by others");
                let mut body = response.into_body();
                let mut got = Vec::new();
                while let Some(frame) = body.frame().await {
                    let frame = frame.expect("is whole");
                    got.extend_from_slice(frame.data_ref().expect("data"));
                    if random.below(20) == 0 {
                        return;
                    }
                }
                got.truncate(expected.len());
                assert_eq!(got, expected, "the response of another request");
                completed.fetch_add(1, Ordering::SeqCst);
            };
            // Dropped after so many polls, which is anywhere: queued, connecting, sent, reading.
            let polls = n % 7 + 1;
            let mut exchange = pin!(exchange);
            let mut polled = 0;
            std::future::poll_fn(|cx| {
                polled += 1;
                if polled > polls {
                    return Poll::Ready(());
                }
                exchange.as_mut().poll(cx)
            })
            .await;
            drop(place);
        });
    }
    let _ = room.acquire_many(64).await.expect("is open");
    until("nobody waits", || pool.stats().waiting == 0).await;
    until("all that is open is idle", || {
        let stats = pool.stats();
        stats.open == stats.idle && stats.open <= LIMIT
    })
    .await;
    let done = completed.load(Ordering::SeqCst);
    assert!(done > 1_000, "{done} were not dropped");
    until("the server agrees", || {
        open.now.load(Ordering::SeqCst) == pool.stats().open
    })
    .await;

    // The limit is still what it was: so many at once, and not one less.
    let uri = format!("http://{addr}/3").parse().expect("a URI");
    let all: Vec<_> = (0..LIMIT * 2)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&uri));
            tokio::spawn(async move { fetch(&pool, request).await.map(drop) })
        })
        .collect();
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    assert!(pool.stats().open <= LIMIT);

    until("every close was reported once", || {
        let closed = log
            .lines()
            .iter()
            .filter(|l| l.starts_with("closed"))
            .count();
        log.count("opened") - closed == pool.stats().open
    })
    .await;
    drop(pool);
    until("the server is alone", || {
        open.now.load(Ordering::SeqCst) == 0
    })
    .await;
}

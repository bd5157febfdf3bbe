//! What pipelining vectors ask of whoever has more than one connection, over real sockets: the limits
//! that a server announces, and servers that do not bear pipelining.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_conn_pool::{Pool, PoolError, connector};
use tower_conn_testkit::raw::RawStream;

type TcpPool = Pool<HttpConnector, Full<Bytes>>;

/// One connection at a time, up to eight requests on it.
fn pool() -> TcpPool {
    let number = |n| NonZeroUsize::new(n).expect("not zero");
    Pool::builder()
        .max_per_origin(number(1))
        .pipeline_depth(number(8))
        .build(connector())
}

/// A server that plays each connection by this script; its port, and how many there were.
async fn serve<F, Fut>(script: F) -> (u16, Arc<AtomicUsize>)
where
    F: Fn(RawStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let _ = stream.set_nodelay(true);
            let number = count.fetch_add(1, SeqCst) + 1;
            tokio::spawn(script(RawStream::over(stream), number));
        }
    });
    (port, opened)
}

async fn fetch(pool: &TcpPool, port: u16, path: &str) -> Result<String, PoolError> {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}"))
        .body(Full::default())
        .expect("a request");
    let response = pool.clone().oneshot(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).expect("text"))
}

async fn say(stream: &mut RawStream, body: &str, fields: &str) {
    let length = body.len();
    let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
    let _ = stream.send(response).await;
}

#[tokio::test]
async fn c_keepalive_max() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let (port, opened) = serve(move |mut stream, _| {
        let most = Arc::clone(&seen);
        async move {
            let mut requests = 0;
            while let Ok(request) = stream.read_request().await {
                requests += 1;
                most.fetch_max(requests, SeqCst);
                let first = if requests == 1 {
                    "Keep-Alive: max=3\r\n"
                } else {
                    ""
                };
                say(&mut stream, &request.target, first).await;
            }
        }
    })
    .await;
    let pool = pool();
    assert_eq!(fetch(&pool, port, "/0").await.expect("answers"), "/0");
    let all: Vec<_> = (1..8)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move { fetch(&pool, port, &format!("/{n}")).await })
        })
        .collect();
    for (n, one) in (1..8).zip(all) {
        let body = one.await.expect("no panic").expect("answers");
        assert_eq!(body, format!("/{n}"));
    }
    assert_eq!(most.load(SeqCst), 4, "the first, and three more");
    assert_eq!(opened.load(SeqCst), 2);
}

#[tokio::test]
async fn c_keepalive_timeout() {
    let (port, opened) = serve(|mut stream, _| async move {
        while let Ok(request) = stream.read_request().await {
            say(&mut stream, &request.target, "Keep-Alive: timeout=1\r\n").await;
        }
    })
    .await;
    let pool = pool();
    fetch(&pool, port, "/1").await.expect("answers");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    fetch(&pool, port, "/2").await.expect("answers");
    assert_eq!(opened.load(SeqCst), 2);
}

/// Answers the first request of every connection, and closes when it finds a second one behind the one
/// that is due.
#[tokio::test]
async fn c_degrade() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let (port, _) = serve(move |mut stream, _| {
        let closed = Arc::clone(&count);
        async move {
            let mut first = true;
            while let Ok(request) = stream.read_request().await {
                let wait = Duration::from_millis(20);
                let more = tokio::time::timeout(wait, stream.read_request_head()).await;
                if !std::mem::take(&mut first) && matches!(more, Ok(Ok(_))) {
                    closed.fetch_add(1, SeqCst);
                    return;
                }
                say(&mut stream, &request.target, "").await;
            }
        }
    })
    .await;
    let pool = pool();
    let all: Vec<_> = (0..10)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    if let Ok(body) = fetch(&pool, port, &format!("/{n}")).await {
                        return body;
                    }
                }
                panic!("not answered in three attempts");
            })
        })
        .collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.await.expect("no panic"), format!("/{n}"));
    }
    assert_eq!(closed.load(SeqCst), 2, "after that it goes one at a time");
}

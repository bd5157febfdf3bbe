//! The stale race: a server closes idle connections just as requests are sent on them.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use support::{TcpPool, fetch, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_conn_pool::{Pool, connector};

/// What the server announces, and when it decides to close.
const ANNOUNCED: Duration = Duration::from_secs(1);
/// How long its decision takes to arrive, as over a network: what is sent in that time is lost.
const ON_THE_WAY: Duration = Duration::from_millis(20);
const CLIENTS: u64 = 60;

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            tokio::spawn(async move {
                let mut buf = [0; 4096];
                loop {
                    match tokio::time::timeout(ANNOUNCED, stream.read(&mut buf)).await {
                        Ok(Ok(n)) if n > 0 => {}
                        Ok(_) => return,
                        Err(_) => {
                            tokio::time::sleep(ON_THE_WAY).await;
                            return;
                        }
                    }
                    let response =
                        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi";
                    if stream.write_all(response).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// Runs the clients, each with a pause of its own around the announced time between its two GETs;
/// how many of the second ones fail.
async fn failures<F, Fut>(uri: &Uri, client: F) -> usize
where
    F: Fn(Uri, Duration) -> Fut,
    Fut: Future<Output = bool> + Send + 'static,
{
    let failed = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let pause = ANNOUNCED - Duration::from_millis(5) + Duration::from_micros(n * 600);
            let (failed, one) = (Arc::clone(&failed), client(uri.clone(), pause));
            tokio::spawn(async move {
                if !one.await {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for one in all {
        one.await.expect("no panic");
    }
    failed.load(Ordering::SeqCst)
}

#[tokio::test]
async fn with_hints_honoured_no_get_is_lost_where_the_legacy_client_loses_many() {
    let uri: Uri = format!("http://{}/", server().await)
        .parse()
        .expect("a URI");
    let ours = failures(&uri, |uri, pause| async move {
        let pool: TcpPool = Pool::builder()
            // Wide, so that a machine too busy to run timers on time does not lose the race for us.
            .hint_margin(Duration::from_millis(600))
            .build(connector());
        fetch(&pool, get(&uri)).await.expect("answers");
        tokio::time::sleep(pause).await;
        fetch(&pool, get(&uri)).await.is_ok()
    });
    let legacy = failures(&uri, |uri, pause| async move {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector());
        let send = async |request: Request<Full<Bytes>>| {
            let response = client.request(request).await.ok()?;
            response.into_body().collect().await.ok()
        };
        send(get(&uri)).await.expect("answers");
        tokio::time::sleep(pause).await;
        send(get(&uri)).await.is_some()
    });
    let (ours, legacy) = tokio::join!(ours, legacy);
    println!("of {CLIENTS} GETs lost: {ours} with hints honoured, {legacy} by the legacy client");
    assert_eq!(ours, 0);
    assert!(legacy > 0, "the race is real");
}

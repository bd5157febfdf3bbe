//! HTTP/2 at its limits: more requests than streams, and connections that end before their time.

mod support;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, Uri};
use http_body_util::Full;
use support::{Log, connection, fetch, get, until, usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_conn_pool::{
    CloseReason, Delivery, Pool, PoolBuilder, PoolErrorKind, Protocol, connector,
};

fn http2(connections: usize) -> PoolBuilder {
    Pool::builder()
        .protocol(Protocol::Http2)
        .max_per_origin(NonZeroUsize::new(connections).expect("not zero"))
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The most streams that were open at once on a connection.
    most: Mutex<Vec<usize>>,
    open: AtomicUsize,
}

/// A server that allows this many streams on a connection and answers one request for each permit.
async fn bounded(streams: u32, gate: Arc<Semaphore>) -> (Uri, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let seen = Arc::new(Seen::default());
    let counts = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let (seen, gate) = (Arc::clone(&counts), Arc::clone(&gate));
            let number = seen.connections.fetch_add(1, Ordering::SeqCst);
            seen.most.lock().expect("no panic").push(0);
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(streams);
                let Ok(mut conn) = builder.handshake::<_, Bytes>(stream).await else {
                    return;
                };
                let open = Arc::new(AtomicUsize::new(0));
                while let Some(Ok((_, mut respond))) = conn.accept().await {
                    let now = open.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.open.fetch_add(1, Ordering::SeqCst);
                    {
                        let mut most = seen.most.lock().expect("no panic");
                        most[number] = most[number].max(now);
                    }
                    let (open, gate, seen) =
                        (Arc::clone(&open), Arc::clone(&gate), Arc::clone(&seen));
                    tokio::spawn(async move {
                        gate.acquire().await.expect("open").forget();
                        open.fetch_sub(1, Ordering::SeqCst);
                        seen.open.fetch_sub(1, Ordering::SeqCst);
                        let _ = respond.send_response(Response::new(()), true);
                    });
                }
            });
        }
    });
    (format!("http://{addr}/").parse().expect("a URI"), seen)
}

#[tokio::test]
async fn more_requests_than_streams_open_more_connections_up_to_the_limit() {
    let gate = Arc::new(Semaphore::new(1));
    let (uri, seen) = bounded(2, Arc::clone(&gate)).await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = http2(3)
        .idle_timeout(Some(Duration::from_millis(300)))
        .observer(log.observe())
        .build(connector());
    // Before the first SETTINGS nobody can know the limit.
    fetch(&pool, get(&uri)).await.expect("answers");
    let all: Vec<_> = (0..10)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&uri));
            tokio::spawn(async move { fetch(&pool, request).await })
        })
        .collect();
    until("all places are taken", || {
        seen.open.load(Ordering::SeqCst) == 6
    })
    .await;
    until("the others wait here", || pool.stats().waiting == 4).await;
    assert_eq!(pool.stats().open, 3);
    gate.add_permits(10);
    let mut used = std::collections::HashSet::new();
    for one in all {
        let response = one.await.expect("no panic").expect("is not refused");
        assert_eq!(response.status(), StatusCode::OK);
        used.insert(connection(&response).id());
    }
    assert_eq!(used.len(), 3);
    assert_eq!(*seen.most.lock().expect("no panic"), [2, 2, 2]);

    // One at a time is what the first connection can carry, so that the others age out.
    for _ in 0..40 {
        gate.add_permits(1);
        let response = fetch(&pool, get(&uri)).await.expect("answers");
        assert!(usage(&response).is_reused());
        tokio::time::sleep(Duration::from_millis(15)).await;
        if pool.stats().open == 1 {
            break;
        }
    }
    assert_eq!(pool.stats().open, 1);
    assert_eq!(log.count("closed idle"), 2, "{:?}", log.lines());
    assert_eq!(seen.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_idle_http2_connection_makes_room_for_another_origin() {
    let gate = Arc::new(Semaphore::new(1));
    let (one, _) = bounded(10, Arc::clone(&gate)).await;
    let (two, seen) = bounded(10, Arc::clone(&gate)).await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = http2(4)
        .max_total(NonZeroUsize::MIN)
        .observer(log.observe())
        .build(connector());
    fetch(&pool, get(&one)).await.expect("answers");
    // Idle when the other one comes; then busy, and idle a moment later.
    gate.add_permits(1);
    fetch(&pool, get(&two)).await.expect("answers");
    let busy = tokio::spawn({
        let (pool, request) = (pool.clone(), get(&two));
        async move { fetch(&pool, request).await.map(drop) }
    });
    until("it is busy", || seen.open.load(Ordering::SeqCst) == 1).await;
    let other = tokio::spawn({
        let (pool, request) = (pool.clone(), get(&one));
        async move { fetch(&pool, request).await.map(drop) }
    });
    until("the other one waits", || pool.stats().waiting == 1).await;
    gate.add_permits(2);
    busy.await.expect("no panic").expect("answers");
    other.await.expect("no panic").expect("answers");
    assert_eq!(log.count("closed evicted"), 2, "{:?}", log.lines());
    assert_eq!(pool.stats().open, 1);
}

#[tokio::test]
async fn a_busy_http2_origin_does_not_keep_the_total_to_itself() {
    let gate = Arc::new(Semaphore::new(1_000_000));
    let (one, _) = bounded(10, Arc::clone(&gate)).await;
    let (two, _) = bounded(10, gate).await;
    let pool: Pool<_, Full<Bytes>> = http2(4).max_total(NonZeroUsize::MIN).build(connector());
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let (pool, uri) = (pool.clone(), one.clone());
            tokio::spawn(async move {
                loop {
                    fetch(&pool, get(&uri)).await.expect("is not failed");
                }
            })
        })
        .collect();
    until("it is busy", || pool.stats().open == 1).await;
    for _ in 0..3 {
        let turn = tokio::time::timeout(Duration::from_secs(5), fetch(&pool, get(&two)));
        turn.await.expect("has its turn").expect("answers");
    }
    assert_eq!(pool.stats().open, 1);
    for one in busy {
        assert!(!one.is_finished(), "none of them failed");
        one.abort();
    }
}

#[tokio::test]
async fn a_cancelled_stream_makes_room_for_the_next() {
    let gate = Arc::new(Semaphore::new(1));
    let (uri, seen) = bounded(2, Arc::clone(&gate)).await;
    let pool: Pool<_, Full<Bytes>> = http2(1).build(connector());
    fetch(&pool, get(&uri)).await.expect("answers");
    let spawn = || {
        let (pool, request) = (pool.clone(), get(&uri));
        tokio::spawn(async move { fetch(&pool, request).await.map(drop) })
    };
    let (one, two) = (spawn(), spawn());
    until("both are there", || seen.open.load(Ordering::SeqCst) == 2).await;
    let three = spawn();
    until("it waits", || pool.stats().waiting == 1).await;
    one.abort();
    until("it has left the queue", || pool.stats().waiting == 0).await;
    gate.add_permits(10);
    two.await.expect("no panic").expect("answers");
    three.await.expect("no panic").expect("answers");
    assert_eq!(pool.stats().open, 1);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END: u8 = 5;
/// `:status: 200` in the static table of RFC 7541.
const OK: &[u8] = &[0x88];

/// Reads until so many requests have arrived.
async fn requests(stream: &mut TcpStream, count: usize) -> Option<()> {
    let mut seen = 0;
    while seen < count {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        seen += usize::from(head[3] == HEADERS);
    }
    Some(())
}

/// A server whose first connection takes three requests, then sends GOAWAY that names the first of
/// them, with this error code, and ends; it answers that one if `answers`.
async fn leaving(code: u32, answers: bool) -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.expect("a preface");
            let mut hello = frame(SETTINGS, 0, 0, &[]);
            hello.extend(frame(SETTINGS, 1, 0, &[]));
            stream.write_all(&hello).await.expect("writes");
            if number > 0 {
                requests(&mut stream, 1).await;
                let _ = stream.write_all(&frame(HEADERS, END, 1, OK)).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                continue;
            }
            requests(&mut stream, 3).await;
            let mut last = 1_u32.to_be_bytes().to_vec();
            last.extend(code.to_be_bytes());
            let mut goodbye = frame(GOAWAY, 0, 0, &last);
            if answers {
                goodbye.extend(frame(HEADERS, END, 1, OK));
            }
            stream.write_all(&goodbye).await.expect("writes");
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    format!("http://{addr}/").parse().expect("a URI")
}

#[tokio::test]
async fn goaway_proves_what_was_not_processed_and_nothing_else() {
    for (code, answers) in [(0, true), (0, false), (2, false), (11, true)] {
        let uri = leaving(code, answers).await;
        let log = Log::default();
        let pool: Pool<_, Full<Bytes>, _> = http2(4).observer(log.observe()).build(connector());
        let mut all = Vec::new();
        for n in 0..3 {
            let (client, request) = (pool.clone(), get(&uri));
            all.push(tokio::spawn(async move { fetch(&client, request).await }));
            // Streams are numbered in this order.
            until("it is on the connection", || {
                let stats = pool.stats();
                log.count("opened") == 1 && stats.waiting == 0 && log.count("reused") >= n
            })
            .await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = all.remove(0).await.expect("no panic");
        if answers {
            assert_eq!(first.expect("was answered").status(), StatusCode::OK);
        } else {
            let error = first.expect_err("was not answered");
            assert_eq!(error.delivery(), Delivery::Ambiguous, "code {code}");
        }
        for one in all {
            let error = one.await.expect("no panic").expect_err("is above the last");
            assert_eq!(error.kind(), PoolErrorKind::Exchange);
            assert_eq!(error.delivery(), Delivery::NotProcessed, "code {code}");
        }
        let next = fetch(&pool, get(&uri))
            .await
            .expect("on another connection");
        assert!(!usage(&next).is_reused());
        until("the first one is closed", || pool.stats().open == 1).await;
        assert_eq!(
            log.lines()
                .iter()
                .filter(|l| l.starts_with("closed"))
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_fails_its_streams_and_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let uri: Uri = format!("http://{}/", listener.local_addr().expect("bound"))
        .parse()
        .expect("a URI");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("a preface");
        stream
            .write_all(&frame(SETTINGS, 0, 0, &[]))
            .await
            .expect("writes");
        requests(&mut stream, 2).await;
        drop(stream);
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut conn = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(Ok((_, mut respond))) = conn.accept().await {
            let _: Result<h2::SendStream<Bytes>, _> =
                respond.send_response(Response::new(()), true);
        }
    });
    let pool: Pool<_, Full<Bytes>> = http2(4).build(connector());
    let all: Vec<_> = (0..2)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&uri));
            tokio::spawn(async move { fetch(&pool, request).await })
        })
        .collect();
    for one in all {
        let error = one.await.expect("no panic").expect_err("was cut");
        assert_eq!(error.delivery(), Delivery::Ambiguous);
        let reason = error.connection().expect("a connection").close_reason();
        assert!(
            matches!(
                reason,
                None | Some(CloseReason::PeerClosed | CloseReason::PeerReset)
            ),
            "{reason:?}"
        );
    }
    let next = fetch(&pool, get(&uri)).await.expect("on another one");
    assert!(!usage(&next).is_reused());
}

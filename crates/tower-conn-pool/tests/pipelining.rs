//! Several requests on one HTTP/1.1 connection at once: which, when, and what becomes of them.

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use support::{Log, Memory, connection, fetch, get, until, usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_conn_pool::{
    CloseReason, Delivery, FreshConnection, Pool, PoolBuilder, PoolError, PoolErrorKind,
};
use tower_conn_testkit::raw::RawStream;

type Stream = RawStream<DuplexStream>;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn limit(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not zero")
}

/// A pool that pipelines on few connections.
fn builder(connections: usize, depth: usize) -> PoolBuilder {
    Pool::builder()
        .max_per_origin(limit(connections))
        .pipeline_depth(limit(depth))
}

fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    let body = if method == "POST" { "body" } else { "" };
    Request::builder()
        .method(method)
        .uri(format!("http://h{path}"))
        .body(Full::from(body))
        .expect("a request")
}

fn spawn<S>(pool: &S, method: &str, path: &str) -> JoinHandle<Result<Response<Bytes>, PoolError>>
where
    S: tower::Service<
            Request<Full<Bytes>>,
            Response = Response<tower_conn_pool::PoolBody>,
            Error = PoolError,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let (pool, request) = (pool.clone(), request(method, path));
    tokio::spawn(async move { fetch(&pool, request).await })
}

async fn say(stream: &mut Stream, body: &str, fields: &str) {
    let response = format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.send(response).await;
}

async fn targets(stream: &mut Stream, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        match stream.read_request().await {
            Ok(request) => all.push(request.target),
            Err(_) => break,
        }
    }
    all
}

/// Answers each request with its target, this long after it arrived or the one before was answered.
async fn echo(mut stream: Stream, delay: Duration) {
    while let Ok(request) = stream.read_request().await {
        sleep(delay).await;
        say(&mut stream, &request.target, "").await;
    }
}

#[tokio::test(start_paused = true)]
async fn safe_requests_share_a_connection_up_to_the_depth() {
    let server = Memory::new(|mut stream: Stream, _| async move {
        // One at a time until a response has proven that the connection persists.
        let first = targets(&mut stream, 1).await;
        sleep(MS(50)).await;
        assert_eq!(stream.unread(), b"");
        say(&mut stream, &first[0], "").await;
        // Four at once, and no more.
        let four = targets(&mut stream, 4).await;
        sleep(MS(50)).await;
        assert_eq!(stream.unread(), b"");
        for target in four {
            say(&mut stream, &target, "").await;
        }
        echo(stream, MS(0)).await;
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = builder(1, 4).observer(log.observe()).build(server.clone());
    let all: Vec<_> = (0..8)
        .map(|n| spawn(&pool, "GET", &format!("/{n}")))
        .collect();
    sleep(MS(75)).await;
    assert_eq!(pool.stats().waiting, 3);
    let mut before = Vec::new();
    for (n, one) in all.into_iter().enumerate() {
        let response = one.await.expect("no panic").expect("answers");
        assert_eq!(response.body(), &format!("/{n}"));
        before.push(usage(&response).exchanges_before);
    }
    assert_eq!(before, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(server.opened(), 1);
    sleep(MS(1)).await;
    let stats = pool.stats();
    assert_eq!((stats.open, stats.idle, stats.waiting), (1, 1, 0));
    assert_eq!(log.count("reused"), 7);
}

#[tokio::test(start_paused = true)]
async fn as_long_as_another_connection_may_be_opened_one_is() {
    let server = Memory::new(|stream, _| echo(stream, MS(100)));
    let pool: Pool<_, Full<Bytes>> = builder(3, 8).build(server.clone());
    fetch(&pool, request("GET", "/warm"))
        .await
        .expect("answers");
    let all: Vec<_> = (0..3).map(|_| spawn(&pool, "GET", "/")).collect();
    sleep(MS(50)).await;
    assert_eq!(server.opened(), 3, "a slow response delays nobody yet");
    let fourth = spawn(&pool, "GET", "/4");
    let fourth = fourth.await.expect("no panic").expect("answers");
    assert!(usage(&fourth).is_reused());
    assert_eq!(server.opened(), 3);
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_be_alone_is_alone_and_is_not_starved() {
    let at_once = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&at_once);
    let server = Memory::new(move |mut stream: Stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            while let Ok(request) = stream.read_request().await {
                sleep(MS(10)).await;
                // A second one is behind it, or has been answered just before.
                let alone = request.method == "GET" || stream.unread().is_empty();
                seen.lock()
                    .expect("no panic")
                    .push((request.method.clone(), alone));
                let body = if request.method == "HEAD" {
                    ""
                } else {
                    &request.target
                };
                say(&mut stream, body, "").await;
            }
        }
    });
    let pool: Pool<_, Full<Bytes>> = builder(2, 4).build(server.clone());
    // More than two connections can answer one by one, all the time.
    let load: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                loop {
                    fetch(&pool, request("GET", "/get")).await.expect("answers");
                }
            })
        })
        .collect();
    sleep(MS(200)).await;
    for method in ["POST", "HEAD", "PUT", "DELETE", "POST"] {
        let one = tokio::time::timeout(MS(500), fetch(&pool, request(method, "/alone")));
        let response = one.await.expect("has its turn").expect("answers");
        assert_eq!(response.status(), StatusCode::OK, "{method}");
    }
    let mut close = request("GET", "/close");
    let value = HeaderValue::from_static("close");
    close.headers_mut().insert("connection", value);
    let closed = tokio::time::timeout(MS(500), fetch(&pool, close)).await;
    closed.expect("has its turn").expect("answers");
    for one in load {
        one.abort();
    }
    let seen = at_once.lock().expect("no panic");
    let alone: Vec<_> = seen.iter().filter(|(method, _)| method != "GET").collect();
    assert_eq!(alone.len(), 5);
    assert!(alone.iter().all(|(_, alone)| *alone), "{alone:?}");
    assert!(seen.len() > 40, "the others went on: {}", seen.len());
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_lost_connection_is_told_what_is_known() {
    let server = Memory::new(|mut stream: Stream, number| async move {
        if number > 1 {
            return echo(stream, MS(0)).await;
        }
        let first = targets(&mut stream, 1).await;
        say(&mut stream, &first[0], "").await;
        let three = targets(&mut stream, 3).await;
        assert_eq!(three, ["/1", "/2", "/3"]);
        say(&mut stream, &three[0], "Connection: close\r\n").await;
        sleep(MS(10)).await;
    });
    let pool: Pool<_, Full<Bytes>> = builder(1, 3).build(server.clone());
    fetch(&pool, request("GET", "/0")).await.expect("answers");
    let mut all = Vec::new();
    for n in 1..=5 {
        all.push(spawn(&pool, "GET", &format!("/{n}")));
        sleep(MS(1)).await;
    }
    let mut results = Vec::new();
    for one in all {
        results.push(one.await.expect("no panic"));
    }
    let answered = results[0].as_ref().expect("was answered");
    assert_eq!(answered.body(), "/1");
    assert_eq!(
        connection(answered).close_reason(),
        Some(CloseReason::PeerRequested)
    );
    for lost in &mut results[1..3] {
        let error = lost.as_mut().expect_err("was sent and not answered");
        assert_eq!(error.kind(), PoolErrorKind::Exchange);
        assert_eq!(
            error.delivery(),
            Delivery::Ambiguous,
            "RFC 9112 section 9.6"
        );
        assert!(error.connection_use().expect("a connection").is_reused());
        assert!(error.connection().is_some());
        assert!(error.take_request::<Full<Bytes>>().is_none());
    }
    for (n, waited) in results[3..].iter().enumerate() {
        let response = waited.as_ref().expect("never sent, so sent elsewhere");
        assert_eq!(response.body(), &format!("/{}", n + 4));
    }
    assert_eq!(server.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_written_goes_to_another_connection() {
    // The first connection takes one request and then no byte more.
    let server = Memory::new(|mut stream: Stream, number| async move {
        if number > 1 {
            return echo(stream, MS(0)).await;
        }
        let first = targets(&mut stream, 1).await;
        say(&mut stream, &first[0], "").await;
        // It closes while nothing is outstanding: whoever comes at that moment loses nothing.
    });
    for _ in 0..20 {
        let pool: Pool<_, Full<Bytes>> = builder(1, 8).build(server.clone());
        fetch(&pool, request("GET", "/0")).await.expect("answers");
        let all: Vec<_> = (0..4).map(|_| spawn(&pool, "POST", "/post")).collect();
        for one in all {
            one.await.expect("no panic").expect("was never written");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_asked_for_end_an_idle_connection() {
    let server = Memory::new(|mut stream: Stream, _| async move {
        let first = targets(&mut stream, 1).await;
        say(&mut stream, &first[0], "").await;
        sleep(MS(10)).await;
        let _ = stream
            .send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            .await;
        let _ = stream.read_to_end().await;
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = builder(1, 8).observer(log.observe()).build(server.clone());
    for opened in 1..=2 {
        let response = fetch(&pool, request("GET", "/0")).await.expect("answers");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(server.opened(), opened);
        sleep(MS(20)).await;
        assert_eq!(pool.stats().open, 0);
    }
    assert_eq!(
        log.count("closed unsolicited_bytes"),
        2,
        "{:?}",
        log.lines()
    );
}

#[tokio::test(start_paused = true)]
async fn expiry_and_uses_hold_for_pipelined_connections_too() {
    let hinted = Memory::new(|mut stream: Stream, _| async move {
        let mut left = 3;
        while let Ok(request) = stream.read_request().await {
            left -= 1;
            let hint = format!("Keep-Alive: timeout=5, max={left}\r\n");
            say(&mut stream, &request.target, &hint).await;
            if left == 0 {
                sleep(MS(20)).await;
                assert_eq!(stream.unread(), b"", "more than it had said it would take");
                return;
            }
        }
    });
    let pool: Pool<_, Full<Bytes>> = builder(1, 8).build(hinted.clone());
    fetch(&pool, request("GET", "/0")).await.expect("answers");
    let all: Vec<_> = (1..8).map(|_| spawn(&pool, "GET", "/")).collect();
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    assert_eq!(hinted.opened(), 3, "three each");
    let last = fetch(&pool, request("GET", "/0")).await.expect("answers");
    sleep(MS(3_050)).await;
    assert_eq!(pool.stats().open, 0);
    let reason = connection(&last).close_reason();
    assert!(
        matches!(
            reason,
            Some(CloseReason::HintExpired | CloseReason::MaxRequests)
        ),
        "{reason:?}"
    );

    let server = Memory::new(|stream, _| echo(stream, MS(5)));
    let pool: Pool<_, Full<Bytes>> = builder(1, 8)
        .max_uses(NonZeroU32::new(4))
        .idle_timeout(Some(MS(1_000)))
        .build(server.clone());
    let all: Vec<_> = (0..8).map(|_| spawn(&pool, "GET", "/")).collect();
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    assert_eq!(server.opened(), 2);
    let last = fetch(&pool, request("GET", "/")).await.expect("answers");
    sleep(MS(1_050)).await;
    assert_eq!(pool.stats().open, 0);
    assert_eq!(connection(&last).close_reason(), Some(CloseReason::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_and_a_protocol_switch_get_their_turn_at_a_full_origin() {
    let server = Memory::new(|mut stream: Stream, _| async move {
        while let Ok(request) = stream.read_request().await {
            if request.message.fields.contains("upgrade") {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                let _ = stream.send(head).await;
                let ping = stream.read_bytes(4).await.expect("reads");
                let _ = stream.send(ping).await;
                let _ = stream.read_to_end().await;
                return;
            }
            sleep(MS(10)).await;
            say(&mut stream, &request.target, "").await;
        }
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = builder(1, 4).observer(log.observe()).build(server.clone());
    let load: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                loop {
                    fetch(&pool, request("GET", "/get")).await.expect("answers");
                }
            })
        })
        .collect();
    sleep(MS(100)).await;
    let mut fresh = request("GET", "/fresh");
    fresh.extensions_mut().insert(FreshConnection);
    let fresh = tokio::time::timeout(MS(500), fetch(&pool, fresh)).await;
    let fresh = fresh.expect("has its turn").expect("answers");
    assert!(!usage(&fresh).is_reused());
    assert_eq!(log.count("closed evicted"), 1, "{:?}", log.lines());

    let mut upgrade = request("GET", "/tunnel");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
        let value = HeaderValue::from_static(value);
        upgrade.headers_mut().insert(name, value);
    }
    let switched = tokio::time::timeout(MS(500), pool.clone().oneshot(upgrade)).await;
    let mut switched = switched.expect("has its turn").expect("answers");
    assert_eq!(switched.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut switched).await.expect("upgrades");
    let mut tunnel = TokioIo::new(upgraded);
    tunnel.write_all(b"ping").await.expect("writes");
    let mut buf = [0; 4];
    tunnel.read_exact(&mut buf).await.expect("reads");
    assert_eq!(&buf, b"ping");
    drop(tunnel);
    sleep(MS(100)).await;
    assert!(log.count("reused") > 10, "and the others go on");
    assert_eq!(pool.stats().open, 1);
    for one in load {
        one.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_response_is_read_to_its_end_or_costs_the_connection() {
    let server = Memory::new(|mut stream: Stream, _| async move {
        while let Ok(request) = stream.read_request().await {
            match &*request.target {
                "/large" => {
                    let _ = stream
                        .send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
                        .await;
                    let _ = stream.send(vec![b'x'; 200_000]).await;
                }
                "/stalled" => {
                    let _ = stream
                        .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                        .await;
                    sleep(Duration::from_secs(60)).await;
                }
                _ => {
                    sleep(MS(5)).await;
                    say(&mut stream, &request.target, "").await;
                }
            }
        }
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = builder(1, 4)
        .drain(64 * 1024, MS(100))
        .observer(log.observe())
        .build(server.clone());
    fetch(&pool, request("GET", "/0")).await.expect("answers");

    // Given up before the head, between others: the others do not notice.
    let (one, two, three) = (
        spawn(&pool, "GET", "/1"),
        spawn(&pool, "GET", "/2"),
        spawn(&pool, "GET", "/3"),
    );
    sleep(MS(2)).await;
    two.abort();
    for (kept, body) in [(one, "/1"), (three, "/3")] {
        let response = kept.await.expect("no panic").expect("answers");
        assert_eq!(response.body(), body);
    }
    sleep(MS(1)).await;
    assert_eq!((server.opened(), pool.stats().idle), (1, 1));

    for (n, path) in ["/large", "/stalled"].into_iter().enumerate() {
        let response = pool
            .clone()
            .oneshot(request("GET", path))
            .await
            .expect("answers");
        let conn = connection(&response).clone();
        drop(response);
        until("it is closed", || conn.is_closed()).await;
        assert_eq!(
            conn.close_reason(),
            Some(CloseReason::BodyDropped),
            "{path}"
        );
        let next = fetch(&pool, request("GET", "/next"))
            .await
            .expect("answers");
        assert_ne!(connection(&next), &conn);
        assert_eq!(server.opened(), 2 + n);
    }
    assert_eq!(log.count("closed body_dropped"), 2, "{:?}", log.lines());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_fails_it_and_what_is_behind_it() {
    let server = Memory::new(|mut stream: Stream, number| async move {
        if number > 1 {
            return echo(stream, MS(0)).await;
        }
        let first = targets(&mut stream, 1).await;
        say(&mut stream, &first[0], "").await;
        targets(&mut stream, 2).await;
        let _ = stream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
    });
    let pool: Pool<_, Full<Bytes>> = builder(1, 4).build(server);
    fetch(&pool, request("GET", "/0")).await.expect("answers");
    let (cut, behind) = (spawn(&pool, "GET", "/1"), spawn(&pool, "GET", "/2"));
    let cut = cut.await.expect("no panic").expect_err("is cut");
    assert_eq!(
        (cut.kind(), cut.delivery()),
        (PoolErrorKind::Body, Delivery::Responded)
    );
    let behind = behind.await.expect("no panic").expect_err("was sent");
    assert_eq!(behind.delivery(), Delivery::Ambiguous);
    until("it is closed", || pool.stats().open == 0).await;
    fetch(&pool, request("GET", "/3")).await.expect("answers");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_fails_is_a_fault_of_the_request() {
    let server = Memory::new(|stream, _| echo(stream, MS(0)));
    let pool: Pool<_, _> = builder(1, 4).build(server);
    let body = http_body_util::StreamBody::new(Failing);
    let request = Request::post("http://h/").body(body).expect("a request");
    let mut error = pool
        .clone()
        .oneshot(request)
        .await
        .expect_err("its body fails");
    assert_eq!(error.kind(), PoolErrorKind::Request);
    assert_ne!(error.delivery(), Delivery::Responded);
    assert!(
        error
            .take_request::<http_body_util::StreamBody<Failing>>()
            .is_none()
    );
    until("it is closed", || pool.stats().open == 0).await;
}

struct Failing;

impl futures_core::Stream for Failing {
    type Item = Result<http_body::Frame<Bytes>, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Err(std::io::Error::other("no more"))))
    }
}

/// Its connection, idle before and after, is told by nothing else that it is idle again.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_before_it_is_written_leaves_its_connection_idle() {
    let server = Memory::new(|stream, _| echo(stream, MS(1)));
    let pool: Pool<_, Full<Bytes>> = builder(1, 8)
        .idle_timeout(Some(MS(1_000)))
        .build(server.clone());
    fetch(&pool, request("GET", "/0")).await.expect("answers");
    assert_eq!((pool.stats().open, pool.stats().idle), (1, 1));

    let mut dropped = Box::pin(pool.clone().oneshot(request("GET", "/1")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    assert_eq!(pool.stats().idle, 0, "it has the connection");
    drop(dropped);
    sleep(MS(100)).await;
    assert_eq!((pool.stats().open, pool.stats().idle), (1, 1));
    let next = fetch(&pool, request("GET", "/2")).await.expect("answers");
    assert_eq!((next.body(), server.opened()), (&Bytes::from("/2"), 1));
    sleep(MS(1_100)).await;
    assert_eq!(pool.stats().open, 0);
}

/// Requests given up at random points: responses stay with their requests, and nothing is left behind.
#[tokio::test(start_paused = true)]
async fn a_storm_of_cancelled_requests_leaves_the_limits_exact() {
    let server = Memory::new(|mut stream: Stream, number| async move {
        let mut count = number;
        while let Ok(request) = stream.read_request().await {
            count += 1;
            if count % 7 == 0 {
                sleep(MS(1)).await;
            }
            let close = if count % 97 == 0 {
                "Connection: close\r\n"
            } else {
                ""
            };
            say(&mut stream, &request.target, close).await;
            if !close.is_empty() {
                return;
            }
        }
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = builder(3, 8).observer(log.observe()).build(server.clone());
    let (done, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for n in 0..10_000_u64 {
        let (client, done, lost) = (pool.clone(), Arc::clone(&done), Arc::clone(&lost));
        tasks.push(tokio::spawn(async move {
            let (method, path) = (if n % 11 == 0 { "POST" } else { "GET" }, format!("/{n}"));
            let exchange = async {
                let mut body = match client.oneshot(request(method, &path)).await {
                    Ok(response) => response.into_body(),
                    Err(error) => {
                        assert_eq!(error.delivery(), Delivery::Ambiguous, "{error:?}");
                        assert_eq!(method, "GET", "only what may be repeated is put at risk");
                        return lost.fetch_add(1, Ordering::SeqCst);
                    }
                };
                let mut got = Vec::new();
                while let Some(Ok(frame)) = body.frame().await {
                    got.extend_from_slice(frame.data_ref().expect("data"));
                }
                assert_eq!(got, path.as_bytes(), "the response of another request");
                done.fetch_add(1, Ordering::SeqCst)
            };
            let mut exchange = std::pin::pin!(exchange);
            // A third is given up after so many polls.
            let mut polls = if n % 3 == 0 { n % 5 + 1 } else { u64::MAX };
            std::future::poll_fn(|cx| {
                if polls == 0 {
                    return std::task::Poll::Ready(());
                }
                polls -= 1;
                exchange.as_mut().poll(cx).map(|_| ())
            })
            .await;
        }));
        if n % 50 == 0 {
            sleep(MS(1)).await;
            assert!(pool.stats().open <= 3);
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    sleep(MS(200)).await;
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.open), (0, stats.idle));
    let (done, lost) = (done.load(Ordering::SeqCst), lost.load(Ordering::SeqCst));
    println!(
        "{done} answered, {lost} lost, {} connections",
        server.opened()
    );
    assert!(done > 6_000, "{done} of them were answered");
    assert!(lost > 0, "some went down with their connections");
    let closed = log
        .lines()
        .iter()
        .filter(|l| l.starts_with("closed"))
        .count();
    assert_eq!(log.count("opened") - closed, stats.open);
    // And the places are all there.
    let all: Vec<_> = (0..24).map(|_| spawn(&pool, "GET", "/after")).collect();
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    assert!(pool.stats().open <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_depth_of_one_pipelines_nothing() {
    let server = Memory::new(|stream, _| echo(stream, MS(5)));
    let pool: Pool<_, Full<Bytes>> = builder(1, 1).build(server.clone());
    let all: Vec<_> = (0..4).map(|_| spawn(&pool, "GET", "/")).collect();
    sleep(MS(7)).await;
    assert_eq!(pool.stats().waiting, 2);
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    let uri = "http://h/".parse().expect("a URI");
    fetch(&pool, get(&uri)).await.expect("answers");
    assert_eq!(server.opened(), 1);
}

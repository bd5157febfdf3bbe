//! Limits, and the queue of those who wait.

mod support;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use support::{Log, Memory, connection, fetch, get, until, usage};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_conn_pool::{FreshConnection, Pool, PoolErrorKind, connector};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

fn limit(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not zero")
}

/// A peer that answers one request for each permit, and how many requests it holds at once at most.
async fn gated(gate: &Arc<Semaphore>) -> (ScriptedPeer, Arc<AtomicUsize>) {
    let gate = Arc::clone(gate);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let peer = ScriptedPeer::start(move |mut exchange: Exchange| {
        let (gate, now, most) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = exchange.ok("").await;
        }
    })
    .await;
    (peer, seen)
}

#[tokio::test]
async fn requests_are_served_in_the_order_they_came_and_a_cancelled_one_leaves_no_hole() {
    let gate = Arc::new(Semaphore::new(0));
    let (peer, most) = gated(&gate).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder().max_per_origin(limit(2)).build(connector());
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..10 {
        let (client, done) = (pool.clone(), Arc::clone(&done));
        let uri = peer.uri(&format!("/{n}"));
        tasks.push(tokio::spawn(async move {
            fetch(&client, get(&uri)).await.expect("answers");
            done.lock().expect("no panic").push(n);
        }));
        // Each is in the queue before the next one comes.
        match n {
            0 | 1 => peer.until_requests(n + 1).await,
            _ => until("it waits", || pool.stats().waiting == n - 1).await,
        }
    }
    tasks[4].abort();
    tasks[7].abort();
    until("two have left", || pool.stats().waiting == 6).await;
    for n in 1..=8 {
        gate.add_permits(1);
        until("one more", || done.lock().expect("no panic").len() == n).await;
    }
    let order: Vec<_> = peer
        .requests()
        .iter()
        .map(|seen| seen.request.target.clone())
        .collect();
    assert_eq!(order[2..], ["/2", "/3", "/5", "/6", "/8", "/9"]);
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(peer.connections().len(), 2, "no connection was lost");
    let stats = pool.stats();
    assert_eq!((stats.open, stats.idle, stats.waiting), (2, 2, 0));
}

#[tokio::test]
async fn a_returned_connection_wins_the_race_and_the_loser_is_kept() {
    let log = Log::default();
    let slow = Memory::new(|stream, _| {
        support::answer_all(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let gate = Arc::new(Semaphore::new(1));
    let dials = Arc::clone(&gate);
    let connect = tower::service_fn(move |uri: http::Uri| {
        let (slow, dials) = (slow.clone(), Arc::clone(&dials));
        async move {
            dials.acquire().await.expect("open").forget();
            slow.oneshot(uri).await
        }
    });
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder().observer(log.observe()).build(connect);
    let uri = "http://h/".parse().expect("a URI");
    let mut first = pool.clone().oneshot(get(&uri)).await.expect("answers");
    let _ = http_body_util::BodyExt::frame(first.body_mut()).await;
    let held = connection(&first).clone();
    // Idle by now; the next two requests find one connection, and one has to wait for its own.
    let (one, two) = tokio::join!(fetch(&pool, get(&uri)), fetch(&pool, get(&uri)));
    let (one, two) = (one.expect("answers"), two.expect("answers"));
    assert_eq!(connection(&one), &held);
    assert_eq!(
        connection(&two),
        &held,
        "it waited, and got what came first"
    );
    assert_eq!(log.count("race lost"), 0);
    gate.add_permits(1);
    until("the loser is kept", || pool.stats().idle == 2).await;
    assert_eq!(log.count("race lost"), 1, "{:?}", log.lines());
}

#[tokio::test]
async fn a_failed_connect_frees_its_place_and_fails_one_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    let uri = format!("http://{addr}/").parse().expect("a URI");
    let pool: Pool<_, Full<Bytes>> = Pool::builder().max_per_origin(limit(1)).build(connector());
    let requests = (0..5).map(|_| fetch(&pool, get(&uri)));
    for result in join_all(requests).await {
        let mut error = result.expect_err("nobody listens");
        assert_eq!(error.kind(), PoolErrorKind::Connect);
        assert!(!error.is_sent() && error.connection().is_none());
        let request = error.take_request::<Full<Bytes>>().expect("is whole");
        assert_eq!(request.uri(), &uri);
    }
    let stats = pool.stats();
    assert_eq!((stats.open, stats.waiting), (0, 0));
}

async fn join_all<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future,
{
    let mut all: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none() {
                if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                    *slot = Some(output);
                }
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn an_idle_connection_elsewhere_makes_room_the_longest_idle_one_first() {
    let answer = |mut exchange: Exchange| async move {
        exchange.ok("").await.expect("sends");
    };
    let (a, b, c) = (
        ScriptedPeer::start(answer).await,
        ScriptedPeer::start(answer).await,
        ScriptedPeer::start(answer).await,
    );
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_total(limit(2))
        .observer(log.observe())
        .build(connector());
    let ask = async |peer: &ScriptedPeer| {
        let response = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
        assert!(pool.stats().open <= 2);
        usage(&response).is_reused()
    };
    assert!(!ask(&a).await && !ask(&b).await);
    assert!(ask(&a).await, "which makes b the longest-idle one");
    assert!(!ask(&c).await);
    b.until_closed(1).await;
    assert_eq!(log.count("closed evicted"), 1, "{:?}", log.lines());
    assert!(ask(&a).await && ask(&c).await, "those two have stayed");
    assert!(!ask(&b).await, "and made room for it in its turn");
    a.until_closed(1).await;
    assert_eq!(log.count("closed evicted"), 2, "{:?}", log.lines());
    assert_eq!(c.closed_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_total_is_never_passed_and_nobody_starves() {
    let server = Memory::new(|mut stream, _| async move {
        while stream.read_request().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.send(response).await.is_err() {
                return;
            }
        }
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_total(limit(3))
        .max_per_origin(limit(2))
        .observer(log.observe())
        .build(server.clone());
    let all: Vec<_> = (0..500)
        .map(|n| {
            let pool = pool.clone();
            let uri = format!("http://h{}/", n % 5).parse().expect("a URI");
            tokio::spawn(async move { fetch(&pool, get(&uri)).await.map(drop) })
        })
        .collect();
    for one in all {
        one.await.expect("no panic").expect("answers");
    }
    assert_eq!(server.most_open(), 3, "as many as may be, and no more");
    assert!(log.count("closed evicted") > 0, "origins take turns");
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.waiting), (stats.open, 0));
}

#[tokio::test(start_paused = true)]
async fn a_busy_origin_does_not_keep_the_total_to_itself() {
    let server = Memory::new(|mut stream, _| async move {
        while stream.read_request().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.send(response).await.is_err() {
                return;
            }
        }
    });
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_total(limit(2))
        .observer(log.observe())
        .build(server.clone());
    let busy: Vec<_> = (0..6)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let uri = "http://busy/".parse().expect("a URI");
                loop {
                    fetch(&pool, get(&uri)).await.expect("answers");
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..5 {
        let uri = format!("http://h{n}/").parse().expect("a URI");
        let one = tokio::time::timeout(Duration::from_millis(100), fetch(&pool, get(&uri)));
        one.await.expect("has its turn").expect("answers");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.most_open(), 2);
    // A few connections were closed for it, not one for each request.
    let (opened, reused) = (log.count("opened"), log.count("reused"));
    assert!(
        opened < 30 && reused > 300,
        "{opened} opened, {reused} reused"
    );
    for one in busy {
        one.abort();
    }
}

#[tokio::test]
async fn when_the_total_binds_the_oldest_waiter_of_any_origin_is_next() {
    let gate = Arc::new(Semaphore::new(0));
    let (a, _) = gated(&gate).await;
    let (b, _) = gated(&gate).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder().max_total(limit(1)).build(connector());
    let spawn = |uri: http::Uri, close: bool| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut request = get(&uri);
            if close {
                let close = http::HeaderValue::from_static("close");
                request.headers_mut().insert("connection", close);
            }
            fetch(&pool, request).await.map(drop)
        })
    };
    let first = spawn(a.uri("/1"), true);
    a.until_requests(1).await;
    let second = spawn(b.uri("/2"), true);
    until("it waits", || pool.stats().waiting == 1).await;
    let third = spawn(a.uri("/3"), true);
    until("they wait", || pool.stats().waiting == 2).await;
    gate.add_permits(1);
    first.await.expect("no panic").expect("answers");
    b.until_requests(1).await;
    assert_eq!(a.requests().len(), 1, "the place went to the other origin");
    gate.add_permits(2);
    second.await.expect("no panic").expect("answers");
    third.await.expect("no panic").expect("answers");
}

#[tokio::test]
async fn surplus_idle_connections_close_longest_idle_first() {
    let gate = Arc::new(Semaphore::new(0));
    let (peer, _) = gated(&gate).await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_idle_per_origin(limit(2))
        .observer(log.observe())
        .build(connector());
    let requests: Vec<_> = (0..5)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&peer.uri("/")));
            tokio::spawn(async move { fetch(&pool, request).await.map(drop) })
        })
        .collect();
    peer.until_requests(5).await;
    gate.add_permits(5);
    for request in requests {
        request.await.expect("no panic").expect("answers");
    }
    peer.until_closed(3).await;
    until("the rest idles", || pool.stats().open == 2).await;
    assert_eq!(log.count("closed surplus"), 3);
}

#[tokio::test]
async fn the_queue_can_be_bounded() {
    let gate = Arc::new(Semaphore::new(0));
    let (peer, _) = gated(&gate).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder()
        .max_per_origin(limit(1))
        .max_waiting(Some(0))
        .build(connector());
    let request = get(&peer.uri("/"));
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, request).await.map(drop) }
    });
    peer.until_requests(1).await;
    let error = fetch(&pool, get(&peer.uri("/")))
        .await
        .expect_err("there is no room");
    assert_eq!(error.kind(), PoolErrorKind::QueueFull);
    gate.add_permits(1);
    first.await.expect("no panic").expect("answers");
}

#[tokio::test]
async fn a_fresh_request_gets_its_turn_at_a_full_origin() {
    let gate = Arc::new(Semaphore::new(0));
    let (peer, _) = gated(&gate).await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder().max_per_origin(limit(1)).build(connector());
    let spawn = |path: &str, fresh: bool| {
        let (pool, mut request) = (pool.clone(), get(&peer.uri(path)));
        if fresh {
            request.extensions_mut().insert(FreshConnection);
        }
        tokio::spawn(async move { fetch(&pool, request).await })
    };
    let first = spawn("/1", false);
    peer.until_requests(1).await;
    let fresh = spawn("/2", true);
    until("it waits", || pool.stats().waiting == 1).await;
    let third = spawn("/3", false);
    until("both wait", || pool.stats().waiting == 2).await;
    gate.add_permits(3);
    first.await.expect("no panic").expect("answers");
    let fresh = fresh.await.expect("no panic").expect("answers");
    let third = third.await.expect("no panic").expect("answers");
    assert!(!usage(&fresh).is_reused());
    assert_eq!(connection(&third), connection(&fresh));
    let order: Vec<_> = peer
        .requests()
        .iter()
        .map(|s| s.request.target.clone())
        .collect();
    assert_eq!(order, ["/1", "/2", "/3"]);
}

#[tokio::test]
async fn a_connect_that_takes_too_long_fails_and_frees_its_place() {
    let never = tower::service_fn(|_: http::Uri| {
        std::future::pending::<Result<hyper_util::rt::TokioIo<support::MemoryIo>, std::io::Error>>()
    });
    let pool: Pool<_, Full<Bytes>> = Pool::builder()
        .connect_timeout(Some(Duration::from_millis(20)))
        .build(never);
    let uri = "http://h/".parse().expect("a URI");
    let error = fetch(&pool, get(&uri)).await.expect_err("takes too long");
    assert_eq!(error.kind(), PoolErrorKind::ConnectTimeout);
    assert!(error.is_connect());
    assert_eq!(pool.stats().open, 0);
}

//! When idle connections close: by policy, by the server's word, and on time.

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use support::{Log, Memory, answer_all, connection, fetch, get, until};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_conn_pool::{CloseReason, Pool, PortBudget, connector};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const S: fn(u64) -> Duration = Duration::from_secs;

fn uri() -> http::Uri {
    "http://h/".parse().expect("a URI")
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_on_time_without_any_request() {
    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::builder().idle_timeout(Some(S(30))).build(server);
    let response = fetch(&pool, get(&uri())).await.expect("answers");
    let conn = connection(&response);
    sleep(S(30) - Duration::from_millis(10)).await;
    assert_eq!((pool.stats().open, conn.is_closed()), (1, false));
    sleep(Duration::from_millis(30)).await;
    assert_eq!(pool.stats().open, 0, "the transport is gone");
    assert_eq!(conn.close_reason(), Some(CloseReason::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_hint_less_the_margin_closes_first() {
    let hinted = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n";
    let server = Memory::new(move |stream, _| answer_all(stream, hinted));
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .observer(log.observe())
        .build(server.clone());
    let response = fetch(&pool, get(&uri())).await.expect("answers");
    let conn = connection(&response).clone();
    sleep(S(2)).await;
    fetch(&pool, get(&uri())).await.expect("answers");
    assert_eq!(server.opened(), 1, "within the announced time");
    sleep(Duration::from_millis(3_050)).await;
    assert_eq!(conn.close_reason(), Some(CloseReason::HintExpired));
    assert_eq!(pool.stats().open, 0);
    assert_eq!(log.count("hint timeout=5"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_hint_of_an_origin_applies_to_its_new_connections() {
    let server = Memory::new(|mut stream, number| async move {
        let _ = stream.read_request().await;
        let hint = if number == 1 {
            "Keep-Alive: timeout=5\r\n"
        } else {
            ""
        };
        let response = format!("HTTP/1.1 200 OK\r\n{hint}Content-Length: 0\r\n\r\n");
        let _ = stream.send(response).await;
        let _ = stream.read_request().await;
    });
    let pool: Pool<_, Full<Bytes>> = Pool::new(server.clone());
    fetch(&pool, get(&uri())).await.expect("answers");
    sleep(S(4)).await;
    assert_eq!(pool.stats().open, 0);
    fetch(&pool, get(&uri())).await.expect("answers");
    assert_eq!(server.opened(), 2);
    sleep(S(4)).await;
    assert_eq!(
        pool.stats().open,
        0,
        "the second said nothing, the first had"
    );
}

#[tokio::test(start_paused = true)]
async fn wildly_different_hints_are_each_honoured() {
    let hints: [(&str, u64); 6] = [
        ("timeout=3", 1),
        ("timeout=600", 45),
        ("timeout=4, max=100", 2),
        ("timeout=99999999999999999999", 45),
        ("timeout=banana", 45),
        ("timeout=12", 10),
    ];
    let server = Memory::new(move |mut stream, _| async move {
        while let Ok(request) = stream.read_request().await {
            let n: usize = request.target[1..].parse().expect("a number");
            let hint = hints[n].0;
            let response =
                format!("HTTP/1.1 200 OK\r\nKeep-Alive: {hint}\r\nContent-Length: 0\r\n\r\n");
            if stream.send(response).await.is_err() {
                return;
            }
        }
    });
    let pool: Pool<_, Full<Bytes>> = Pool::new(server);
    let start = Instant::now();
    let mut open = Vec::new();
    for (n, (_, idle)) in hints.iter().enumerate() {
        // An origin each, so that none gets the hint of another.
        let uri = format!("http://h{n}/{n}").parse().expect("a URI");
        let response = fetch(&pool, get(&uri)).await.expect("answers");
        open.push((connection(&response).clone(), S(*idle)));
    }
    for tick in 0..470 {
        let now = S(1) * tick / 10;
        tokio::time::sleep_until(start + now).await;
        for (conn, idle) in &open {
            if now + Duration::from_millis(50) < *idle {
                assert!(!conn.is_closed(), "{idle:?} at {now:?}");
            } else if now > *idle + Duration::from_millis(50) {
                assert!(conn.is_closed(), "{idle:?} at {now:?}");
            }
        }
    }
    assert_eq!(pool.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn max_counts_down_where_the_server_does_not_repeat_it() {
    let server = Memory::new(|mut stream, _| async move {
        let mut first = "Keep-Alive: max=2\r\n";
        while stream.read_request().await.is_ok() {
            let response = format!("HTTP/1.1 200 OK\r\n{first}Content-Length: 0\r\n\r\n");
            first = "";
            if stream.send(response).await.is_err() {
                return;
            }
        }
    });
    let pool: Pool<_, Full<Bytes>> = Pool::new(server.clone());
    let mut last = None;
    for opened in [1, 1, 1, 2] {
        let response = fetch(&pool, get(&uri())).await.expect("answers");
        assert_eq!(server.opened(), opened);
        last.get_or_insert_with(|| connection(&response).clone());
    }
    let first = last.expect("four requests");
    assert_eq!(first.exchanges_begun(), 3, "one, and two more");
    assert_eq!(first.close_reason(), Some(CloseReason::MaxRequests));
}

#[tokio::test(start_paused = true)]
async fn uses_and_age_retire_connections() {
    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::builder()
        .max_uses(NonZeroU32::new(2))
        .build(server.clone());
    for opened in [1, 1, 2, 2, 3] {
        fetch(&pool, get(&uri())).await.expect("answers");
        assert_eq!(server.opened(), opened);
    }

    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::builder()
        .idle_timeout(None)
        .max_age(Some(S(100)))
        .age_jitter(0)
        .build(server.clone());
    let response = fetch(&pool, get(&uri())).await.expect("answers");
    sleep(S(99)).await;
    assert_eq!(pool.stats().open, 1);
    sleep(Duration::from_millis(1_050)).await;
    assert_eq!(pool.stats().open, 0, "closed by the timer");
    assert_eq!(
        connection(&response).close_reason(),
        Some(CloseReason::MaxAge)
    );
}

#[tokio::test(start_paused = true)]
async fn without_connections_there_is_no_timer() {
    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::new(server);
    fetch(&pool, get(&uri())).await.expect("answers");
    sleep(S(100)).await;
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 0, "hyper issue 4100");
    fetch(&pool, get(&uri())).await.expect("answers");
    sleep(S(100)).await;
    assert_eq!(pool.stats().open, 0, "and it starts again");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_close_with_the_last_handle() {
    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::new(server);
    let response = fetch(&pool, get(&uri())).await.expect("answers");
    drop(pool);
    sleep(Duration::from_millis(10)).await;
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 0);
    assert_eq!(
        connection(&response).close_reason(),
        Some(CloseReason::Application)
    );
}

#[tokio::test]
async fn closes_after_the_last_handle_are_reported_and_counted() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        exchange.ok("two frames").await.expect("sends");
    })
    .await;
    let (log, ports) = (Log::default(), PortBudget::new(100));
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .observer(log.observe())
        .port_budget(ports.clone())
        .build(connector());
    let held = pool.clone().oneshot(get(&peer.uri("/"))).await;
    let held = held.expect("answers");
    fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_eq!(pool.stats().idle, 1);
    drop(pool);
    until("the idle one is reported", || {
        log.count("closed application") == 1
    })
    .await;
    let conn = connection(&held).clone();
    let body = held.into_body().collect().await.expect("is not cut");
    assert_eq!(body.to_bytes(), "two frames");
    until("the other one is reported", || {
        log.count("closed application") == 2
    })
    .await;
    assert_eq!(conn.close_reason(), Some(CloseReason::Application));
    peer.until_closed(2).await;
    assert_eq!(ports.used(peer.addr()), 2, "both in TIME_WAIT");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_the_handle_can_have_an_idle_connection_closed() {
    let server = Memory::new(|stream, _| answer_all(stream, OK));
    let pool: Pool<_, Full<Bytes>> = Pool::new(server.clone());
    let response = fetch(&pool, get(&uri())).await.expect("answers");
    connection(&response).request_close(CloseReason::Application);
    fetch(&pool, get(&uri())).await.expect("answers");
    assert_eq!(server.opened(), 2);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(pool.stats().open, 1);
}

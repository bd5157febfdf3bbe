//! Which connections are used again, and which never are.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use support::{Log, TcpPool, connection, fetch, get, until, usage};
use tower::ServiceExt;
use tower_conn_core::ExchangeEvent;
use tower_conn_pool::{
    CloseDelimited, CloseReason, Connection, Delivery, FreshConnection, Pool, PoolErrorKind,
    connector,
};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};

async fn say(mut exchange: Exchange, response: &str) {
    exchange.send(response).await.expect("sends");
}

#[tokio::test]
async fn a_connection_is_used_again_and_says_so() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sends");
    })
    .await;
    let pool = TcpPool::new(connector());
    let first = fetch(&pool, get(&peer.uri("/a?b"))).await.expect("answers");
    let second = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_eq!(second.body(), "hi");
    assert_eq!(connection(&first), connection(&second));
    assert!(!usage(&first).is_reused() && usage(&first).idle_for.is_none());
    assert_eq!(usage(&second).exchanges_before, 1);
    assert!(usage(&second).idle_for.is_some());
    assert_eq!(connection(&first).peer_addr(), Some(peer.addr()));
    assert!(connection(&first).local_addr().is_some());

    let seen = peer.requests();
    assert_eq!(seen[0].request.target, "/a?b", "origin-form");
    assert_eq!(
        seen[0].request.fields.text("host"),
        Some(peer.addr().to_string())
    );
    assert_eq!(peer.connections().len(), 1);
    assert_eq!(pool.stats().idle, 1);
}

#[tokio::test]
async fn exchanges_are_told_on_every_connection() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("sends");
    })
    .await;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pool: TcpPool = Pool::builder()
        .on_exchange(move |connection: &Connection, event: ExchangeEvent| {
            let _ = sender.send((connection.id(), event));
        })
        .build(connector());
    let mut expected = Vec::new();
    for number in [1, 2] {
        let response = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
        expected.push((connection(&response).id(), number));
    }
    for (id, number) in expected {
        for what in ["Begun", "Ended"] {
            let (on, event) = told.recv().await.expect("it is told");
            assert_eq!(on, id);
            assert_eq!(
                format!("{event:?}"),
                format!("{what} {{ number: {number} }}")
            );
        }
    }
}

#[tokio::test]
async fn the_most_recently_used_connection_is_first() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        if exchange.request.target == "/slow" {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        exchange.ok("").await.expect("sends");
    })
    .await;
    let pool = TcpPool::new(connector());
    let (slow, quick) = tokio::join!(
        fetch(&pool, get(&peer.uri("/slow"))),
        fetch(&pool, get(&peer.uri("/quick"))),
    );
    let (slow, quick) = (slow.expect("answers"), quick.expect("answers"));
    assert_ne!(connection(&slow), connection(&quick));
    let next = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_eq!(connection(&next), connection(&slow), "the last one back");
}

#[tokio::test]
async fn idle_connections_that_ended_are_never_handed_out() {
    for end in ["fin", "reset", "unasked 408", "junk"] {
        let peer = ScriptedPeer::start(move |mut exchange: Exchange| async move {
            exchange.ok("").await.expect("sends");
            if exchange.connection() == 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                match end {
                    "fin" => exchange.close(),
                    "reset" => exchange.reset(),
                    "junk" => exchange.send("x").await.expect("sends"),
                    // RFC 9110 section 15.5.9: not an answer to the next request.
                    _ => exchange
                        .send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .expect("sends"),
                }
            }
        })
        .await;
        let log = Log::default();
        let pool: Pool<_, Full<Bytes>, _> =
            Pool::builder().observer(log.observe()).build(connector());
        fetch(&pool, get(&peer.uri("/1"))).await.expect("answers");
        until("the pool notices", || pool.stats().open == 0).await;
        let second = fetch(&pool, get(&peer.uri("/2"))).await.expect("answers");
        assert_eq!(second.status(), StatusCode::OK, "{end}");
        assert_eq!(usage(&second).exchanges_before, 0, "{end}");
        assert_eq!(peer.requests().len(), 2, "{end}: nothing was sent twice");
        let closed = match end {
            "fin" => "closed peer_closed",
            "reset" => "closed peer_reset",
            _ => "closed unsolicited_bytes",
        };
        assert_eq!(log.count(closed), 1, "{end}: {:?}", log.lines());
    }
}

/// The FIN is in the socket, and no task has been told: the request is handed back by hyper, unwritten,
/// and goes out on a connection of its own.
#[tokio::test]
async fn a_fin_that_the_runtime_has_not_seen_is_looked_for() {
    for _ in 0..20 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let uri = format!("http://{}/", listener.local_addr().expect("bound"))
            .parse()
            .expect("a URI");
        let (closed, is_closed) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            for n in 1..=2 {
                let (mut stream, _) = listener.accept().expect("accepts");
                let mut buf = [0; 1024];
                let read = stream.read(&mut buf).expect("reads");
                assert!(read > 0, "a request");
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .expect("writes");
                if n == 1 {
                    std::thread::sleep(Duration::from_millis(10));
                    drop(stream);
                    closed.send(()).expect("is awaited");
                }
            }
        });
        let pool = TcpPool::new(connector());
        fetch(&pool, get(&uri)).await.expect("answers");
        // Blocks the only thread of the runtime, so that its reactor cannot report the FIN.
        is_closed.recv().expect("is sent");
        std::thread::sleep(Duration::from_millis(5));
        let second = fetch(&pool, get(&uri)).await.expect("is not lost");
        assert!(!usage(&second).is_reused());
        server.join().expect("no panic");
    }
}

#[tokio::test]
async fn responses_that_do_not_persist_retire_their_connection() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
            CloseReason::PeerRequested,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            CloseReason::Http10,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            CloseReason::FaultyFraming,
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
            CloseReason::FaultyFraming,
        ),
        (
            "HTTP/1.1 408 Request Timeout\r\nContent-Length: 1\r\n\r\nx",
            CloseReason::Status,
        ),
        (
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\nx",
            CloseReason::HintExpired,
        ),
        (
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=50, max=0\r\nContent-Length: 1\r\n\r\nx",
            CloseReason::MaxRequests,
        ),
    ];
    for (response, reason) in cases {
        let peer = ScriptedPeer::start(move |exchange| say(exchange, response)).await;
        let log = Log::default();
        let pool: Pool<_, Full<Bytes>, _> =
            Pool::builder().observer(log.observe()).build(connector());
        let first = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
        let second = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
        assert_ne!(connection(&first), connection(&second), "{reason}");
        assert_eq!(connection(&first).close_reason(), Some(reason));
        peer.until_closed(2).await;
        until("both are closed", || pool.stats().open == 0).await;
        assert_eq!(
            log.count(&format!("closed {reason}")),
            2,
            "{:?}",
            log.lines()
        );
    }
}

#[tokio::test]
async fn a_request_with_connection_close_retires_its_connection() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("").await.expect("sends");
    })
    .await;
    let pool = TcpPool::new(connector());
    let mut request = get(&peer.uri("/"));
    request
        .headers_mut()
        .insert("connection", "close".parse().expect("a value"));
    let response = fetch(&pool, request).await.expect("answers");
    peer.until_closed(1).await;
    assert_eq!(
        connection(&response).close_reason(),
        Some(CloseReason::Application)
    );
}

#[tokio::test]
async fn a_body_that_the_close_ends_is_marked() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        exchange
            .send("HTTP/1.1 200 OK\r\n\r\nperhaps all")
            .await
            .expect("sends");
        exchange.close();
    })
    .await;
    let pool = TcpPool::new(connector());
    let response = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_eq!(response.body(), "perhaps all");
    assert!(response.extensions().get::<CloseDelimited>().is_some());
    until("it is closed", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_not_an_end() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let peer = ScriptedPeer::start(move |mut exchange: Exchange| async move {
            exchange.send(response).await.expect("sends");
            exchange.close();
        })
        .await;
        let pool = TcpPool::new(connector());
        let error = fetch(&pool, get(&peer.uri("/"))).await.expect_err("is cut");
        assert_eq!(error.kind(), PoolErrorKind::Body);
        assert_eq!(error.delivery(), Delivery::Responded);
        assert!(error.connection().is_some_and(Connection::is_closing));
        until("it is closed", || pool.stats().open == 0).await;
    }
}

#[tokio::test]
async fn a_small_body_that_is_dropped_is_drained_and_a_large_one_closes() {
    let peer = ScriptedPeer::start(|mut exchange: Exchange| async move {
        match &*exchange.request.target.clone() {
            "/small" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
                exchange.send(head).await.expect("sends");
                exchange
                    .send_after(Duration::from_millis(20), vec![b'x'; 1000])
                    .await
                    .expect("sends");
            }
            "/large" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nx";
                exchange.send(head).await.expect("sends");
            }
            "/stalled" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx";
                exchange.send(head).await.expect("sends");
            }
            _ => exchange.ok("").await.expect("sends"),
        }
    })
    .await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .drain(64 * 1024, Duration::from_millis(100))
        .observer(log.observe())
        .build(connector());
    let head = |path| pool.clone().oneshot(get(&peer.uri(path)));

    let response = head("/small").await.expect("answers");
    let small = connection(&response).clone();
    drop(response);
    until("it is back", || pool.stats().idle == 1).await;
    let next = fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    assert_eq!(connection(&next), &small);

    for path in ["/large", "/stalled"] {
        drop(head(path).await.expect("answers"));
        until("it is closed", || pool.stats().open == 0).await;
    }
    assert_eq!(log.count("closed body_dropped"), 2, "{:?}", log.lines());
}

#[tokio::test]
async fn a_body_read_to_its_last_byte_need_not_be_polled_again() {
    let peer = ScriptedPeer::start(|exchange| {
        say(
            exchange,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
    })
    .await;
    let pool = TcpPool::new(connector());
    let mut response = pool
        .clone()
        .oneshot(get(&peer.uri("/")))
        .await
        .expect("answers");
    let frame = response.body_mut().frame().await.expect("a frame");
    assert_eq!(frame.expect("data").into_data().expect("data"), "hi");
    drop(response);
    until("it is back", || pool.stats().idle == 1).await;
}

#[tokio::test]
async fn a_fresh_connection_is_one_that_nobody_has_used() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("").await.expect("sends");
    })
    .await;
    let log = Log::default();
    let pool: Pool<_, Full<Bytes>, _> = Pool::builder()
        .max_per_origin(std::num::NonZeroUsize::MIN)
        .observer(log.observe())
        .build(connector());
    fetch(&pool, get(&peer.uri("/"))).await.expect("answers");
    let mut request = get(&peer.uri("/"));
    request.extensions_mut().insert(FreshConnection);
    let response = fetch(&pool, request).await.expect("answers");
    assert!(!usage(&response).is_reused());
    assert_eq!(log.count("closed evicted"), 1, "it made room");
    assert_eq!(pool.stats().open, 1);
}

#[tokio::test]
async fn a_response_before_the_request_body_is_done_does_not_free_the_connection() {
    let peer = ScriptedPeer::on_head(|mut exchange: Exchange| async move {
        if exchange.request.method == "POST" {
            exchange.ok("early").await.expect("sends");
            std::future::pending::<()>().await;
        }
        exchange.ok("").await.expect("sends");
    })
    .await;
    let log = Log::default();
    let pool: Pool<_, http_body_util::StreamBody<Never>, _> = Pool::builder()
        .drain(0, Duration::from_millis(50))
        .observer(log.observe())
        .build(connector());
    let request = Request::post(peer.uri("/"))
        .body(http_body_util::StreamBody::new(Never))
        .expect("a request");
    let response = pool.clone().oneshot(request).await.expect("answers");
    let body = response.into_body().collect().await.expect("reads");
    assert_eq!(body.to_bytes(), "early");
    assert_eq!(pool.stats().idle, 0);
    // hyper issue 4176: neither pooled nor leaked.
    until("it is closed", || pool.stats().open == 0).await;
    assert_eq!(
        log.count("closed incomplete_message"),
        1,
        "{:?}",
        log.lines()
    );
}

/// A request body that never ends.
struct Never;

impl futures_core::Stream for Never {
    type Item = Result<http_body::Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

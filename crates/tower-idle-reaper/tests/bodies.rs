//! Uploads that stall, and clients that stop reading.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::Ended;
use tower_idle_reaper::{Policy, ReapHandle};

const HEAD: &str = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
const CHUNKED: &str = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn body_gap_timeout() {
    for engine in Engine::HTTP1 {
        for (head, some) in [(HEAD, &b"x"[..]), (CHUNKED, b"5\r\nhell"), (CHUNKED, b"")] {
            let server = Server::new(engine, Policy::safe().body_rate(None));
            let mut client = server.connect();
            client.send(head).await.unwrap();
            tokio::time::sleep(secs(20)).await;
            client.send([&[], some].concat()).await.unwrap();
            let start = Instant::now();
            let answer = client.read_response("POST").await.unwrap();
            let took = Instant::now() - start;
            let waits = if some.is_empty() { 10 } else { 30 };
            assert!(
                took >= secs(waits) && took <= secs(waits) + millis(100),
                "{engine:?}: {took:?}"
            );
            assert_eq!(answer.status, 408, "the handler saw the body fail");
            assert_eq!(answer.tokens("connection"), ["close"]);
            assert_eq!(client.ended(secs(11)).await, Ended::Fin);
            server.until_empty().await;
            assert_eq!(
                server.ended(),
                [(CloseReason::BodyTimeout, 1)],
                "{engine:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_min_rate() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(HEAD).await.unwrap();
        let start = Instant::now();
        while client.unread().is_empty() && client.send("x").await.is_ok() {
            client.ended(secs(1)).await;
        }
        let took = Instant::now() - start;
        assert!(took >= secs(5) && took <= secs(7), "{engine:?}: {took:?}");
        assert_eq!(client.read_response("POST").await.unwrap().status, 408);

        // The fast one: 300 bytes a second for a minute.
        let mut client = server.connect();
        client
            .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 18000\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..60 {
            client.send([b'x'; 300]).await.unwrap();
            tokio::time::sleep(secs(1)).await;
        }
        assert_eq!(client.read_response("POST").await.unwrap().text(), "taken");
    }
}

/// The handler is slow; the client has sent everything, or would if it were read.
#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_read_is_not_the_clients_fault() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        for request in [
            "POST /slow/100 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "GET /slow/100 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "POST /slow/100 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            let mut client = server.connect();
            client.send(request).await.unwrap();
            let answer = client.read_response("POST").await.unwrap();
            assert_eq!(answer.text(), "late", "{engine:?}: {request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_after_the_head_of_a_get_is_followed() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client
            .send("GET /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(millis(10)).await;
        client.send("hello").await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), "taken");
        // It is idle now, and not in the middle of a head.
        assert_eq!(client.ended(secs(70)).await, Ended::Open);
        assert_eq!(client.ended(secs(6)).await, Ended::Fin);
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::Idle, 1)], "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn write_stall_seen_below_http() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().write_rate(None));
        let mut client = server.connect();
        client.send(get("/endless")).await.unwrap();
        let connection = loop {
            tokio::time::sleep(millis(10)).await;
            if let Some(connection) = server.reaper.open_connections().pop() {
                break connection;
            }
        };
        let start = Instant::now();
        server.until_empty().await;
        let took = Instant::now() - start;
        assert!(took >= secs(29) && took <= secs(31), "{engine:?}: {took:?}");
        assert_eq!(server.ended(), [(CloseReason::WriteStall, 1)], "{engine:?}");
        assert_eq!(connection.exchanges_open(), 0, "the body was dropped");
        let sent = ReapHandle::new(&connection)
            .expect("a reaper's")
            .bytes_out();
        assert!(sent < 1024 * 1024, "{sent} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn write_trickle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(get("/endless")).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        let start = Instant::now();
        while server.reaper.connections() > 0 {
            tokio::time::sleep(secs(2)).await;
            let _ = client.read_bytes(1).await;
        }
        let took = Instant::now() - start;
        assert!(took >= secs(3) && took <= secs(9), "{engine:?}: {took:?}");
        assert_eq!(server.ended(), [(CloseReason::WriteStall, 1)], "{engine:?}");
    }
}

/// Ten kilobytes a second are slow and fair.
#[tokio::test(start_paused = true)]
async fn a_slow_but_fair_reader_is_served() {
    for engine in Engine::HTTP1 {
        let mut server = Server::new(engine, Policy::safe());
        server.pipe_size = 4096;
        let mut client = server.connect();
        client.send(get("/big/600000")).await.unwrap();
        let mut got = 0;
        while got < 600_000 {
            got += client.read_bytes(10_000).await.expect("served").len();
            tokio::time::sleep(secs(1)).await;
        }
    }
}

/// The response is complete in the engine's buffer when the close is asked for: it must be written.
#[tokio::test(start_paused = true)]
async fn a_close_waits_for_a_response_that_the_client_still_takes() {
    for engine in Engine::HTTP1 {
        let mut server = Server::new(engine, Policy::safe());
        server.pipe_size = 1024;
        let mut client = server.connect();
        client.send(get("/big/20000")).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        let connection = server.reaper.open_connections().remove(0);
        assert!(
            connection.is_idle(),
            "{engine:?}: the body has been handed over"
        );
        connection.request_close(CloseReason::MaxAge);
        tokio::time::sleep(secs(1)).await;
        let answer = client.read_response("GET").await.unwrap();
        assert!(answer.complete && answer.body.len() == 20_000, "{engine:?}");
        assert_eq!(client.ended(secs(1)).await, Ended::Fin);
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::MaxAge, 1)], "{engine:?}");
    }
}

/// The body that has not arrived yet belongs to another request than those that are answered.
#[tokio::test(start_paused = true)]
async fn a_pipelined_body_does_not_close_after_the_requests_before_it() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        let post = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let burst = [&get("/")[..], post.as_bytes(), post.as_bytes()].concat();
        let (most, rest) = burst.split_at(burst.len() - 2);
        client.send(most).await.unwrap();
        for method in ["GET", "POST"] {
            let answer = client.read_response(method).await.unwrap();
            assert_eq!(answer.status, 200, "{engine:?}");
            assert!(answer.tokens("connection").is_empty(), "{engine:?}");
        }
        client.send(rest).await.unwrap();
        let answer = client.read_response("POST").await.unwrap();
        assert!(answer.tokens("connection").is_empty(), "{engine:?}");

        // Nor is it waited for once it is here, behind a request without one, in one piece.
        let chunked =
            "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        client
            .send([&get("/")[..], chunked.as_bytes()].concat())
            .await
            .unwrap();
        client.read_response("GET").await.unwrap();
        client.read_response("POST").await.unwrap();
        tokio::time::sleep(secs(60)).await;
        client.send(get("/")).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert!(answer.tokens("connection").is_empty(), "{engine:?}");
    }
}

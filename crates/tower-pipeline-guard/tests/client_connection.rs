//! The `c-` vectors: what a pipelined connection sends when, and what becomes of its requests.

mod client_support;

use std::num::NonZeroUsize;
use std::time::Duration;

use client_support::{
    Outcome, Peer, call, connect, get, ok, outcome, paths, proven, request, silent, spawn_call,
    start,
};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_conn_testkit::body::{Hint, Script};
use tower_conn_testkit::raw::Ended;
use tower_conn_testkit::vectors;
use tower_pipeline_guard::client::{Builder, OnInformational, OnUpgrade, PipelineHint};

fn depth(requests: usize) -> Builder {
    Builder::new().depth(NonZeroUsize::new(requests).expect("not zero"))
}

const fn body(text: &'static str) -> Outcome {
    Outcome::Body(text)
}

macro_rules! vectors {
    ($($name:ident $body:block)*) => {
        $(#[tokio::test] async fn $name() $body)*

        #[test]
        fn every_connection_vector_has_a_test() {
            let tested = [$(stringify!($name)),*];
            for vector in vectors::load("tests/vectors/pipelining.jsonl") {
                let name = vector["name"].as_str().expect("a name").replace('-', "_");
                if name.starts_with("c_") && !IN_THE_POOL.contains(&&*name) {
                    assert!(tested.contains(&&*name), "{name}");
                }
            }
        }
    };
}

/// What needs more than one connection, or a memory of the server, is in tower-conn-pool, and tested in
/// its `tests/pipelining_vectors.rs`.
const IN_THE_POOL: [&str; 3] = ["c_keepalive_max", "c_keepalive_timeout", "c_degrade"];

vectors! {
    c_order_three {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(3)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        assert_eq!(paths(&mut stream, 3).await, ["/1", "/2", "/3"]);
        stream.send(ok("1") + &ok("2") + &ok("3")).await.expect("open");
        for (call, expected) in calls.into_iter().zip(["1", "2", "3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
        let (again, _) = tokio::join!(outcome(&mut connection, get("/4")), async {
            paths(&mut stream, 1).await;
            stream.send(ok("4")).await.expect("open");
        });
        assert_eq!(again, body("4"));
    }

    c_order_bytewise {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(3)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        stream.send_each_byte(ok("1") + &ok("2") + &ok("3")).await.expect("open");
        for (call, expected) in calls.into_iter().zip(["1", "2", "3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_depth_one_is_off {
        let peer = Peer::bind().await;
        let (connection, mut stream, _driver) = proven(&peer, depth(1)).await;
        let calls = ["/1", "/2", "/3"].map(|path| spawn_call(&connection, get(path)));
        for _ in 0..3 {
            let path = paths(&mut stream, 1).await.remove(0);
            silent(&mut stream).await;
            stream.send(ok(&path)).await.expect("open");
        }
        for (call, expected) in calls.into_iter().zip(["/1", "/2", "/3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_refill_continuous {
        let peer = Peer::bind().await;
        let (connection, mut stream, _driver) = proven(&peer, depth(3)).await;
        let calls = ["/0", "/1", "/2", "/3", "/4", "/5"].map(|path| spawn_call(&connection, get(path)));
        let mut arrived = paths(&mut stream, 3).await;
        for answered in 0..6 {
            silent(&mut stream).await;
            stream.send(ok(&arrived[answered])).await.expect("open");
            if answered < 3 {
                arrived.extend(paths(&mut stream, 1).await);
            }
        }
        for (call, expected) in calls.into_iter().zip(["/0", "/1", "/2", "/3", "/4", "/5"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_probe_first {
        let peer = Peer::bind().await;
        let (connection, _driver) = connect(&peer, depth(3)).await;
        let calls = ["/1", "/2", "/3"].map(|path| spawn_call(&connection, get(path)));
        let mut stream = peer.accept().await;
        let first = paths(&mut stream, 1).await;
        silent(&mut stream).await;
        stream.send(ok(&first[0])).await.expect("open");
        let rest = paths(&mut stream, 2).await;
        stream.send(ok(&rest[0]) + &ok(&rest[1])).await.expect("open");
        for (call, expected) in calls.into_iter().zip(["/1", "/2", "/3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
        assert_eq!(connection.depth(), 3);
    }

    c_probe_http10 {
        let peer = Peer::bind().await;
        let (connection, _driver) = connect(&peer, depth(3)).await;
        let calls = ["/1", "/2", "/3"].map(|path| spawn_call(&connection, get(path)));
        let mut stream = peer.accept().await;
        for _ in 0..3 {
            paths(&mut stream, 1).await;
            silent(&mut stream).await;
            let answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi";
            stream.send(answer).await.expect("open");
        }
        for call in calls {
            assert_eq!(call.await.expect("no panic").0, body("hi"));
        }
    }

    c_origin_memory {
        let peer = Peer::bind().await;
        let (connection, _driver) = connect(&peer, depth(3).assume_proven(true)).await;
        let _calls = ["/1", "/2", "/3"].map(|path| spawn_call(&connection, get(path)));
        let mut stream = peer.accept().await;
        assert_eq!(paths(&mut stream, 3).await, ["/1", "/2", "/3"]);
    }

    c_post_barrier_behind {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let first = start(&mut connection, get("/1")).await;
        let second = start(&mut connection, request("POST", "/2", "x")).await;
        let third = spawn_call(&connection, get("/3"));
        for path in ["/1", "/2", "/3"] {
            assert_eq!(paths(&mut stream, 1).await, [path]);
            silent(&mut stream).await;
            stream.send(ok(path)).await.expect("open");
        }
        for (call, expected) in [first, second, third].into_iter().zip(["/1", "/2", "/3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_put_delete_allowed_optin {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8).idempotent(true)).await;
        let mut calls = Vec::new();
        for next in [request("PUT", "/1", "x"), request("DELETE", "/2", ""), get("/3")] {
            calls.push(start(&mut connection, next).await);
        }
        let put = stream.read_request().await.expect("a request");
        assert_eq!((put.target.as_str(), put.text()), ("/1", "x"));
        assert_eq!(put.fields.text("content-length").as_deref(), Some("1"));
        assert_eq!(paths(&mut stream, 2).await, ["/2", "/3"]);
        stream.send(ok("1") + &ok("2") + &ok("3")).await.expect("open");
        for (call, expected) in calls.into_iter().zip(["1", "2", "3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_stream_body_barrier {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8).idempotent(true)).await;
        let first = start(&mut connection, get("/1")).await;
        let (script, probe) = Script::new().hint(Hint::Unknown).data("ab").stall().data("c").body();
        let put = http::Request::put("http://x/2")
            .body(Box::pin(script).map_err(|_| "script".into()).boxed_unsync())
            .expect("a request");
        let second = start(&mut connection, put).await;
        let third = spawn_call(&connection, get("/3"));
        paths(&mut stream, 1).await;
        silent(&mut stream).await;
        stream.send(ok("1")).await.expect("open");
        let put = stream.read_request_head().await.expect("a head");
        assert_eq!(put.fields.text("transfer-encoding").as_deref(), Some("chunked"));
        stream.read_bytes(put.raw.len()).await.expect("the head");
        assert_eq!(stream.read_bytes(7).await.expect("a chunk"), "2\r\nab\r\n");
        silent(&mut stream).await;
        probe.resume();
        assert_eq!(stream.read_bytes(11).await.expect("the rest"), "1\r\nc\r\n0\r\n\r\n");
        silent(&mut stream).await;
        stream.send(ok("2")).await.expect("open");
        assert_eq!(paths(&mut stream, 1).await, ["/3"]);
        stream.send(ok("3")).await.expect("open");
        for (call, expected) in [first, second, third].into_iter().zip(["1", "2", "3"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
    }

    c_connect_barrier {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
        let mut tunnel = request("CONNECT", "", "");
        *tunnel.uri_mut() = http::Uri::from_static("x:443");
        let client = async {
            let mut response = call(&mut connection, tunnel).await.expect("a tunnel");
            let upgrade = OnUpgrade::take(response.extensions_mut()).expect("an upgrade");
            let mut tunnel = upgrade.upgraded().await.expect("the transport");
            let mut seen = [0; 8];
            tunnel.read_exact(&mut seen).await.expect("bytes");
            assert_eq!(&seen, b"HTTP/1.1");
            tunnel.write_all(b"pong").await.expect("open");
            assert_eq!(outcome(&mut connection, get("/2")).await, Outcome::NotSent);
        };
        let server = async {
            let head = stream.read_request().await.expect("a request");
            assert_eq!((head.method.as_str(), head.target.as_str()), ("CONNECT", "x:443"));
            stream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1").await.expect("open");
            assert_eq!(stream.read_bytes(4).await.expect("bytes"), "pong");
        };
        tokio::join!(client, server);
        driver.await.expect("no panic").expect("an orderly end");
    }

    c_expect_barrier {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let mut put = request("PUT", "/1", "abc");
        put.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        let first = start(&mut connection, put).await;
        let second = spawn_call(&connection, get("/2"));
        let head = stream.read_request_head().await.expect("a head");
        assert_eq!(head.target, "/1");
        stream.read_bytes(head.raw.len()).await.expect("the head");
        stream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await.expect("open");
        assert_eq!(first.await.expect("no panic").0, body("no"));
        let (rest, ended) = stream.read_to_end().await.expect("ends");
        assert_eq!((&rest[..], ended), (&b""[..], Ended::Fin), "neither the body nor /2");
        let (outcome, given_back) = second.await.expect("no panic");
        assert_eq!(outcome, Outcome::NotSent);
        assert!(given_back.is_none_or(|request| request.uri().path() == "/2"));
    }

    c_close_request_last {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
        let first = start(&mut connection, get("/1")).await;
        let mut last = get("/2");
        last.headers_mut().insert("connection", "close".parse().expect("a value"));
        let second = start(&mut connection, last).await;
        let third = spawn_call(&connection, get("/3"));
        assert_eq!(paths(&mut stream, 2).await, ["/1", "/2"]);
        silent(&mut stream).await;
        stream.send(ok("1") + &ok("2")).await.expect("open");
        assert_eq!(first.await.expect("no panic").0, body("1"));
        assert_eq!(second.await.expect("no panic").0, body("2"));
        assert_eq!(third.await.expect("no panic").0, Outcome::NotSent);
        assert_eq!(stream.ended(Duration::from_secs(5)).await, Ended::Fin);
        driver.await.expect("no panic").expect("an orderly end");
    }

    c_blocking_hint {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let mut slow = get("/slow");
        slow.extensions_mut().insert(PipelineHint::NoFollow);
        let first = start(&mut connection, slow).await;
        let second = spawn_call(&connection, get("/2"));
        paths(&mut stream, 1).await;
        silent(&mut stream).await;
        stream.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.expect("open");
        assert_eq!(paths(&mut stream, 1).await, ["/2"]);
        stream.send(format!("ONE{}", ok("2"))).await.expect("open");
        assert_eq!(first.await.expect("no panic").0, body("ONE"));
        assert_eq!(second.await.expect("no panic").0, body("2"));
    }

    c_close_mid_pipeline {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        stream.send(ok("1") + "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n").await.expect("open");
        let (third, request) = calls.pop().expect("three").await.expect("no panic");
        assert_eq!(third, Outcome::Unanswered, "as soon as the head is here");
        assert_eq!(request.expect("whole").uri().path(), "/3");
        assert_eq!(outcome(&mut connection, get("/4")).await, Outcome::NotSent);
        stream.send("TWO").await.expect("open");
        for (call, expected) in calls.into_iter().zip(["1", "TWO"]) {
            assert_eq!(call.await.expect("no panic").0, body(expected));
        }
        driver.await.expect("no panic").expect("an orderly end");
    }

    c_close_nonidempotent_follower {
        // A POST never shares the connection here; a DELETE does, if that is asked for.
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8).idempotent(true)).await;
        let first = start(&mut connection, get("/1")).await;
        let second = start(&mut connection, request("DELETE", "/2", "")).await;
        paths(&mut stream, 2).await;
        stream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nONE").await.expect("open");
        assert_eq!(first.await.expect("no panic").0, body("ONE"));
        let (outcome, request) = second.await.expect("no panic");
        assert_eq!(outcome, Outcome::Unanswered);
        assert_eq!(request.expect("whole").method(), "DELETE");
        let (rest, _) = stream.read_to_end().await.expect("ends");
        assert_eq!(rest, "", "nothing is sent again");
    }

    c_eof_before_any {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        stream.half_close().await.expect("open");
        let mut again = Vec::new();
        for call in calls {
            let (outcome, request) = call.await.expect("no panic");
            assert_eq!(outcome, Outcome::Unanswered);
            again.push(request.expect("whole"));
        }
        let (connection, _driver) = connect(&peer, depth(8)).await;
        let _calls: Vec<_> = again.into_iter().map(|request| spawn_call(&connection, request)).collect();
        let mut stream = peer.accept().await;
        let first = paths(&mut stream, 1).await;
        silent(&mut stream).await;
        stream.send(ok(&first[0])).await.expect("open");
        assert_eq!(paths(&mut stream, 2).await, ["/2", "/3"]);
    }

    c_eof_twice {
        let peer = Peer::bind().await;
        let mut request = get("/1");
        for _ in 0..2 {
            let (mut connection, driver) = connect(&peer, depth(8)).await;
            let call = start(&mut connection, request).await;
            let mut stream = peer.accept().await;
            paths(&mut stream, 1).await;
            stream.half_close().await.expect("open");
            let (outcome, given_back) = call.await.expect("no panic");
            assert_eq!(outcome, Outcome::Unanswered);
            request = given_back.expect("whole");
            driver.await.expect("no panic").expect_err("a request was lost");
        }
    }

    c_eof_mid_body {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        stream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour").await.expect("open");
        stream.half_close().await.expect("open");
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(call.await.expect("no panic").0);
        }
        assert_eq!(outcomes, [Outcome::BodyError, Outcome::Unanswered, Outcome::Unanswered]);
    }

    c_eof_mid_head {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        stream.send("HTTP/1.1 200 OK\r\nContent-Le").await.expect("open");
        stream.half_close().await.expect("open");
        for call in calls {
            let (outcome, request) = call.await.expect("no panic");
            assert_eq!(outcome, Outcome::Unanswered);
            assert!(request.is_some());
        }
    }

    c_rst_while_writing {
        let peer = Peer::bind().await;
        let (connection, mut stream, driver) = proven(&peer, depth(50)).await;
        let calls: Vec<_> = (0..50).map(|n| spawn_call(&connection, get(&format!("/{n}")))).collect();
        let first = paths(&mut stream, 1).await;
        stream.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", first[0])).await.expect("open");
        drop(stream);
        let mut answered = 0;
        for call in calls {
            match call.await.expect("no panic") {
                (Outcome::Body(text), _) => {
                    assert_eq!(text, first[0]);
                    answered += 1;
                }
                (Outcome::Unanswered | Outcome::NotSent, request) => assert!(request.is_some()),
                (Outcome::BodyError, _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
        assert!(answered <= 1);
        drop(driver.await.expect("no panic"));
    }

    c_partial_write {
        let peer = Peer::bind().await;
        let (connection, driver) = connect(&peer, depth(10_000).assume_proven(true)).await;
        let mut stream = peer.accept().await;
        let long = "p".repeat(4096);
        let calls: Vec<_> = (0..5_000).map(|n| spawn_call(&connection, get(&format!("/{n}/{long}")))).collect();
        paths(&mut stream, 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.reset().expect("open");
        let (mut unsent, mut unanswered) = (0, 0);
        for (n, call) in calls.into_iter().enumerate() {
            let (outcome, request) = call.await.expect("no panic");
            let request = request.expect("whole, as no body was touched");
            assert!(request.uri().path().starts_with(&format!("/{n}/")));
            match outcome {
                Outcome::NotSent => unsent += 1,
                Outcome::Unanswered => {
                    assert_eq!(unsent, 0, "sent in order");
                    unanswered += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(unsent > 0 && unanswered > 0, "{unsent} {unanswered}");
        driver.await.expect("no panic").expect_err("reset");
    }

    c_cancel_queued {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let first = start(&mut connection, get("/1")).await;
        let waiting = start(&mut connection, request("POST", "/2", "x")).await;
        let third = spawn_call(&connection, get("/3"));
        paths(&mut stream, 1).await;
        silent(&mut stream).await;
        waiting.abort();
        assert_eq!(paths(&mut stream, 1).await, ["/3"], "its place is free again");
        stream.send(ok("1") + &ok("3")).await.expect("open");
        assert_eq!(first.await.expect("no panic").0, body("1"));
        assert_eq!(third.await.expect("no panic").0, body("3"));
    }

    c_cancel_inflight_too_big {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
        let first = start(&mut connection, get("/1")).await;
        let second = start(&mut connection, get("/2")).await;
        paths(&mut stream, 2).await;
        first.abort();
        stream.send("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n").await.expect("open");
        while stream.send([b'x'; 8192]).await.is_ok() {}
        let (outcome, request) = second.await.expect("no panic");
        assert_eq!(outcome, Outcome::Unanswered);
        assert!(request.is_some());
        driver.await.expect("no panic").expect_err("abandoned");
    }

    c_body_dropped {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let response = async { call(&mut connection, get("/1")).await.expect("a response") };
        let (response, ()) = tokio::join!(response, async {
            paths(&mut stream, 1).await;
            stream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await.expect("open");
        });
        drop(response);
        let second = start(&mut connection, get("/2")).await;
        paths(&mut stream, 1).await;
        stream.send([&[b'x'; 1000][..], ok("2").as_bytes()].concat()).await.expect("open");
        assert_eq!(second.await.expect("no panic").0, body("2"));
    }

    c_body_not_read {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let (response, ()) = tokio::join!(call(&mut connection, get("/1")), async {
            paths(&mut stream, 1).await;
            stream.send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await.expect("open");
        });
        let unread = response.expect("a response").into_body();
        // The reader takes nothing: at some point nor does the socket.
        let mut sent = 0;
        let block = [b'x'; 64 * 1024];
        let stalled = Duration::from_millis(200);
        while tokio::time::timeout(stalled, stream.send(&block)).await.is_ok() {
            sent += block.len();
            assert!(sent < 50 << 20, "it is buffered somewhere");
        }
        drop(unread);
    }

    c_timeout_head_only_hol {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, driver) =
            proven(&peer, depth(8).head_timeout(Duration::from_millis(100))).await;
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(start(&mut connection, get(path)).await);
        }
        paths(&mut stream, 3).await;
        let mut outcomes = Vec::new();
        for call in calls {
            let (outcome, request) = call.await.expect("no panic");
            assert!(request.is_some());
            outcomes.push(outcome);
        }
        assert_eq!(outcomes, [Outcome::HeadTimeout, Outcome::Unanswered, Outcome::Unanswered]);
        driver.await.expect("no panic").expect_err("timed out");
    }

    c_hol_large {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let first = start(&mut connection, get("/1")).await;
        paths(&mut stream, 1).await;
        let length = 400 * 1024;
        stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await.expect("open");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = spawn_call(&connection, get("/2"));
        silent(&mut stream).await;
        stream.send(vec![b'x'; length]).await.expect("open");
        assert!(matches!(first.await.expect("no panic").0, Outcome::Body(text) if text.len() == length));
        assert_eq!(paths(&mut stream, 1).await, ["/2"]);
        stream.send(ok("2")).await.expect("open");
        assert_eq!(second.await.expect("no panic").0, body("2"));
    }

    c_hol_chunked_long {
        let peer = Peer::bind().await;
        let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
        let _events = start(&mut connection, get("/events")).await;
        paths(&mut stream, 1).await;
        stream.send("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("open");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _second = spawn_call(&connection, get("/2"));
        silent(&mut stream).await;
    }

    c_deadlock_both_write {
        let peer = Peer::bind().await;
        let (connection, mut stream, _driver) = proven(&peer, depth(64)).await;
        let long = "p".repeat(8 * 1024);
        let calls: Vec<_> = (0..200).map(|n| spawn_call(&connection, get(&format!("/{n}/{long}")))).collect();
        tokio::spawn(async move {
            let answer = ok(&"x".repeat(1 << 20));
            for _ in 0..200 {
                paths(&mut stream, 1).await;
                stream.send(&answer).await.expect("open");
            }
        });
        for call in calls {
            assert!(matches!(call.await.expect("no panic").0, Outcome::Body(text) if text.len() == 1 << 20));
        }
    }
}

#[tokio::test]
async fn informational_responses_are_delivered() {
    let peer = Peer::bind().await;
    let (mut connection, mut stream, _driver) = proven(&peer, depth(8)).await;
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut request = get("/1");
    request
        .extensions_mut()
        .insert(OnInformational::new(move |response: http::Response<()>| {
            sender.send(response.status()).expect("the test waits");
        }));
    let call = start(&mut connection, request).await;
    paths(&mut stream, 1).await;
    stream
        .send("HTTP/1.1 103 Early Hints\r\n\r\n".to_owned() + &ok("1"))
        .await
        .expect("open");
    assert_eq!(call.await.expect("no panic").0, body("1"));
    assert_eq!(
        receiver.iter().collect::<Vec<_>>(),
        [http::StatusCode::EARLY_HINTS]
    );
}

#[tokio::test]
async fn a_close_of_the_handle_is_obeyed() {
    use tower_conn_core::CloseReason;
    let peer = Peer::bind().await;
    let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
    let call = start(&mut connection, get("/1")).await;
    paths(&mut stream, 1).await;
    connection.connection().request_close(CloseReason::Draining);
    silent(&mut stream).await;
    assert_eq!(outcome(&mut connection, get("/2")).await, Outcome::NotSent);
    stream.send(ok("1")).await.expect("open");
    assert_eq!(call.await.expect("no panic").0, body("1"));
    driver.await.expect("no panic").expect("an orderly end");
    assert_eq!(stream.ended(Duration::from_secs(5)).await, Ended::Fin);
    assert_eq!(
        connection.connection().close_reason(),
        Some(CloseReason::Draining)
    );
    assert!(connection.connection().is_closed());
}

#[tokio::test]
async fn dropping_the_driver_fails_what_is_outstanding() {
    let peer = Peer::bind().await;
    let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
    let sent = start(&mut connection, get("/1")).await;
    let waiting = start(&mut connection, request("POST", "/2", "x")).await;
    paths(&mut stream, 1).await;
    driver.abort();
    assert_eq!(sent.await.expect("no panic").0, Outcome::Unanswered);
    let (outcome, request) = waiting.await.expect("no panic");
    assert_eq!(outcome, Outcome::NotSent);
    assert!(request.is_some());
}

#[tokio::test]
async fn the_connection_ends_with_its_last_service() {
    let peer = Peer::bind().await;
    let (mut connection, mut stream, driver) = proven(&peer, depth(8)).await;
    let call = start(&mut connection, get("/1")).await;
    drop(connection);
    paths(&mut stream, 1).await;
    stream.send(ok("1")).await.expect("open");
    assert_eq!(call.await.expect("no panic").0, body("1"));
    driver.await.expect("no panic").expect("an orderly end");
    assert_eq!(stream.ended(Duration::from_secs(5)).await, Ended::Fin);
}

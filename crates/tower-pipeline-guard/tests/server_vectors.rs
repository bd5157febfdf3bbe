//! The `s-` vectors behind the guard, on real sockets, under hyper, hyper-util and axum.
#![cfg(feature = "axum")]

mod support;

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::{KINDS, Kind, Server, gets};
use tower_conn_testkit::raw::{Ended, RawClient};
use tower_conn_testkit::vectors;
use tower_pipeline_guard::Pipeline;

/// Tested in `server_parallel.rs`, or in `src/server/handle_tests.rs`.
const TESTED_BESIDE: [&str; 11] = [
    "s_sequential_default",
    "s_parallel_safe",
    "s_parallel_cap",
    "s_coalesce",
    "s_half_close_client",
    "s_disconnect_with_tail",
    "s_close_kills_pending",
    "s_flush_fast_behind_slow",
    "s_flush_partial_next",
    "s_flush_stray_crlf",
    "s_spec_mismatch",
];

macro_rules! vectors {
    ($($name:ident ($kind:ident) $body:block)*) => {
        $(#[tokio::test] async fn $name() { for $kind in KINDS $body })*

        #[test]
        fn every_server_vector_has_a_test() {
            let tested = [$(stringify!($name)),*];
            for vector in vectors::load("tests/vectors/pipelining.jsonl") {
                let name = vector["name"].as_str().expect("a name").replace('-', "_");
                let found = tested.iter().chain(&TESTED_BESIDE).any(|test| *test == name);
                assert!(!name.starts_with("s_") || found, "{name}");
            }
        }
    };
}

fn parallel() -> Pipeline {
    Pipeline::new().parallel(NonZeroUsize::new(8).expect("not zero"))
}

async fn serve(kind: Kind, request: impl AsRef<[u8]>) -> (Server, RawClient) {
    let server = Server::start(kind, parallel()).await;
    let mut client = server.client().await;
    client.send(request).await.expect("sends");
    (server, client)
}

async fn body(client: &mut RawClient) -> String {
    client
        .read_final_response("GET")
        .await
        .expect("a response")
        .text()
        .to_owned()
}

async fn quiet() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}")
}

/// Refused with 400, closed, and nothing behind it is run.
async fn refused(kind: Kind, request: &str) {
    let (server, mut client) = serve(kind, request.to_owned() + &gets(["/b"])).await;
    let response = client
        .read_final_response("POST")
        .await
        .expect("a response");
    assert!(
        response.start_line.starts_with(b"HTTP/1.1 400")
            || response.start_line.starts_with(b"HTTP/1.0 400"),
        "{request}"
    );
    assert_ne!(
        client.ended(Duration::from_secs(5)).await,
        Ended::Open,
        "{request}"
    );
    assert!(!server.app.started("/b"), "{request}");
}

/// Answered, but by itself: neither the request before nor the one behind runs beside it.
async fn alone(kind: Kind, request: &str) {
    let (server, mut client) = serve(kind, gets(["/slow1"]) + request + &gets(["/b"])).await;
    for (running, waits) in [("/slow1", "/slow"), ("/slow", "/b")] {
        let starts = |app: &support::App| app.started(running);
        server.app.until("it runs", starts).await;
        quiet().await;
        assert!(!server.app.started(waits), "{request}");
        server.app.gate.add_permits(1);
    }
    assert_eq!(body(&mut client).await, "/slow1");
    client.read_final_response("GET").await.expect("a response");
    assert_eq!(body(&mut client).await, "/b");
}

vectors! {
    s_parallel_order (kind) {
        let (server, mut client) = serve(kind, gets(["/slow", "/fast"])).await;
        server.app.until("the fast one ends", |app| app.log().contains(&"end /fast".to_owned())).await;
        assert!(server.app.log().contains(&"ahead /fast".to_owned()));
        quiet().await;
        assert_eq!(client.unread(), b"");
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        assert_eq!(body(&mut client).await, "/fast");
    }

    s_parallel_body_backpressure (kind) {
        let (server, mut client) = serve(kind, gets(["/slow", "/big"])).await;
        server.app.until("it runs ahead", |app| app.log().contains(&"end /big".to_owned())).await;
        quiet().await;
        assert_eq!(server.app.body_frames.load(SeqCst), 0, "not polled before its turn");
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        client.read_bytes(100_000).await.expect("the body");
        assert!(server.app.body_frames.load(SeqCst) > 0);
    }

    s_flood_no_read (kind) {
        let server = Server::start(kind, parallel()).await;
        let mut client = server.client().await;
        let flood = gets(std::iter::repeat_n("/100k", 20_000));
        let stalled = tokio::time::timeout(Duration::from_millis(300), client.send(&flood)).await;
        drop(stalled);
        quiet().await;
        // What the sockets hold, and little more, has been made.
        let run = server.app.log().len() / 2;
        assert!((1..200).contains(&run), "{run} responses of 100 KiB");
    }

    s_partial_head_between (kind) {
        let (_server, mut client) = serve(kind, gets(["/1"]) + "GET /2 HTTP/1.1\r\nHo").await;
        assert_eq!(body(&mut client).await, "/1");
        client.send("st: x\r\n\r\n").await.expect("sends");
        assert_eq!(body(&mut client).await, "/2");
    }

    s_close_response_then_more (kind) {
        let (server, mut client) = serve(kind, gets(["/slowclose", "/slow2"])).await;
        server.app.until("both run", |app| app.started("/slow2")).await;
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slowclose");
        assert_ne!(client.ended(Duration::from_secs(5)).await, Ended::Open);
        server.app.until("dropped", |app| app.log().contains(&"cancel /slow2".to_owned())).await;
    }

    s_unread_body_small (kind) {
        let request = post("/drop", "Content-Length: 3\r\n", "abc") + &gets(["/b"]);
        let (_server, mut client) = serve(kind, request).await;
        assert_eq!(body(&mut client).await, "/drop");
        assert_eq!(body(&mut client).await, "/b");
    }

    s_unread_body_large (kind) {
        let smuggled = gets(std::iter::repeat_n("/smug", 6_000));
        let length = format!("Content-Length: {}\r\n", smuggled.len());
        let (server, mut client) = serve(kind, post("/drop", &length, &smuggled) + &gets(["/b"])).await;
        assert_eq!(body(&mut client).await, "/drop");
        quiet().await;
        assert!(!server.app.started("/smug"));
    }

    s_get_with_body_smuggle (kind) {
        let smuggled = "GET /smug HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n";
        let head = format!("GET /slow HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", smuggled.len());
        let (server, mut client) = serve(kind, head + smuggled + &gets(["/b"])).await;
        server.app.until("it runs", |app| app.started("/slow")).await;
        quiet().await;
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        assert_eq!(body(&mut client).await, "/b");
        assert!(!server.app.started("/smug"));
    }

    s_te_chunked_not_final (kind) {
        refused(kind, &post("/a", "Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")).await;
    }

    s_te_http10 (kind) {
        refused(kind, "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    }

    s_cl_dup_different (kind) {
        refused(kind, &post("/a", "Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")).await;
    }

    s_cl_negative (kind) {
        for value in ["-1", "+3"] {
            refused(kind, &post("/a", &format!("Content-Length: {value}\r\n"), "abc")).await;
        }
    }

    s_obs_fold (kind) {
        refused(kind, "GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\n 2\r\n\r\n").await;
    }

    s_space_colon (kind) {
        refused(kind, &post("/a", "Content-Length : 3\r\n", "abc")).await;
    }

    s_bare_lf (kind) {
        // Lenient, as hyper is; and nothing is read ahead from there on.
        let (server, mut client) = serve(kind, "GET /slow HTTP/1.1\nHost: x\n\n".to_owned() + &gets(["/b"])).await;
        server.app.until("it runs", |app| app.started("/slow")).await;
        quiet().await;
        assert!(!server.app.started("/b"));
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        assert_eq!(body(&mut client).await, "/b");
    }

    s_chunk_bare_lf (kind) {
        refused(kind, &post("/echo", "Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n")).await;
    }

    s_chunk_ext_lf (kind) {
        refused(kind, &post("/echo", "Transfer-Encoding: chunked\r\n", "3;a\nb\r\nabc\r\n0\r\n\r\n")).await;
    }

    s_chunk_overflow (kind) {
        refused(kind, &post("/echo", "Transfer-Encoding: chunked\r\n", "10000000000000003\r\nabc")).await;
    }

    s_te_gzip_chunked (kind) {
        // The vector wants 501. hyper hands such a request up with its body still in gzip, and the guard,
        // which answers nothing by itself, lets it; but nothing runs beside it.
        let coded = post("/slow", "Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
        alone(kind, &coded).await;
    }

    s_no_host (kind) {
        // The vector wants 400; as above.
        alone(kind, "GET /slow HTTP/1.1\r\n\r\n").await;
        alone(kind, "GET /slow HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").await;
    }

    s_linger_after_close (kind) {
        if kind != Kind::Http1 {
            continue;
        }
        let server = Server::lingering(parallel()).await;
        for _ in 0..20 {
            let mut client = server.client().await;
            client.send(gets(["/close300k"])).await.expect("sends");
            let flood = gets(std::iter::repeat_n("/b", 4_000));
            client.send(&flood).await.expect("sends");
            quiet().await;
            let response = client.read_response("GET").await.expect("all of it");
            assert_eq!(response.body.len(), 300 * 1024);
            assert_eq!(client.ended(Duration::from_secs(5)).await, Ended::Fin);
        }
        assert!(!server.app.started("/b"));
    }

    s_early_response_drain (kind) {
        if kind != Kind::Http1 {
            continue;
        }
        let server = Server::lingering(parallel()).await;
        for _ in 0..5 {
            let mut client = server.client().await;
            client.send(post("/413", "Content-Length: 1000000\r\n", "")).await.expect("sends");
            // It goes on sending after the answer, and looks at that only then.
            for _ in 0..5 {
                quiet().await;
                client.send("u".repeat(100_000)).await.expect("is read");
            }
            let response = client.read_final_response("POST").await.expect("a response");
            assert_eq!(response.status, 413);
            assert_ne!(client.ended(Duration::from_secs(5)).await, Ended::Reset);
        }
    }

    s_expect_pipelined_ok (kind) {
        let request = post("/echo", "Expect: 100-continue\r\nContent-Length: 3\r\n", "abc") + &gets(["/b"]);
        let (_server, mut client) = serve(kind, request).await;
        let first = client.read_response("POST").await.expect("a response");
        assert!(first.start_line.starts_with(b"HTTP/1.1 100"));
        assert_eq!(body(&mut client).await, "abc");
        assert_eq!(body(&mut client).await, "/b");
    }

    s_upgrade_then_pipelined (kind) {
        let upgrade = "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let (server, mut client) = serve(kind, upgrade.to_owned() + &gets(["/b"])).await;
        server.app.until("it runs", |app| app.started("/slow")).await;
        quiet().await;
        assert!(!server.app.started("/b"));
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        assert_eq!(body(&mut client).await, "/b");
    }

    s_connect_then_pipelined (kind) {
        let connect = "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n";
        let (server, mut client) = serve(kind, connect.to_owned() + &gets(["/b"])).await;
        let response = client.read_response("CONNECT").await.expect("a response");
        assert!(response.start_line.starts_with(b"HTTP/1.1 200"));
        quiet().await;
        assert!(!server.app.started("/b"), "tunnel data");
    }

    s_h2_preface_mid (kind) {
        let (_server, mut client) = serve(kind, gets(["/a"]) + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert_eq!(body(&mut client).await, "/a");
        assert_ne!(client.ended(Duration::from_secs(5)).await, Ended::Open);
    }

    s_max_pipeline (kind) {
        let (server, mut client) = serve(kind, gets(std::iter::repeat_n("/slow", 1000))).await;
        server.app.until("eight run", |app| app.peak.load(SeqCst) == 8).await;
        quiet().await;
        assert_eq!(server.app.log().len(), 8);
        server.app.gate.add_permits(1000);
        for _ in 0..1000 {
            assert_eq!(body(&mut client).await, "/slow");
        }
        assert_eq!(server.app.peak.load(SeqCst), 8);
    }

    s_resume_read_after_burst (kind) {
        let paths: Vec<_> = (0..64).map(|n| format!("/{n}")).collect();
        let (_server, mut client) = serve(kind, gets(paths.iter().map(String::as_str))).await;
        for path in &paths {
            assert_eq!(body(&mut client).await, *path);
        }
        quiet().await;
        client.send(gets(["/more"])).await.expect("sends");
        assert_eq!(body(&mut client).await, "/more");
    }

    s_header_timeout_in_pipe (kind) {
        if kind != Kind::Http1 {
            continue;
        }
        let server = with_head_timeout(100).await;
        let mut client = server.client().await;
        client.send(gets(["/a"]) + "GET /b HT").await.expect("sends");
        assert_eq!(body(&mut client).await, "/a");
        assert_ne!(client.ended(Duration::from_secs(5)).await, Ended::Open);
    }

    s_idle_not_while_pending (kind) {
        if kind != Kind::Http1 {
            continue;
        }
        let server = with_head_timeout(50).await;
        let mut client = server.client().await;
        client.send(gets(["/slow", "/b"])).await.expect("sends");
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.app.gate.add_permits(1);
        assert_eq!(body(&mut client).await, "/slow");
        assert_eq!(body(&mut client).await, "/b");
    }

    s_spec_head_method (kind) {
        let heads: String = (0..8).map(|n| format!("HEAD /together{n} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
        let (server, mut client) = serve(kind, heads + &gets(["/b"])).await;
        for _ in 0..8 {
            let response = client.read_response("HEAD").await.expect("a response");
            assert_eq!(response.text(), "");
        }
        assert_eq!(body(&mut client).await, "/b");
        assert!(server.app.peak.load(SeqCst) >= 8);
    }
}

async fn with_head_timeout(millis: u64) -> Server {
    Server::start_with(Kind::Http1, parallel(), move |http1| {
        http1
            .timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(Duration::from_millis(millis));
    })
    .await
}

/// Requests that arrive in any number of pieces are answered the same.
#[tokio::test]
async fn requests_may_arrive_byte_by_byte() {
    for kind in KINDS {
        let server = Server::start(kind, parallel()).await;
        let mut client = server.client().await;
        let request =
            gets(["/a"]) + &post("/echo", "Content-Length: 3\r\n", "abc") + &gets(["/b", "/c"]);
        client.send_each_byte(request).await.expect("sends");
        for expected in ["/a", "abc", "/b", "/c"] {
            assert_eq!(body(&mut client).await, expected);
        }
    }
}

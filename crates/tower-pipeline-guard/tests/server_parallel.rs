//! Pipelined requests behind the guard, on real sockets, under hyper, hyper-util and axum.
#![cfg(feature = "axum")]

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::{KINDS, Kind, Server, gets};
use tower_conn_testkit::raw::Ended;
use tower_pipeline_guard::Pipeline;

fn parallel(calls: usize) -> Pipeline {
    Pipeline::new().parallel(NonZeroUsize::new(calls).expect("not zero"))
}

async fn bodies(client: &mut tower_conn_testkit::raw::RawClient, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let response = client.read_response("GET").await.expect("a response");
        bodies.push(response.text().to_owned());
    }
    bodies
}

#[tokio::test]
async fn eight_safe_requests_run_at_once_and_answer_in_order() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        let paths: Vec<_> = (0..8).map(|n| format!("/together{n}")).collect();
        client
            .send(gets(paths.iter().map(String::as_str)))
            .await
            .expect("sends");
        // The handlers wait for each other: one at a time would never answer.
        assert_eq!(bodies(&mut client, 8).await, paths, "{kind:?}");
        assert_eq!(server.app.peak.load(SeqCst), 8);
    }
}

#[tokio::test]
async fn requests_that_arrive_while_a_handler_works_join_it() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        for n in 0..8 {
            client
                .send(gets([&*format!("/together{n}")]))
                .await
                .expect("sends");
            server
                .app
                .until("it starts", |app| app.started(&format!("/together{n}")))
                .await;
        }
        assert_eq!(bodies(&mut client, 8).await.len(), 8, "{kind:?}");
    }
}

#[tokio::test]
async fn by_default_one_runs_at_a_time() {
    for kind in KINDS {
        let server = Server::start(kind, Pipeline::new()).await;
        let mut client = server.client().await;
        client
            .send(gets(["/slow1", "/slow2"]))
            .await
            .expect("sends");
        server
            .app
            .until("the first starts", |app| app.started("/slow1"))
            .await;
        assert!(!server.app.started("/slow2"));
        server.app.gate.add_permits(2);
        assert_eq!(bodies(&mut client, 2).await, ["/slow1", "/slow2"]);
        assert_eq!(
            server.app.log(),
            ["start /slow1", "end /slow1", "start /slow2", "end /slow2"],
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn no_more_run_than_allowed() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(3)).await;
        let mut client = server.client().await;
        client.send(gets(["/slow"; 100])).await.expect("sends");
        server
            .app
            .until("three run", |app| app.peak.load(SeqCst) == 3)
            .await;
        server.app.gate.add_permits(100);
        assert_eq!(bodies(&mut client, 100).await.len(), 100);
        assert_eq!(server.app.peak.load(SeqCst), 3, "{kind:?}");
    }
}

#[tokio::test]
async fn an_unsafe_request_waits_and_is_waited_for() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        let post = "POST /slowpost HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
        client
            .send(gets(["/slow1"]) + post + &gets(["/slow3"]))
            .await
            .expect("sends");
        server
            .app
            .until("the GET starts", |app| app.started("/slow1"))
            .await;
        assert!(!server.app.started("/slowpost"));
        server.app.gate.add_permits(1);
        server
            .app
            .until("the POST starts", |app| app.started("/slowpost"))
            .await;
        assert!(!server.app.started("/slow3"), "{kind:?}");
        server.app.gate.add_permits(2);
        assert_eq!(bodies(&mut client, 3).await.len(), 3);
        let log = server.app.log();
        assert_eq!(
            log,
            [
                "start /slow1",
                "end /slow1",
                "start /slowpost",
                "end /slowpost",
                "start /slow3",
                "end /slow3"
            ]
        );
    }
}

#[tokio::test]
async fn the_last_request_of_a_connection_says_so_and_nothing_runs_behind_it() {
    for kind in KINDS {
        let pipeline = parallel(8).max_requests(NonZeroU32::new(3));
        let server = Server::start(kind, pipeline).await;
        let mut client = server.client().await;
        let paths = ["/slow1", "/slow2", "/slow3", "/slow4", "/slow5"];
        client.send(gets(paths)).await.expect("sends");
        server
            .app
            .until("three run", |app| app.peak.load(SeqCst) == 3)
            .await;
        server.app.gate.add_permits(5);
        for (path, last) in [("/slow1", false), ("/slow2", false), ("/slow3", true)] {
            let response = client.read_response("GET").await.expect("a response");
            assert_eq!(response.text(), path, "{kind:?}");
            let announced = response.tokens("connection").contains(&"close".to_owned());
            assert_eq!(announced, last, "{kind:?} {path}");
        }
        assert_ne!(client.ended(Duration::from_secs(5)).await, Ended::Open);
        assert!(!server.app.started("/slow4"), "{kind:?}");

        let pipeline = Pipeline::new().max_requests(NonZeroU32::new(1));
        let server = Server::start(kind, pipeline).await;
        let mut client = server.client().await;
        let old = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        client.send(old.repeat(2)).await.expect("sends");
        let (bytes, ended) = client.read_to_end().await.expect("ends");
        assert!(bytes.ends_with(b"\r\n\r\n/a"), "{bytes:?}");
        assert_ne!(ended, Ended::Open);
    }
}

#[tokio::test]
async fn no_more_is_read_ahead_than_allowed() {
    let request = gets(["/b"]);
    for kind in KINDS {
        let sixteen = NonZeroUsize::new(16).expect("not zero");
        let server = Server::start(kind, parallel(8).max_buffered(sixteen)).await;
        let mut client = server.client().await;
        client.send(gets(["/slow"])).await.expect("sends");
        server
            .app
            .until("it starts", |app| app.started("/slow"))
            .await;
        let first = server.app.read.load(SeqCst);
        client.send(request.repeat(1_000)).await.expect("sends");
        server
            .app
            .until("it reads", |app| app.read.load(SeqCst) > first)
            .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let read = server.app.read.load(SeqCst) - first;
        // One read may bring more than was wanted.
        assert!(
            read < 16 * request.len() + 2 * 1024,
            "{kind:?} read {} requests",
            read / request.len()
        );
        server.app.gate.add_permits(1);
        assert_eq!(bodies(&mut client, 1_001).await.len(), 1_001);
    }
}

#[tokio::test]
async fn what_follows_a_close_never_runs() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        let closing = "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client
            .send(closing.to_owned() + &gets(["/b"]))
            .await
            .expect("sends");
        server.app.gate.add_permits(1);
        let (bytes, ended) = client.read_to_end().await.expect("ends");
        assert!(bytes.ends_with(b"/slow"), "{bytes:?}");
        assert_ne!(ended, Ended::Open);
        assert!(!server.app.started("/b"), "{kind:?}");
    }
}

#[tokio::test]
async fn bursts_leave_in_one_write() {
    for kind in KINDS {
        let server = Server::start(kind, Pipeline::new()).await;
        let mut client = server.client().await;
        let paths: Vec<_> = (0..16).map(|n| format!("/{n}")).collect();
        client
            .send(gets(paths.iter().map(String::as_str)))
            .await
            .expect("sends");
        assert_eq!(bodies(&mut client, 16).await, paths);
        assert_eq!(server.app.writes.load(SeqCst), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_vanished_client_cancels_its_handler_also_with_a_tail() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        let post = "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        client.send(gets(["/slow"]) + post).await.expect("sends");
        server
            .app
            .until("it starts", |app| app.started("/slow"))
            .await;
        drop(client);
        server
            .app
            .until("it is cancelled", |app| app.cancelled.load(SeqCst) == 1)
            .await;
        server.app.gate.add_permits(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!server.app.started("/post"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_that_finished_sending_is_answered() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(1).half_close(true)).await;
        let mut client = server.client().await;
        client.send(gets(["/slow", "/b"])).await.expect("sends");
        client.half_close().await.expect("closes");
        server
            .app
            .until("it starts", |app| app.started("/slow"))
            .await;
        server.app.gate.add_permits(1);
        assert_eq!(bodies(&mut client, 2).await, ["/slow", "/b"], "{kind:?}");
        assert_eq!(client.ended(Duration::from_secs(5)).await, Ended::Fin);

        let mut single = server.client().await;
        single.send(gets(["/slow"])).await.expect("sends");
        single.half_close().await.expect("closes");
        tokio::time::sleep(Duration::from_millis(5)).await;
        server.app.gate.add_permits(1);
        assert_eq!(bodies(&mut single, 1).await, ["/slow"]);
        assert_eq!(single.ended(Duration::from_secs(5)).await, Ended::Fin);
    }
}

#[tokio::test]
async fn a_finished_response_is_never_held_back() {
    for kind in KINDS {
        for tail in [&gets(["/slow", "/c"])[..], "\r\n", "GET /b HT"] {
            let server = Server::start(kind, Pipeline::new()).await;
            let mut client = server.client().await;
            client.send(gets(["/a"]) + tail).await.expect("sends");
            assert_eq!(
                bodies(&mut client, 1).await,
                ["/a"],
                "{kind:?} before {tail:?}"
            );
        }
    }
}

#[tokio::test]
async fn empty_lines_between_requests_hold_nothing_back() {
    for kind in KINDS {
        let server = Server::start(kind, parallel(8)).await;
        let mut client = server.client().await;
        let mut next = gets(["/a"]) + "\r\n";
        for path in ["/b", "/c", "/d"] {
            client.send(&next).await.expect("sends");
            assert_eq!(bodies(&mut client, 1).await.len(), 1, "{kind:?}");
            // One empty line is in the buffer; another comes by itself, in two pieces.
            for piece in ["\r", "\n"] {
                client.send(piece).await.expect("sends");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            next = gets([path]) + "\r\n";
        }
        client.send(&next).await.expect("sends");
        assert_eq!(bodies(&mut client, 1).await, ["/d"], "{kind:?}");
    }
}

#[tokio::test]
async fn http2_is_left_alone() {
    use http_body_util::{BodyExt, Empty};
    let server = Server::start(Kind::Auto, parallel(8)).await;
    let stream = tokio::net::TcpStream::connect(server.addr)
        .await
        .expect("connects");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("handshake");
    tokio::spawn(connection);
    server.app.gate.add_permits(2);
    for path in ["/slow", "/b", "/slow"] {
        let request = http::Request::get(format!("http://x{path}"))
            .body(Empty::<bytes::Bytes>::new())
            .expect("a request");
        let response = sender.send_request(request).await.expect("a response");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(body, path.as_bytes());
    }
}

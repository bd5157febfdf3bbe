//! Drain: nothing is left, and as little as possible is lost.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use support::*;
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::h2::{GOAWAY, H2Client, HEADERS, PING, PREFACE, frame};
use tower_conn_testkit::raw::{Ended, RawStream};
use tower_idle_reaper::{Drain, DrainSummary, Policy, ReapHandle};

type Draining = tokio::task::JoinHandle<(DrainSummary, Instant)>;

fn drain(server: &Server, drain: impl Into<Drain>) -> Draining {
    let reaper = server.reaper.clone();
    let drain = drain.into();
    tokio::spawn(async move {
        let summary = reaper.drain(drain).await;
        (summary, Instant::now())
    })
}

async fn idle_client(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn drain_idle_default() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = idle_client(&server).await;
        let start = Instant::now();
        let draining = drain(&server, secs(30));
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!((rest.len(), ended), (0, Ended::Fin), "{engine:?}");
        let (summary, done) = draining.await.unwrap();
        assert!(done - start < millis(50));
        assert_eq!((summary.open, summary.idle, summary.cut), (1, 1, 0));
        assert_eq!(server.ended(), [(CloseReason::Draining, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_last_request_window() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut used = idle_client(&server).await;
        let mut unused = idle_client(&server).await;
        let start = Instant::now();
        let draining = drain(&server, Drain::within(secs(30)).last_request(secs(1)));
        tokio::time::sleep(millis(500)).await;
        used.send(GET).await.unwrap();
        let answer = used.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(used.ended(millis(10)).await, Ended::Fin);
        assert_eq!(unused.ended(millis(300)).await, Ended::Open);
        let (summary, done) = draining.await.unwrap();
        assert!(done - start >= secs(1) && done - start < secs(1) + millis(50));
        assert_eq!(summary.cut, 0);
        assert_eq!(server.ended(), [(CloseReason::Draining, 2)]);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_fresh_no_bytes() {
    for engine in Engine::HTTP1.into_iter().chain([Engine::Http2]) {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        tokio::time::sleep(millis(1)).await;
        let start = Instant::now();
        let (summary, done) = drain(&server, secs(30)).await.unwrap();
        assert!(done - start < millis(50), "{engine:?}: {:?}", done - start);
        assert_eq!(summary.cut, 0);
        assert_eq!(client.ended(millis(1)).await, Ended::Fin);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_fresh_partial_head() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut quick = server.connect();
        let mut never = server.connect();
        quick.send("GET / HT").await.unwrap();
        never.send("GET / HT").await.unwrap();
        tokio::time::sleep(millis(100)).await;
        let draining = drain(&server, secs(60));
        tokio::time::sleep(secs(5)).await;
        quick.send("TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let answer = quick.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(answer.status, 200);
        assert_eq!(never.read_response("GET").await.unwrap().status, 408);
        assert_eq!(draining.await.unwrap().0.cut, 0, "the head limit did it");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_reused_partial_head() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = idle_client(&server).await;
        client.send("GET / HT").await.unwrap();
        tokio::time::sleep(millis(100)).await;
        let draining = drain(&server, secs(60));
        tokio::time::sleep(secs(5)).await;
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        draining.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn drain_inflight() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(get("/slow/5")).await.unwrap();
        tokio::time::sleep(millis(100)).await;
        let draining = drain(&server, secs(30));
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        assert_eq!(answer.text(), "late");
        assert_eq!(client.ended(millis(10)).await, Ended::Fin);
        assert_eq!(draining.await.unwrap().0.cut, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_pipelined() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client
            .send([get("/slow/5"), get("/slow/5")].concat())
            .await
            .unwrap();
        tokio::time::sleep(millis(100)).await;
        let draining = drain(&server, secs(30));
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        let (rest, ended) = client.read_to_end().await.unwrap();
        assert_eq!((rest.len(), ended), (0, Ended::Fin));
        draining.await.unwrap();
        assert_eq!(server.calls(), 1, "the second was not processed");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_mid_request_body() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client
            .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
            .await
            .unwrap();
        let mut draining = None;
        for n in 0..10 {
            client.send([b'x'; 1000]).await.unwrap();
            tokio::time::sleep(secs(1)).await;
            if n == 5 {
                draining = Some(drain(&server, secs(30)));
            }
        }
        let answer = client.read_response("POST").await.unwrap();
        assert_eq!(answer.text(), "taken", "{engine:?}");
        assert_eq!(answer.tokens("connection"), ["close"]);
        assert_eq!(draining.unwrap().await.unwrap().0.cut, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_h2_two_goaways() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, Policy::safe());
        let mut client = H2Client::open(server.pipe()).await;
        client.pongs = false;
        client.get(1, "/slow/10").await;
        tokio::time::sleep(millis(100)).await;
        let draining = drain(&server, secs(60));
        let first = client.until(GOAWAY).await;
        assert_eq!(first.last_stream(), (1 << 31) - 1, "{engine:?}");
        // Until the server knows that the client has seen it, a new stream is served.
        client.get(3, "/slow/5").await;
        tokio::time::sleep(secs(1)).await;
        let ping = client.until(PING).await;
        client.send(&frame(PING, 1, 0, &ping.payload)).await;
        let second = client.until(GOAWAY).await;
        assert_eq!(second.last_stream(), 3, "{engine:?}");
        let frames = client.rest().await;
        let mut ended: Vec<_> = frames
            .iter()
            .filter(|f| f.ends_stream())
            .map(|f| f.stream)
            .collect();
        ended.sort_unstable();
        assert_eq!(ended, [1, 3], "{engine:?}");
        assert_eq!(draining.await.unwrap().0.cut, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_h2_peer_that_never_answers_the_ping_does_not_hold_up_the_drain() {
    for engine in Engine::HTTP2 {
        let server = Server::new(engine, Policy::safe());
        let mut client = H2Client::open(server.pipe()).await;
        client.pongs = false;
        client.get(1, "/").await;
        client.until(HEADERS).await;
        let start = Instant::now();
        let draining = drain(&server, secs(60));
        let frames = client.rest().await;
        assert!(frames.iter().any(|f| f.kind == GOAWAY));
        let (summary, done) = draining.await.unwrap();
        let took = done - start;
        assert!(took >= secs(5) && took <= secs(6), "{engine:?}: {took:?}");
        assert_eq!(summary.cut, 0);
        assert_eq!(server.ended(), [(CloseReason::Draining, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_h2_handshake() {
    for engine in Engine::HTTP2.into_iter().chain([Engine::Axum]) {
        let server = Server::new(engine, Policy::safe());
        let mut client = RawStream::over(server.pipe());
        client.send(&PREFACE[..20]).await.unwrap();
        tokio::time::sleep(millis(100)).await;
        let start = Instant::now();
        let (_, done) = drain(&server, secs(60)).await.unwrap();
        assert!(done - start <= secs(16), "{engine:?}: {:?}", done - start);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_deadline() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().write_rate(None));
        let mut busy = server.connect();
        busy.send(get("/slow/500")).await.unwrap();
        let mut streaming = server.connect();
        streaming.send(get("/stream/500")).await.unwrap();
        let mut unread = server.connect();
        unread.send(get("/endless")).await.unwrap();
        let _idle = idle_client(&server).await;
        tokio::time::sleep(secs(1)).await;
        let start = Instant::now();
        let (summary, done) = drain(&server, secs(10)).await.unwrap();
        assert!(done - start >= secs(10) && done - start <= secs(10) + millis(50));
        assert_eq!((summary.open, summary.idle, summary.cut), (4, 1, 3));
        assert_ne!(busy.ended(millis(10)).await, Ended::Open, "{engine:?}");
        server.until_empty().await;
        assert_eq!(server.reaper.closed(CloseReason::DrainDeadline), 3);
        assert_eq!(server.reaper.closed(CloseReason::Draining), 1);
        assert!(Instant::now() - done < millis(10), "the rest ended at once");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_lame_duck() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut old = idle_client(&server).await;
        let draining = drain(&server, Drain::within(secs(30)).lame_duck(secs(5)));
        tokio::time::sleep(secs(1)).await;
        let mut new = server.connect();
        for client in [&mut old, &mut new] {
            client.send(GET).await.unwrap();
            let answer = client.read_response("GET").await.unwrap();
            assert_eq!(
                (answer.status, &answer.tokens("connection")[..]),
                (200, &["close".to_owned()][..]),
                "{engine:?}"
            );
            assert_eq!(client.ended(millis(10)).await, Ended::Fin);
        }
        let (summary, _) = draining.await.unwrap();
        assert!(summary.took >= secs(5) && summary.took <= secs(6));
        if engine == Engine::Axum {
            let mut late = server.connect();
            late.send(GET).await.unwrap();
            assert_eq!(late.ended(secs(60)).await, Ended::Open, "nobody accepts it");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn drain_spread() {
    let server = Server::new(Engine::Http1, Policy::safe());
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(idle_client(&server).await);
    }
    let start = Instant::now();
    let draining = drain(&server, Drain::within(secs(30)).spread(secs(10)));
    for second in 1..=10 {
        tokio::time::sleep_until(start + secs(second)).await;
        let left = server.reaper.connections();
        let expected = 1000 - 100 * usize::try_from(second).unwrap();
        assert!(left.abs_diff(expected) < 60, "{left} left after {second} s");
    }
    assert_eq!(draining.await.unwrap().0.cut, 0);
    assert_eq!(clients[0].ended(millis(1)).await, Ended::Fin);
}

#[tokio::test(start_paused = true)]
async fn drain_idempotent_escalation() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client.send(get("/slow/100")).await.unwrap();
        tokio::time::sleep(millis(100)).await;
        let connection = server.reaper.open_connections().remove(0);
        let handle = ReapHandle::new(&connection).expect("a reaper's");
        assert!(handle.close_after_response());
        assert!(!handle.close_after_response(), "{engine:?}: asked before");
        assert_eq!(handle.reason(), Some(CloseReason::Application));
        assert_eq!(client.ended(secs(10)).await, Ended::Open);
        assert!(handle.abort());
        assert!(!handle.abort());
        assert_ne!(client.ended(millis(1)).await, Ended::Open);
        assert_eq!(handle.reason(), Some(CloseReason::Aborted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_told_awaited_and_cut() {
    for engine in [Engine::Http1Upgrades, Engine::AutoUpgrades, Engine::Axum] {
        let server = Server::new(engine, Policy::safe());
        let mut client = server.connect();
        client
            .send(
                "GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n",
            )
            .await
            .unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().status, 101);
        let connection = server.reaper.open_connections().remove(0);
        let handle = ReapHandle::new(&connection).expect("a reaper's");
        assert!(handle.is_tunnel());
        let told = tokio::spawn(async move {
            handle.draining().await;
            Instant::now()
        });
        tokio::time::sleep(secs(100)).await;
        let start = Instant::now();
        let draining = drain(&server, secs(10));
        tokio::time::sleep(secs(5)).await;
        assert_eq!(told.await.unwrap(), start, "{engine:?}");
        client.send("still").await.unwrap();
        assert_eq!(client.read_bytes(5).await.unwrap(), "still");
        let (summary, done) = draining.await.unwrap();
        assert_eq!((summary.cut, done - start), (1, secs(10)));
        assert_ne!(client.ended(millis(1)).await, Ended::Open);
        server.until_empty().await;
        assert_eq!(server.ended(), [(CloseReason::DrainDeadline, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn draining_nothing_is_done_at_once() {
    let server = Server::new(Engine::Http1, Policy::safe());
    let summary = server.reaper.drain(secs(30)).await;
    assert_eq!((summary.open, summary.took), (0, secs(0)));
    assert!(server.reaper.is_draining());
}

//! Idle HTTP/1 connections that give up their engine, and take it back.

mod support;

use support::*;
use tokio::time::{Instant, sleep};
use tower_conn_serve::{CloseReason, Policy, Server, Stats};
use tower_conn_testkit::raw::Ended;

/// Parked after a second, that is, between one and two seconds after the last byte.
fn parking() -> Server {
    Server::new().park_after(secs(1))
}

fn parked(server: &Pipes) -> (u64, u64, u64) {
    let Stats {
        parked,
        parks,
        unparks,
        ..
    } = server.handle.stats();
    (parked, parks, unparks)
}

async fn ask(client: &mut Client) {
    client.send(GET).await.unwrap();
    let answer = client.read_response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "hello"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_parked_once_and_the_next_request_brings_it_back() {
    let server = Pipes::new(parking());
    let mut client = server.connect();
    sleep(secs(5)).await;
    assert_eq!(parked(&server), (0, 0, 0), "it never had an engine");
    ask(&mut client).await;
    sleep(millis(900)).await;
    assert_eq!(parked(&server), (0, 0, 0));
    sleep(millis(1200)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    sleep(secs(30)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    ask(&mut client).await;
    assert_eq!(parked(&server), (0, 1, 1));
    drop(client);
    server.until_empty().await;
    assert_eq!(server.handle.reaper().closed(CloseReason::PeerClosed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_never_parked() {
    let server = Pipes::new(parking());
    let mut client = server.connect();
    for _ in 0..20 {
        ask(&mut client).await;
        sleep(millis(700)).await;
    }
    assert_eq!(parked(&server), (0, 0, 0));
    // A handler that works, and a response that comes in parts, far apart.
    client.send(get("/slow/30")).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
    client.send(get("/stream/5")).await.unwrap();
    let streamed = client.read_response("GET").await.unwrap();
    assert_eq!(streamed.body.len(), 5 * 1024);
    assert_eq!(parked(&server), (0, 0, 0));
    sleep(secs(3)).await;
    assert_eq!(parked(&server), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_the_client_does_not_take_keeps_the_engine() {
    let server = Pipes::new(parking().policy(Policy::unlimited()));
    let mut client = server.connect();
    // The body is handed over in one piece, so the exchange is over before its bytes have left.
    client.send(get("/big/1000000")).await.unwrap();
    sleep(secs(30)).await;
    assert_eq!(parked(&server), (0, 0, 0));
    let answer = client.read_response("GET").await.unwrap();
    assert_eq!(answer.body.len(), 1_000_000);
    sleep(secs(3)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    ask(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_is_still_to_come_keeps_the_engine() {
    let server = Pipes::new(parking().policy(Policy::unlimited()));
    for head in [
        "POST /later/20 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234",
        "POST /later/20 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        // Of a kind that ends with its head, as far as its first read tells.
        "GET /later/20 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(head).await.unwrap();
        let answer = client.read_response("POST").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{head}");
        sleep(secs(60)).await;
        assert_eq!(parked(&server), (0, 0, 0), "{head}");
    }
    let mut client = server.connect();
    client
        .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    for byte in b"12345" {
        sleep(secs(10)).await;
        assert_eq!(parked(&server), (0, 0, 0));
        client.send([*byte]).await.unwrap();
    }
    assert_eq!(client.read_response("POST").await.unwrap().text(), "taken");
    sleep(secs(3)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    ask(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_may_drip_across_any_number_of_parks() {
    let server = Pipes::new(parking().policy(Policy::unlimited()));
    let mut client = server.connect();
    ask(&mut client).await;
    let head = b"GET /slow/0 HTTP/1.1\r\nHost: a\r\nX-Long: value\r\n\r\n";
    for (n, byte) in head.iter().enumerate() {
        sleep(secs(3)).await;
        let parks = n as u64 + 1;
        assert_eq!(parked(&server), (1, parks, parks - 1), "before byte {n}");
        client.send([*byte]).await.unwrap();
    }
    assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
    assert_eq!(server.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn half_of_a_pipelined_head_is_kept_when_the_request_before_it_is_answered() {
    let server = Pipes::new(parking());
    let mut client = server.connect();
    client.send([GET, GET, &GET[..9]].concat()).await.unwrap();
    for _ in 0..2 {
        client.read_response("GET").await.unwrap();
    }
    sleep(secs(4)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    client.send([&GET[9..], GET].concat()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    }
    assert_eq!(server.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_parked_connections() {
    let server = Pipes::new(parking());
    let (mut idle, mut slow) = (server.connect(), server.connect());
    let start = Instant::now();
    ask(&mut idle).await;
    ask(&mut slow).await;
    sleep(secs(3)).await;
    slow.send(&GET[..20]).await.unwrap();
    sleep(secs(4)).await;
    assert_eq!(server.handle.stats().parked, 2);

    let answer = slow.read_response("GET").await.unwrap();
    assert_eq!(answer.status, 408);
    assert_eq!(answer.tokens("connection"), ["close"]);
    let took = Instant::now() - start;
    assert!(took >= secs(18) && took <= secs(19), "{took:?}");
    let (rest, ended) = idle.read_to_end().await.unwrap();
    assert_eq!((&rest[..], ended), (&b""[..], Ended::Fin));
    let took = Instant::now() - start;
    assert!(took >= secs(75) && took <= secs(76), "{took:?}");
    server.until_empty().await;
    let reaper = server.handle.reaper();
    assert_eq!(reaper.closed(CloseReason::HeadTimeout), 1);
    assert_eq!(reaper.closed(CloseReason::Idle), 1);
    assert_eq!(server.handle.stats().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_can_be_cut_and_reset() {
    let server = Pipes::new(parking());
    let (mut cut, mut gone) = (server.connect(), server.connect());
    ask(&mut cut).await;
    ask(&mut gone).await;
    sleep(secs(3)).await;
    assert_eq!(parked(&server), (2, 2, 0));
    for connection in server.handle.reaper().open_connections() {
        if connection.id() % 2 == 0 {
            tower_idle_reaper::ReapHandle::new(&connection)
                .unwrap()
                .abort();
        }
    }
    drop(gone);
    server.until_empty().await;
    assert_eq!(parked(&server), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn no_parking() {
    let server = Pipes::new(Server::new().park_after(None));
    let mut client = server.connect();
    ask(&mut client).await;
    sleep(secs(60)).await;
    assert_eq!(parked(&server), (0, 0, 0));
    ask(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn http10_and_closing_connections() {
    let server = Pipes::new(parking());
    let mut client = server.connect();
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    client.send(kept).await.unwrap();
    client.read_response("GET").await.unwrap();
    sleep(secs(3)).await;
    assert_eq!(parked(&server), (1, 1, 0));
    client.send("GET / HTTP/1.0\r\n\r\n").await.unwrap();
    client.read_response("GET").await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap().1, Ended::Fin);
    server.until_empty().await;
    assert_eq!(parked(&server), (0, 1, 1));
}

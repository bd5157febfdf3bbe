//! Shutting down, in stages.

mod support;

use support::*;
use tokio::time::{Instant, sleep};
use tower_conn_serve::{CloseReason, Drain, Server};
use tower_conn_testkit::h2::{self, GOAWAY, H2Client};
use tower_conn_testkit::raw::Ended;

#[tokio::test(start_paused = true)]
async fn idle_connections_close_at_once_and_busy_ones_after_their_answer() {
    let server = Pipes::new(Server::new().drain(secs(30)).park_after(secs(5)));
    let mut silent = server.connect();
    let mut idle = server.connect();
    let mut parked = server.connect();
    for client in [&mut idle, &mut parked] {
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
    }
    sleep(secs(8)).await;
    idle.send(GET).await.unwrap();
    idle.read_response("GET").await.unwrap();
    assert_eq!(server.handle.stats().parked, 1);
    let mut busy = server.connect();
    busy.send(get("/slow/5")).await.unwrap();
    sleep(millis(10)).await;

    server.handle.shutdown();
    let began = Instant::now();
    for client in [&mut silent, &mut idle, &mut parked] {
        assert_eq!(client.read_to_end().await.unwrap().1, Ended::Fin);
    }
    assert!(Instant::now() - began < millis(100));
    let answer = busy.read_response("GET").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.tokens("connection"), ["close"], "{answer:?}");
    assert_eq!(busy.read_to_end().await.unwrap().1, Ended::Fin);

    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.open, summary.idle), (4, 3));
    assert_eq!((summary.drained, summary.cut), (4, 0));
    assert_eq!(summary.reasons, [(CloseReason::Draining, 4)]);
    assert!(
        summary.took >= secs(4) && summary.took < secs(6),
        "{summary:?}"
    );
    assert_eq!(server.handle.stats().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_cut_and_counted() {
    let server = Pipes::new(Server::new().drain(secs(3)));
    let mut hung = server.connect();
    hung.send(get("/slow/1000")).await.unwrap();
    sleep(millis(10)).await;
    server.handle.shutdown();
    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.drained, summary.cut), (0, 1));
    assert_eq!(summary.reasons, [(CloseReason::DrainDeadline, 1)]);
    assert!(
        summary.took >= secs(3) && summary.took < secs(4),
        "{summary:?}"
    );
    assert!(hung.read_response("GET").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_request_to_shut_down_cuts_at_once() {
    let server = Pipes::new(Server::new().drain(secs(3000)));
    let mut hung = server.connect();
    hung.send(get("/slow/1000")).await.unwrap();
    sleep(millis(10)).await;
    server.handle.shutdown();
    sleep(secs(20)).await;
    assert!(!server.serving.is_finished(), "it waits for the handler");
    server.handle.shutdown();
    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.drained, summary.cut), (0, 1));
    assert!(
        summary.took >= secs(20) && summary.took < secs(21),
        "{summary:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn in_its_lame_duck_time_it_still_accepts_and_every_answer_closes() {
    let drain = Drain::within(secs(30)).lame_duck(secs(5));
    let server = Pipes::new(Server::new().drain(drain));
    let mut idle = server.connect();
    idle.send(GET).await.unwrap();
    idle.read_response("GET").await.unwrap();
    server.handle.shutdown();
    sleep(secs(2)).await;
    let mut late = server.connect();
    for client in [&mut idle, &mut late] {
        client.send(GET).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.tokens("connection"), ["close"], "{answer:?}");
        assert_eq!(client.read_to_end().await.unwrap().1, Ended::Fin);
    }
    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.open, summary.drained, summary.cut), (1, 2, 0));
    assert!(
        summary.took >= secs(5) && summary.took < secs(6),
        "{summary:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_to_arrive_may_be_completed_also_on_a_parked_connection() {
    let server = Pipes::new(Server::new().drain(secs(30)).park_after(secs(1)));
    let mut client = server.connect();
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    client.send(&GET[..10]).await.unwrap();
    sleep(secs(3)).await;
    assert_eq!(server.handle.stats().parked, 1);
    server.handle.shutdown();
    sleep(secs(1)).await;
    client.send(&GET[10..]).await.unwrap();
    let answer = client.read_response("GET").await.unwrap();
    assert_eq!(answer.tokens("connection"), ["close"], "{answer:?}");
    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.drained, summary.cut), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_never_answers_a_ping_does_not_hold_the_drain() {
    let server = Pipes::new(Server::new().drain(secs(60)));
    let mut client = H2Client::open(server.pipe()).await;
    client.pongs = false;
    client.get(1, "/").await;
    client.until(h2::DATA).await;
    sleep(secs(2)).await;
    server.handle.shutdown();
    let goaway = client.until(GOAWAY).await;
    assert_eq!(goaway.last_stream(), i32::MAX as u32);
    let summary = server.serving.await.unwrap().unwrap();
    assert_eq!((summary.drained, summary.cut), (1, 0));
    assert!(
        summary.took >= secs(4) && summary.took < secs(8),
        "{summary:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_http2_preface_without_settings_does_not_hold_the_drain() {
    let server = Pipes::new(Server::new().drain(secs(60)));
    let mut client = server.connect();
    client.send(h2::PREFACE).await.unwrap();
    sleep(secs(1)).await;
    server.handle.shutdown();
    let summary = server.serving.await.unwrap().unwrap();
    assert!(summary.took < secs(20), "{summary:?}");
}

//! Old HTTP/2 connections: GOAWAY at the age, cut at age and grace.

mod support;

use support::*;
use tokio::time::{Instant, sleep};
use tower_conn_serve::{CloseReason, Policy, Server};
use tower_conn_testkit::h2::{self, GOAWAY, H2Client};
use tower_idle_reaper::MaxAge;

fn aging() -> Server {
    let age = MaxAge::new(secs(60)).jitter(0).grace(secs(20));
    Server::new().policy(Policy::unlimited().max_age(age))
}

#[tokio::test(start_paused = true)]
async fn at_its_age_an_idle_connection_is_sent_goaway_and_closed() {
    let server = Pipes::new(aging());
    let start = Instant::now();
    let mut client = H2Client::open(server.pipe()).await;
    client.get(1, "/").await;
    let first = client.until(GOAWAY).await;
    let took = Instant::now() - start;
    assert!(took >= secs(60) && took < secs(62), "{took:?}");
    assert_eq!(
        first.last_stream(),
        i32::MAX as u32,
        "nothing is refused yet"
    );
    let rest = client.rest().await;
    let last = rest.iter().rfind(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(last.last_stream(), 1);
    server.until_empty().await;
    assert!(Instant::now() - start < secs(65));
    assert_eq!(server.handle.reaper().closed(CloseReason::MaxAge), 1);
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_open_at_that_age_have_the_grace_to_end() {
    let server = Pipes::new(aging());
    let start = Instant::now();
    let (mut ends, mut hangs) = (
        H2Client::open(server.pipe()).await,
        H2Client::open(server.pipe()).await,
    );
    sleep(secs(50)).await;
    ends.get(1, "/slow/20").await;
    hangs.get(1, "/slow/1000").await;
    ends.until(GOAWAY).await;
    hangs.until(GOAWAY).await;
    let took = Instant::now() - start;
    assert!(took >= secs(60) && took < secs(62), "{took:?}");
    assert_eq!(ends.until(h2::DATA).await.payload, "late");
    let took = Instant::now() - start;
    assert!(took >= secs(70) && took < secs(72), "{took:?}");
    hangs.rest().await;
    let took = Instant::now() - start;
    assert!(took >= secs(80) && took < secs(82), "{took:?}");
    server.until_empty().await;
    assert_eq!(server.handle.reaper().closed(CloseReason::MaxAge), 2);
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_an_http2_connection_from_being_idle() {
    let policy = Policy::unlimited().idle(secs(30)).unwrap();
    let server = Pipes::new(Server::new().policy(policy));
    let start = Instant::now();
    let mut client = H2Client::open(server.pipe()).await;
    client.get(1, "/").await;
    client.until(h2::DATA).await;
    for _ in 0..10 {
        sleep(secs(2)).await;
        client.ping().await;
    }
    client.until(GOAWAY).await;
    let took = Instant::now() - start;
    assert!(took >= secs(30) && took < secs(32), "{took:?}");
    client.rest().await;
    server.until_empty().await;
    assert_eq!(server.handle.reaper().closed(CloseReason::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_that_never_answers_a_ping_is_closed_all_the_same() {
    let policy = Policy::unlimited().idle(secs(30)).unwrap();
    let server = Pipes::new(Server::new().policy(policy));
    let start = Instant::now();
    let mut unused = H2Client::open(server.pipe()).await;
    let mut used = H2Client::open(server.pipe()).await;
    used.get(1, "/").await;
    for client in [&mut unused, &mut used] {
        client.pongs = false;
        client.until(GOAWAY).await;
        client.rest().await;
    }
    let took = Instant::now() - start;
    assert!(took >= secs(35) && took < secs(40), "{took:?}");
    server.until_empty().await;
    assert_eq!(server.handle.reaper().closed(CloseReason::Idle), 2);
}

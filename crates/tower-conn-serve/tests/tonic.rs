//! Maximum age and grace beside tonic, which has options of the same names.
#![cfg(feature = "axum")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_core::Stream;
use support::*;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tower_conn_serve::{Policy, Server};
use tower_conn_testkit::h2::{self, GOAWAY, H2Client};
use tower_idle_reaper::MaxAge;

/// One connection, and then no more.
struct Once(Option<DuplexStream>);

impl Stream for Once {
    type Item = Result<DuplexStream, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(io) => Poll::Ready(Some(Ok(io))),
            None => Poll::Pending,
        }
    }
}

const AGE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);

fn app() -> Router {
    let slow = |seconds| async move {
        sleep(secs(seconds)).await;
        "late"
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow/30", get(move || slow(30)))
        .route("/slow/1000", get(move || slow(1000)))
}

fn tonic() -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    let server = tonic::transport::Server::builder()
        .max_connection_age(AGE)
        .max_connection_age_grace(GRACE)
        .add_routes(app().into());
    tokio::spawn(server.serve_with_incoming(Once(Some(far))));
    near
}

fn ours() -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    let (sender, listener) = PipeListener::new();
    let age = MaxAge::new(AGE).jitter(0).grace(GRACE);
    let serve = Server::new()
        .policy(Policy::unlimited().max_age(age))
        .serve(listener, app());
    sender
        .send((far, SocketAddr::from(([127, 0, 0, 1], 1))))
        .expect("it serves");
    tokio::spawn(async move { serve.await });
    near
}

/// When GOAWAY came, if it did, and when the end.
async fn lifetime(io: DuplexStream, path: &str) -> (Option<u64>, u64) {
    let start = Instant::now();
    let seconds = || (Instant::now() - start).as_secs();
    let mut client = H2Client::open(io).await;
    client.get(1, path).await;
    let mut goaway = None;
    while let Some(frame) = client.next().await {
        if frame.kind == GOAWAY {
            goaway.get_or_insert_with(seconds);
        }
    }
    (goaway, seconds())
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_told_at_its_age_where_tonic_cuts_it_without_a_word() {
    assert_eq!(lifetime(ours(), "/").await, (Some(60), 60));
    let (goaway, ended) = lifetime(tonic(), "/").await;
    // As of tonic 0.14.9. Should it send GOAWAY one day, the docs of this crate have to say so.
    assert_eq!((goaway, ended), (None, 80));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_open_is_cut_after_the_grace_by_both() {
    assert_eq!(lifetime(ours(), "/slow/1000").await, (Some(60), 80));
    assert_eq!(lifetime(tonic(), "/slow/1000").await, (None, 80));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_within_the_grace_is_answered_by_both() {
    for (open, told) in [(ours as fn() -> DuplexStream, true), (tonic, false)] {
        let mut client = H2Client::open(open()).await;
        sleep(secs(45)).await;
        client.get(1, "/slow/30").await;
        let mut saw_goaway = false;
        let answer = loop {
            let frame = client.next().await.expect("it is answered");
            saw_goaway |= frame.kind == GOAWAY;
            if frame.kind == h2::DATA {
                break frame.payload;
            }
        };
        assert_eq!((answer.as_ref(), saw_goaway), (&b"late"[..], told));
    }
}

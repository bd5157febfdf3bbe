//! With the pipeline guard: requests in parallel, and parked all the same.
#![cfg(feature = "pipeline")]

mod support;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::*;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tower_conn_serve::{Handle, Server, Shared};
use tower_conn_testkit::h2::{self, H2Client};
use tower_conn_testkit::raw::RawStream;
use tower_pipeline_guard::{AheadEvent, OnAhead, Pipeline};

struct Pipelining {
    handle: Handle,
    sender: tokio::sync::mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
}

impl Pipelining {
    fn new() -> Self {
        Self::telling(())
    }

    fn telling(observer: impl OnAhead + Send + Sync + 'static) -> Self {
        let (sender, listener) = PipeListener::new();
        let service = tower::service_fn(|request| handle(request, Arc::default()));
        let parallel = NonZeroUsize::new(8).expect("not zero");
        let serve = Server::new()
            .park_after(secs(1))
            .pipeline(Pipeline::new().parallel(parallel).half_close(true))
            .on_ahead(observer)
            .serve(listener, Shared::new(service));
        let handle = serve.handle();
        tokio::spawn(async move { serve.await });
        Self { handle, sender }
    }

    fn pipe(&self) -> DuplexStream {
        let (near, far) = duplex(64 * 1024);
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.sender.send((far, addr)).expect("it serves");
        near
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_connection_run_in_parallel_before_and_after_a_park() {
    let server = Pipelining::new();
    let mut client = RawStream::over(server.pipe()).deadline(secs(1000));
    for round in 1..=3 {
        let start = Instant::now();
        client.send(get("/slow/1").repeat(8)).await.unwrap();
        for _ in 0..8 {
            assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
        }
        let took = Instant::now() - start;
        assert!(took < millis(1200), "round {round}: {took:?}");
        sleep(secs(3)).await;
        let stats = server.handle.stats();
        assert_eq!((stats.parked, stats.parks), (1, round));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_run_ahead_are_told_before_and_after_a_park() {
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let server = Pipelining::telling(move |event: AheadEvent| {
        if let AheadEvent::Started { .. } = event {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut client = RawStream::over(server.pipe()).deadline(secs(1000));
    for round in 1..=2 {
        client.send(get("/slow/1").repeat(3)).await.unwrap();
        for _ in 0..3 {
            client.read_response("GET").await.unwrap();
        }
        assert_eq!(started.load(Ordering::Relaxed), 2 * round);
        sleep(secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_between_pipelined_heads_is_not_taken_for_one_that_is_to_come() {
    let server = Pipelining::new();
    let mut client = RawStream::over(server.pipe()).deadline(secs(1000));
    let post = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let burst = [&get("/slow/1")[..], post, &get("/slow/1")].concat();
    client.send(burst).await.unwrap();
    for (method, text) in [("GET", "late"), ("POST", "taken"), ("GET", "late")] {
        let response = client.read_response(method).await.unwrap();
        assert_eq!(response.text(), text);
        assert!(response.fields.text("connection").is_none(), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_drips_across_parks_and_the_burst_behind_it_runs_in_parallel() {
    let server = Pipelining::new();
    let mut client = RawStream::over(server.pipe()).deadline(secs(1000));
    client.send([GET, &GET[..5]].concat()).await.unwrap();
    client.read_response("GET").await.unwrap();
    for byte in &GET[5..9] {
        sleep(secs(2)).await;
        assert_eq!(server.handle.stats().parked, 1);
        client.send([*byte]).await.unwrap();
    }
    sleep(secs(3)).await;
    client
        .send([&GET[9..], &get("/slow/1").repeat(3)].concat())
        .await
        .unwrap();
    let start = Instant::now();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    for _ in 0..3 {
        assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
    }
    assert!(Instant::now() - start < millis(1200));
}

#[tokio::test(start_paused = true)]
async fn http2_is_served_beside_it() {
    let server = Pipelining::new();
    let mut client = H2Client::open(server.pipe()).await;
    client.get(1, "/").await;
    assert_eq!(client.until(h2::DATA).await.payload, "hello");
}

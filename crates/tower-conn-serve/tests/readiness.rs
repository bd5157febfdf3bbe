//! Services that are not ready at any time.

mod support;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use support::*;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, service_fn};
use tower_conn_serve::{Policy, Server, Shared};
use tower_conn_testkit::h2::{self, H2Client};
use tower_conn_testkit::raw::RawStream;

/// A server whose connections share one permit.
struct Limited(UnboundedSender<(DuplexStream, SocketAddr)>);

impl Limited {
    fn start(policy: Policy) -> Self {
        let (sender, listener) = PipeListener::new();
        let service = service_fn(|request| handle(request, Arc::default()));
        let service = GlobalConcurrencyLimitLayer::new(1).layer(service);
        let serve = Server::new()
            .policy(policy)
            .serve(listener, Shared::new(service));
        tokio::spawn(serve.into_future());
        Self(sender)
    }

    fn pipe(&self) -> DuplexStream {
        let (near, far) = duplex(64 * 1024);
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.0.send((far, addr)).expect("it serves");
        near
    }

    fn connect(&self) -> Client {
        RawStream::over(self.pipe()).deadline(secs(100))
    }
}

/// How long this takes, in seconds.
async fn answer(client: &mut Client, path: &str) -> u64 {
    let start = Instant::now();
    client.send(get(path)).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    (Instant::now() - start).as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_service_and_holds_nothing_afterwards() {
    let server = Limited::start(Policy::safe());
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for round in 0..3 {
        let [first, second, third] = &mut clients;
        let waiting = async {
            sleep(secs(1)).await;
            tokio::join!(answer(second, "/slow/2"), answer(third, "/"))
        };
        // One at a time, in the order in which they came.
        let (first, (second, third)) = tokio::join!(answer(first, "/slow/5"), waiting);
        assert_eq!((first, second, third), (5, 6, 6), "round {round}");
        // None of the connections keeps the permit, or a place in the queue.
        for client in &mut clients {
            assert_eq!(answer(client, "/").await, 0, "round {round}");
        }
        clients.rotate_left(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_waits_leaves_its_place() {
    let server = Limited::start(Policy::safe().half_close(false));
    let (mut busy, mut next) = (server.connect(), server.connect());
    let mut gone = server.connect();
    busy.send(get("/slow/5")).await.unwrap();
    sleep(secs(1)).await;
    gone.send(get("/slow/50")).await.unwrap();
    sleep(secs(1)).await;
    drop(gone);
    assert_eq!(answer(&mut next, "/").await, 3);
    assert_eq!(busy.read_response("GET").await.unwrap().text(), "late");
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_connection_wait_each_on_its_own() {
    let server = Limited::start(Policy::safe());
    let mut client = H2Client::open(server.pipe()).await;
    let start = Instant::now();
    for stream in [1, 3, 5] {
        client.get(stream, "/slow/2").await;
    }
    for stream in [1, 3, 5] {
        let data = client.until(h2::DATA).await;
        assert_eq!((data.stream, &data.payload[..]), (stream, &b"late"[..]));
    }
    assert_eq!((Instant::now() - start).as_secs(), 6);
    assert_eq!(answer(&mut server.connect(), "/").await, 0);
}

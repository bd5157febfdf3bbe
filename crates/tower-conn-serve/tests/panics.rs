//! A panic costs what panicked, and nothing else.

mod support;

use support::*;
use tower_conn_serve::{CloseReason, Server};
use tower_conn_testkit::h2::{self, H2Client};

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_costs_its_http1_connection() {
    let server = Pipes::new(Server::new());
    let mut other = server.connect();
    other.send(GET).await.unwrap();
    other.read_response("GET").await.unwrap();
    for count in 1..=3 {
        let mut client = server.connect();
        client.send(get("/panic")).await.unwrap();
        assert!(client.read_response("GET").await.is_err());
        assert_eq!(server.handle.stats().panics, count);
        assert_eq!(server.handle.reaper().closed(CloseReason::Panic), count);
    }
    other.send(GET).await.unwrap();
    assert_eq!(other.read_response("GET").await.unwrap().text(), "hello");
    assert_eq!(server.handle.reaper().connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_costs_its_http2_stream() {
    let server = Pipes::new(Server::new());
    let mut client = H2Client::open(server.pipe()).await;
    client.get(1, "/panic").await;
    let reset = client.until(h2::RST_STREAM).await;
    assert_eq!(reset.stream, 1);
    assert_eq!(server.handle.stats().panics, 1);
    client.get(3, "/").await;
    assert_eq!(client.until(h2::DATA).await.payload, "hello");
    assert_eq!(server.handle.reaper().connections(), 1);
}

//! A scripted HTTP/1 server on a real socket.
//!
//! A [`ScriptedPeer`] accepts connections on a port of its own and hands each request to a closure, which
//! answers with exact bytes through its [`Exchange`]: whole, split, late, half, or not at all. Everything seen on the
//! wire is recorded.
//!
//! - [`ScriptedPeer::start`]: the closure gets a request when all of it has arrived.
//! - [`ScriptedPeer::on_head`]: as soon as its head has arrived, for answers before the body.
//! - [`ScriptedPeer::on_connect`]: the connection itself, for a peer that closes or talks unasked.
//!
//! A closure that panics makes every later look at the records panic, so that an `assert!` inside it counts.
//!
//! ```
//! use tower_conn_testkit::{peer::ScriptedPeer, raw::RawClient};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let peer = ScriptedPeer::start(|mut exchange| async move {
//!     match (exchange.connection(), exchange.nth()) {
//!         (1, 1) => exchange.ok("first").await.unwrap(),
//!         _ => exchange.reset(),
//!     }
//! })
//! .await;
//!
//! let mut client = RawClient::connect(peer.addr()).await.unwrap();
//! client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
//! assert_eq!(client.read_response("GET").await.unwrap().text(), "first");
//! client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
//! assert!(client.read_response("GET").await.is_err());
//!
//! let targets: Vec<_> = peer.requests().iter().map(|seen| seen.request.target.clone()).collect();
//! assert_eq!(targets, ["/a", "/b"]);
//! # }
//! ```

mod connection;
mod exchange;
mod record;
mod server;

pub use self::{
    connection::PeerConnection,
    exchange::Exchange,
    record::{ConnectionRecord, End, Seen},
    server::ScriptedPeer,
};

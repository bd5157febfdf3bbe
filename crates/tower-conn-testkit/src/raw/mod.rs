//! An HTTP/1 client (and the stream under the [scripted peer](crate::peer)) that works on exact bytes.
//!
//! [`RawStream`] writes what it is told, split where it is told, and reads messages without changing
//! them: header lines in wire order with the spelling of the wire, values as bytes, 1xx answers as
//! messages of their own. What is read beyond one message stays for the next. Every operation has a
//! [deadline](RawStream::deadline), so that a test fails instead of hanging, and a
//! [cap](RawStream::cap) on what it keeps.
//!
//! The reader is strict where a lenient one would hide a fault: a bare LF, a folded line, a
//! malformed chunk or an ambiguous `Content-Length` is [`RawError::Malformed`].
//!
//! ```
//! use tower_conn_testkit::{peer::ScriptedPeer, raw::{Ended, RawClient}};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let peer = ScriptedPeer::start(|mut exchange| async move {
//!     exchange.send("HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
//!     exchange.ok("hello").await.unwrap();
//!     exchange.close();
//! })
//! .await;
//!
//! let mut client = RawClient::connect(peer.addr()).await.unwrap();
//! client.send_split("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[3, 20]).await.unwrap();
//!
//! assert_eq!(client.read_response("GET").await.unwrap().status, 103);
//! let response = client.read_response("GET").await.unwrap();
//! assert_eq!(response.text(), "hello");
//! assert_eq!(client.ended(Duration::from_secs(5)).await, Ended::Fin);
//! # }
//! ```

mod decode;
mod error;
mod fields;
mod message;
mod stream;
mod write;

pub use self::{
    error::{Ended, RawError},
    fields::Fields,
    message::{Framing, RawMessage, RawRequest, RawResponse},
    stream::{RawClient, RawStream},
};

/// A GET of `/`, whole.
pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A GET of this path, whole.
#[must_use]
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

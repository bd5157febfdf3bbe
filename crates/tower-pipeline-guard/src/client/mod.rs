//! Client side: several requests on one connection at once.
//!
//! [`Builder::handshake`] makes a [`PipelinedConnection`], which is a tower service, and a [`Driver`],
//! which owns the transport and has to be spawned.
//!
//! # What is sent when
//!
//! 1. One request at a time until the first response is complete and says HTTP/1.1 and persistent;
//!    then up to [`Builder::depth`] requests at once. With HTTP/1.0 it stays at one.
//! 2. GET, OPTIONS and TRACE without a body share the connection; HEAD once one has been answered on
//!    it; PUT and DELETE, also with a short body of known length, with [`Builder::idempotent`].
//!    Everything else, CONNECT, `Upgrade`, `Expect` and [`PipelineHint::Alone`] wait for an empty
//!    connection, and what comes behind waits for them.
//! 3. [`poll_ready`](tower_service::Service::poll_ready) is pending at depth, while a request is alone,
//!    and behind a response that is long or never ends ([`Builder::long_response`]). It fails at once
//!    when the connection is closing: nothing could be sent on it any more.
//! 4. Nothing follows a request with `Connection: close`, nor a response with it, from its head on.
//!
//! # What is received for whom
//!
//! Responses belong to requests in the order in which they were sent (RFC 9112 section 9.2); each is
//! decoded strictly, see [`h1`](crate::h1). Bytes while nothing is outstanding, and a response to a request
//! of which no byte has been sent, end the connection before anything else is sent. 1xx responses go to
//! [`OnInformational`].
//!
//! Bodies stream with backpressure: while a reader has 64 KiB to read, the transport is not read. A
//! response whose future or body is dropped is read and thrown away within [`Builder::drain`], or the
//! connection is closed.
//!
//! # When the connection ends
//!
//! Each request without a response gets an [`Error`] that tells [`ErrorKind::NotSent`] from
//! [`ErrorKind::Unanswered`], and hands the request back if its body had not been touched. Whether to
//! repeat it is for a retry layer to say. A new connection starts with one request at a time, which is
//! what RFC 9112 section 9.3.2 demands of a repetition.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tower::{Service, ServiceExt};
//! use tower_pipeline_guard::client::Builder;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let (transport, mut server) = tokio::io::duplex(1024);
//! # tokio::spawn(async move {
//! #     server.read(&mut [0; 1024]).await.unwrap();
//! #     server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
//! #     std::future::pending::<()>().await;
//! # });
//! let (mut connection, driver) = Builder::new().handshake(transport);
//! tokio::spawn(driver);
//!
//! let request = Request::get("http://example.com/").body(Empty::<Bytes>::new()).unwrap();
//! let response = connection.ready().await.unwrap().call(request).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
//! # }
//! ```
//!
//! # When not to use it
//!
//! Where HTTP/2 can be had. Where connections are cheap: a warm pool of as many connections is as fast,
//! and a slow response delays no other. Measured through a proxy that adds a round trip, 16 requests
//! outstanding (`benches/pipeline.rs`; requests per second, milliseconds for 16 requests without an open
//! connection):
//!
//! | round trip | one at a time | 16 warm connections | one pipelined connection |
//! |---|---|---|---|
//! | 2 ms | 180/s, 89 ms | 3032/s, 9 ms | 3144/s, 11 ms |
//! | 20 ms | 41/s, 420 ms | 518/s, 47 ms | 676/s, 71 ms |
//! | 100 ms | 10/s, 1759 ms | 154/s, 208 ms | 151/s, 306 ms |
//!
//! So what pipelining saves is connections: one instead of 16, with their handshakes, buffers and
//! places in the limits of servers and middleboxes; and system calls, as requests leave together. A cold
//! burst even takes a round trip longer than on 16 new connections, because the first response has to
//! prove the server; to a server that is known ([`Builder::assume_proven`]) it takes as long.
//!
//! And use it nowhere but towards servers that are known to keep the order: a response that a server invents or
//! leaves out while others are outstanding cannot be told from the right one by its framing. That is what
//! [`EchoGuardLayer`](crate::EchoGuardLayer) is for.

mod body;
mod builder;
mod driver;
mod entry;
mod error;
mod hints;
mod receive;
mod send;
mod send_body;
mod service;
mod state;
mod turn;
mod upgrade;

pub use self::body::{BodyError, ResponseBody};
pub use self::builder::Builder;
pub use self::driver::Driver;
pub use self::entry::may_share;
pub use self::error::{Cause, Error, ErrorKind};
pub use self::hints::{OnInformational, PipelineHint};
pub use self::service::{PipelinedConnection, ResponseFuture};
pub use self::upgrade::{OnUpgrade, Upgraded};

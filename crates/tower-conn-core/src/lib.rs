//! Shared vocabulary of the tower-conn crates.
//!
//! Connection policy hangs on a few nouns, and this crate holds the ones that appear in more than
//! one public signature:
//!
//! - [`Connection`]: a cheap handle of one transport connection, server side or client side. Its id,
//!   side, version, age, counts, idle time, and whether someone has asked for it to close, and why
//!   ([`CloseReason`]).
//! - [`Link`]: the same in half the space, for those who hold very many.
//! - [`Exchange`]: one request and its response, an RAII guard. A connection is idle exactly when no
//!   exchange is open. [`ExchangeBody`] carries it to the last byte of the response body.
//! - [`OnExchange`]: a hook that is told when exchanges begin and end.
//! - [`FreshConnection`]: the wish of a request that is sent again for a connection of its own.
//! - [`AuthorityKey`]: an authority as the key of a map.
//! - [`StampTable`] and [`StampSlot`]: a coarse clock and dense idle stamps, for those who watch very
//!   many connections.
//! - [`options`]: connection options, read as bytes over all `Connection` lines (RFC 9110 section 7.6.1).
//! - [`framing`]: how the body of a message is delimited (RFC 9112 section 6).
//! - [`names`]: connection-specific field names that `http` lacks.
//!
//! Most users meet these types through the policy crates and never depend on this one.
//!
//! # Example
//!
//! A service counts as busy until its response body has been written:
//!
//! ```
//! use http::Response;
//! use http_body_util::{BodyExt, Full};
//! use tower_conn_core::{Connection, Exchange, ExchangeBody};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let connection = Connection::server();
//! let exchange = Exchange::begin(&connection).unwrap();
//! let response = Response::new(ExchangeBody::new(Full::<&[u8]>::from("hello".as_bytes()), Some(exchange)));
//! assert!(!connection.is_idle());
//!
//! response.into_body().collect().await.unwrap();
//! assert!(connection.is_idle());
//! assert_eq!(connection.exchanges_finished(), 1);
//! # }
//! ```
//!
//! # How the handle is checked
//!
//! The transitions behind [`Connection`] are model-checked with loom (`tests/loom.rs`): no wake-up is
//! lost between "ask to close" and "exchange ends", no exchange is counted twice, and of a reap and
//! a request exactly one wins.
//!
//! # Features
//!
//! | Name | Description | Default? |
//! |---|---|---|
//! | `axum` | `Connection` as connect info of `axum::serve` | No |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod authority;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod connection;
mod exchange;
pub mod framing;
mod fresh;
pub mod names;
mod observe;
pub mod options;
mod reason;
mod sources;
mod stamp;
mod state;
mod sync;

pub use self::authority::AuthorityKey;
#[cfg(feature = "axum")]
pub use self::axum::{ConnectionListener, TransportConnection};
pub use self::body::ExchangeBody;
pub use self::connection::{Closed, Connection, ConnectionBuilder, Link, Snapshot};
pub use self::exchange::Exchange;
pub use self::fresh::FreshConnection;
pub use self::observe::{ExchangeEvent, OnExchange};
pub use self::reason::{CloseReason, Side};
pub use self::sources::sources;
pub use self::stamp::{StampSlot, StampTable};

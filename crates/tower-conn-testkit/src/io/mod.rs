//! An in-memory stream on which every read, write, flush and end is under control; for tests on a paused clock.
//!
//! [`pair`] gives a [`TestIo`] for the code under test and an [`IoControl`] for the test. What is fed is read exactly in the parts
//! in which it was fed. Writes can be bounded, stalled and failed. Every operation is [counted](IoEvent).
//! [`IoControl::far_end`] is the other end as a stream, for a [`RawClient`](crate::raw::RawClient).
//!
//! ```
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tower_conn_testkit::io::{self, IoEvent};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (mut io, control) = io::pair();
//! control.feed("ab");
//! control.feed("c");
//! control.feed_eof();
//!
//! let mut buf = [0; 16];
//! assert_eq!(io.read(&mut buf).await.unwrap(), 2);
//! assert_eq!(io.read(&mut buf).await.unwrap(), 1);
//! assert_eq!(io.read(&mut buf).await.unwrap(), 0);
//!
//! io.write_all(b"xyz").await.unwrap();
//! assert_eq!(control.written(), "xyz");
//! assert_eq!(control.events().last(), Some(&IoEvent::Write(3)));
//! # }
//! ```

mod control;
mod far;
mod state;
mod stream;

use std::sync::Arc;

use self::state::Shared;
pub use self::{control::IoControl, far::FarEnd, state::IoEvent, stream::TestIo};

/// A stream and its control.
#[must_use]
pub fn pair() -> (TestIo, IoControl) {
    let shared = Arc::new(Shared::default());
    (TestIo::new(Arc::clone(&shared)), IoControl::new(shared))
}

//! A body whose frames, errors, waits and announcements follow a script, and a handle that watches it.
//!
//! [`ScriptedBody`] is `!Unpin` and `!Sync` (box and pin it where a test needs `Unpin`), and panics when it is polled
//! after its end or its error.
//!
//! ```
//! use http_body_util::BodyExt;
//! use tower_conn_testkit::body::Script;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (body, probe) = Script::new().data("ab").pending().data("c").trailer("x-sum", "3").body();
//!
//! let collected = body.collect().await.unwrap();
//! assert_eq!(collected.trailers().unwrap()["x-sum"], "3");
//! assert_eq!(collected.to_bytes(), "abc");
//! assert!(probe.ended() && probe.dropped());
//! # }
//! ```

mod probe;
mod script;
mod scripted;

pub use self::{
    probe::BodyProbe,
    script::{Hint, Script, ScriptError},
    scripted::ScriptedBody,
};

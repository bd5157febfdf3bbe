//! What the tests of this workspace share. Not published.
//!
//! - [`io`]: an in-memory stream on which every read, write, flush and end is under control.
//! - [`raw`]: an HTTP/1 client on exact bytes over real sockets (or any stream).
//! - [`h2`]: an HTTP/2 client on frames.
//! - [`peer`]: a scripted HTTP/1 server on exact bytes, which records what it saw.
//! - [`service`]: an inner service that panics when it is called unready or twice on one readiness.
//! - [`app`]: what a test server answers, by path.
//! - [`body`]: a body of scripted frames, trailers, errors, waits and drops.
//! - [`contract`]: one function per contract that every layer and every body wrapper keeps.
//! - [`vectors`]: test vectors from `.jsonl` files.
//! - [`clock`]: times, short to write.

pub mod app;
pub mod body;
pub mod clock;
pub mod contract;
pub mod h2;
pub mod io;
pub mod peer;
pub mod raw;
pub mod service;
pub mod vectors;

use std::any::Any;

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        })
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

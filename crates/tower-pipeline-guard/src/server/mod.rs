//! Server side: pipelined requests in parallel, their answers in order and in few writes.

#[cfg(feature = "axum")]
mod axum;
mod body;
mod future;
mod handle;
mod io;
mod layer;
mod service;
mod window;

use std::num::NonZeroUsize;

use tokio::io::AsyncWrite;

#[cfg(feature = "axum")]
pub use self::axum::{
    GuardedFuture, GuardedMakeFuture, GuardedMakeService, GuardedService, LookaheadListener,
    PipelineTransport,
};
pub use self::body::{RequestBody, ResponseBody};
pub use self::future::ResponseFuture;
pub use self::io::LookaheadIo;
pub use self::layer::PipelineGuardLayer;
pub use self::service::PipelineGuard;

/// Options of the server side.
///
/// By default requests run one after the other, as ever, and bursts of responses are coalesced.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Pipeline {
    parallel: usize,
    coalesce: usize,
    read_ahead: usize,
    half_close: bool,
}

impl Pipeline {
    /// One request at a time; responses coalesced up to 64 KiB; 8 KiB read ahead; half-close off.
    pub const fn new() -> Self {
        Self {
            parallel: 1,
            coalesce: 64 * 1024,
            read_ahead: 8 * 1024,
            half_close: false,
        }
    }

    /// How many requests of one connection may run at once (RFC 9112 section 9.3.2 allows it if all
    /// of them are safe). Default 1.
    pub const fn parallel(mut self, calls: NonZeroUsize) -> Self {
        self.parallel = calls.get();
        self
    }

    /// How many bytes of complete responses are held back at most, while more follow without a wait.
    /// Default 64 KiB; 0 writes each response by itself.
    pub const fn coalesce(mut self, bytes: usize) -> Self {
        self.coalesce = bytes;
        self
    }

    /// How many bytes are read at once between messages, and read ahead while a handler works. A
    /// client that pipelines more is read no further until it is answered. Default 8 KiB.
    pub const fn read_ahead(mut self, bytes: NonZeroUsize) -> Self {
        self.read_ahead = bytes.get();
        self
    }

    /// Whether a client that has closed its sending side is still answered. Default `false`: such a
    /// client counts as gone, and its handlers are dropped, as hyper does it by default.
    ///
    /// Works with and without hyper's own `half_close`, so also in `axum::serve`.
    pub const fn half_close(mut self, enabled: bool) -> Self {
        self.half_close = enabled;
        self
    }

    /// Wraps the transport of one connection; the layer belongs around the service of that
    /// connection.
    pub fn wrap<I: AsyncWrite>(self, transport: I) -> (LookaheadIo<I>, PipelineGuardLayer) {
        let io = LookaheadIo::new(transport, self);
        let layer = io.layer();
        (io, layer)
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

/// In the extensions of a request that started before its turn.
///
/// A handler that would rather not (because it is expensive and could turn out to be for nothing,
/// when the connection closes before its turn) can look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsAhead {
    behind: usize,
}

impl RunsAhead {
    const fn new(behind: usize) -> Self {
        Self { behind }
    }

    /// How many requests of the connection were unanswered before this one when it started.
    #[must_use]
    pub const fn behind(&self) -> usize {
        self.behind
    }
}

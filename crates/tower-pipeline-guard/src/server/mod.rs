//! Server side: pipelined requests in parallel, their answers in order and in few writes.

#[cfg(feature = "axum")]
mod axum;
mod body;
mod future;
mod handle;
mod io;
mod layer;
mod observe;
mod service;
mod window;

use std::num::{NonZeroU32, NonZeroUsize};

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
pub use self::observe::{AheadEvent, OnAhead};
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
    max_buffered: usize,
    max_requests: Option<NonZeroU32>,
    half_close: bool,
}

impl Pipeline {
    /// One request at a time; responses coalesced up to 64 KiB; 8 KiB read ahead; half-close off.
    pub const fn new() -> Self {
        Self {
            parallel: 1,
            coalesce: 64 * 1024,
            read_ahead: 8 * 1024,
            max_buffered: usize::MAX,
            max_requests: None,
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

    /// How many complete requests may wait behind the one that is due before nothing more is read ahead,
    /// however short they are. What the last read has brought beyond that waits as well; it asks for
    /// 64 bytes for each of them, and at least 1 KiB. Default no limit but
    /// [`read_ahead`](Self::read_ahead).
    ///
    /// A client that has gone away is not noticed while nothing is read, so this should be larger than
    /// what well-behaved clients send at once.
    pub const fn max_buffered(mut self, requests: NonZeroUsize) -> Self {
        self.max_buffered = requests.get();
        self
    }

    /// How many requests a connection may carry. The response to the last one says
    /// `Connection: close`; what a client has sent behind it is not run, ahead of its turn neither.
    /// `None`, the default, is no limit.
    ///
    /// `tower-keep-alive` can also announce such a limit, and knows more reasons to close; with both,
    /// give both the same number.
    pub const fn max_requests(mut self, requests: Option<NonZeroU32>) -> Self {
        self.max_requests = requests;
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

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Mutex, MutexGuard},
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// One thing that was done to a [`TestIo`](super::TestIo), pending polls left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoEvent {
    /// A read that returned so many bytes; 0 is the end.
    Read(usize),
    /// A read that failed.
    ReadFailed(io::ErrorKind),
    /// A write that took so many bytes.
    Write(usize),
    /// A write that failed.
    WriteFailed(io::ErrorKind),
    /// `poll_flush` was called, whether or not there was anything to flush.
    Flush,
    /// `poll_shutdown` was called.
    Shutdown,
    /// The stream was dropped.
    Drop,
}

/// What the next read finds.
#[derive(Debug)]
pub(super) enum Feed {
    Bytes(Bytes),
    Eof,
    Error(io::ErrorKind),
}

/// Whom a change concerns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    Nobody,
    /// The tasks at the `TestIo`.
    Near,
    /// The task at the `FarEnd`.
    Far,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told of every change.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) feed: VecDeque<Feed>,
    pub(super) written: BytesMut,
    pub(super) events: Vec<IoEvent>,
    /// Most bytes that one write takes.
    pub(super) write_limit: Option<usize>,
    /// How many bytes writes may still take before they stall.
    pub(super) window: Option<usize>,
    pub(super) write_error: Option<io::ErrorKind>,
    pub(super) flush_stalled: bool,
    pub(super) plain_writes: bool,
    pub(super) shutdown: bool,
    pub(super) dropped: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) far_reader: Option<Waker>,
}

// ===== impl Shared =====

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Changes the state, and wakes those whose poll may come to something else now. Nobody else: hyper flushes at each
    /// turn, and a flush that woke its reader would turn for ever.
    pub(super) fn change<R>(&self, wake: Wake, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers) = {
            let mut state = self.lock();
            let result = change(&mut state);
            let wakers = match wake {
                Wake::Nobody => [None, None],
                Wake::Near => [state.reader.take(), state.writer.take()],
                Wake::Far => [state.far_reader.take(), None],
            };
            (result, wakers)
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        self.changed.notify_waiters();
        result
    }
}

impl State {
    /// How many of so many bytes a write takes now; 0 if it stalls.
    pub(super) fn room(&self, wanted: usize) -> usize {
        wanted
            .min(self.write_limit.unwrap_or(usize::MAX))
            .min(self.window.unwrap_or(usize::MAX))
    }

    pub(super) fn take_bytes(&mut self, bytes: &[u8]) {
        if let Some(window) = &mut self.window {
            *window -= bytes.len();
        }
        self.written.extend_from_slice(bytes);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("feed", &self.feed)
            .field("written", &self.written)
            .field("events", &self.events)
            .field("window", &self.window)
            .field("shutdown", &self.shutdown)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

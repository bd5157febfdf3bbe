use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    FarEnd,
    state::{Feed, IoEvent, Shared, State, Wake},
};

/// The test's side of a [`pair`](super::pair). Clones control the same stream.
#[derive(Clone, Debug)]
pub struct IoControl {
    shared: Arc<Shared>,
    deadline: Duration,
}

// ===== impl IoControl =====

impl IoControl {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            deadline: Duration::from_secs(10),
        }
    }

    /// How long the waiting methods wait before they panic: 10 seconds unless set. Under a paused clock, set it beyond
    /// every timer of the test.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Gives the stream something to read. It comes as a read of its own, or as several if the
    /// reader's buffer is smaller, and never together with what is fed before or after.
    pub fn feed(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        if !bytes.is_empty() {
            self.push(Feed::Bytes(bytes));
        }
    }

    /// Feeds the bytes in parts cut at these offsets.
    ///
    /// # Panics
    ///
    /// When the offsets do not ascend within the bytes.
    pub fn feed_split(&self, bytes: impl AsRef<[u8]>, at: &[usize]) {
        let bytes = bytes.as_ref();
        let mut from = 0;
        for &to in at.iter().chain([&bytes.len()]) {
            self.feed(&bytes[from..to]);
            from = to;
        }
    }

    /// Feeds each byte on its own.
    pub fn feed_each_byte(&self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.feed([*byte]);
        }
    }

    /// Ends what can be read, after what has been fed.
    pub fn feed_eof(&self) {
        self.push(Feed::Eof);
    }

    /// Lets reads fail, after what has been fed.
    pub fn feed_error(&self, kind: io::ErrorKind) {
        self.push(Feed::Error(kind));
    }

    /// A reset: what has been fed and not read is lost, reads fail with `ConnectionReset`, writes with
    /// `BrokenPipe`.
    pub fn reset(&self) {
        self.shared.change(Wake::Near, |state| {
            state.feed.clear();
            state
                .feed
                .push_back(Feed::Error(io::ErrorKind::ConnectionReset));
            state.write_error = Some(io::ErrorKind::BrokenPipe);
        });
    }

    /// Lets writes and flushes fail from now on.
    pub fn fail_writes(&self, kind: io::ErrorKind) {
        self.shared
            .change(Wake::Near, |state| state.write_error = Some(kind));
    }

    /// Writes take at most this many bytes each.
    ///
    /// # Panics
    ///
    /// When that is none; see [`IoControl::stall_writes`].
    pub fn limit_writes(&self, most: usize) {
        assert!(most > 0, "a write that takes nothing is an end");
        self.shared
            .change(Wake::Near, |state| state.write_limit = Some(most));
    }

    /// Writes stall once they have taken so many more bytes, as with a reader that has stopped.
    pub fn stall_writes_after(&self, bytes: usize) {
        self.shared
            .change(Wake::Near, |state| state.window = Some(bytes));
    }

    /// Writes stall at once.
    pub fn stall_writes(&self) {
        self.stall_writes_after(0);
    }

    /// Flushes stay pending.
    pub fn stall_flushes(&self) {
        self.shared
            .change(Wake::Near, |state| state.flush_stalled = true);
    }

    /// Ends all stalls and limits of writes and flushes.
    pub fn resume_writes(&self) {
        self.shared.change(Wake::Near, |state| {
            state.window = None;
            state.write_limit = None;
            state.flush_stalled = false;
        });
    }

    /// Whether the stream says that it writes vectored, as `TcpStream` does and as it does unless told otherwise.
    pub fn write_vectored(&self, vectored: bool) {
        self.shared
            .change(Wake::Near, |state| state.plain_writes = !vectored);
    }

    /// What was written and not taken.
    #[must_use]
    pub fn written(&self) -> Bytes {
        self.look(|state| Bytes::copy_from_slice(&state.written))
    }

    /// Takes what was written.
    #[must_use]
    pub fn take_written(&self) -> Bytes {
        self.shared
            .change(Wake::Nobody, |state| state.written.split().freeze())
    }

    /// Everything that was done to the stream, in order.
    #[must_use]
    pub fn events(&self) -> Vec<IoEvent> {
        self.look(|state| state.events.clone())
    }

    /// How many writes took bytes.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.count(|event| matches!(event, IoEvent::Write(_)))
    }

    /// How many reads returned, the end included.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.count(|event| matches!(event, IoEvent::Read(_)))
    }

    /// How often `poll_flush` was called.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.count(|event| *event == IoEvent::Flush)
    }

    /// How often `poll_shutdown` was called.
    #[must_use]
    pub fn shutdowns(&self) -> usize {
        self.count(|event| *event == IoEvent::Shutdown)
    }

    /// Whether the stream was shut down for writing.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.look(|state| state.shutdown)
    }

    /// Whether the stream was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.look(|state| state.dropped)
    }

    /// How many bytes were fed and not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.look(|state| {
            state
                .feed
                .iter()
                .map(|feed| match feed {
                    Feed::Bytes(bytes) => bytes.len(),
                    Feed::Eof | Feed::Error(_) => 0,
                })
                .sum()
        })
    }

    /// Waits until everything fed has been read.
    ///
    /// # Panics
    ///
    /// When the [deadline](IoControl::deadline) passes.
    pub async fn until_read(&self) {
        self.until("everything to be read", |control| control.unread() == 0)
            .await;
    }

    /// Waits until so many bytes are written, and takes them.
    ///
    /// # Panics
    ///
    /// When the [deadline](IoControl::deadline) passes.
    pub async fn until_written(&self, count: usize) -> Bytes {
        let what = format!("{count} bytes to be written");
        self.until(&what, |control| {
            control.look(|state| state.written.len() >= count)
        })
        .await;
        self.shared
            .change(Wake::Nobody, |state| state.written.split_to(count).freeze())
    }

    /// Waits until the stream is shut down or dropped.
    ///
    /// # Panics
    ///
    /// When the [deadline](IoControl::deadline) passes.
    pub async fn until_closed(&self) {
        self.until("the close", |control| {
            control.is_shutdown() || control.is_dropped()
        })
        .await;
    }

    /// Waits until something is so; `what` says what in the panic.
    ///
    /// # Panics
    ///
    /// When the [deadline](IoControl::deadline) passes.
    pub async fn until(&self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                if reached(self) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(self.deadline, wait).await.is_err() {
            panic!("waited in vain for {what}: {:?}", self.shared);
        }
    }

    /// The other end as a stream: its reads take what was written, its writes feed, its shutdown is an end.
    #[must_use]
    pub fn far_end(&self) -> FarEnd {
        FarEnd::new(Arc::clone(&self.shared))
    }

    fn push(&self, feed: Feed) {
        self.shared
            .change(Wake::Near, |state| state.feed.push_back(feed));
    }

    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.shared.lock())
    }

    fn count(&self, counts: impl Fn(&IoEvent) -> bool) -> usize {
        self.look(|state| state.events.iter().filter(|event| counts(event)).count())
    }
}

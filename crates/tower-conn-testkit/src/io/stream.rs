use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{Feed, IoEvent, Shared, State, Wake};

/// The end of a [`pair`](super::pair) for the code under test.
#[derive(Debug)]
pub struct TestIo {
    shared: Arc<Shared>,
}

impl TestIo {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let mut state = self.shared.lock();
        let error = match state.write_error {
            None if state.shutdown => Some(io::ErrorKind::BrokenPipe),
            other => other,
        };
        if let Some(kind) = error {
            drop(state);
            self.note(IoEvent::WriteFailed(kind));
            return Poll::Ready(Err(kind.into()));
        }
        let room = state.room(wanted);
        if room == 0 && wanted > 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.shared.change(Wake::Far, |state| {
            let mut left = room;
            for slice in slices {
                let part = left.min(slice.len());
                state.take_bytes(&slice[..part]);
                left -= part;
            }
            state.events.push(IoEvent::Write(room));
        });
        Poll::Ready(Ok(room))
    }

    fn note(&self, event: IoEvent) {
        self.shared
            .change(Wake::Nobody, |state| state.events.push(event));
    }
}

impl AsyncRead for TestIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let (event, result) = match state.feed.front_mut() {
            None => {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Feed::Bytes(bytes)) => {
                let part = bytes.split_to(bytes.len().min(buf.remaining()));
                buf.put_slice(&part);
                if bytes.is_empty() {
                    state.feed.pop_front();
                }
                (IoEvent::Read(part.len()), Ok(()))
            }
            // An end stays the end.
            Some(Feed::Eof) => (IoEvent::Read(0), Ok(())),
            Some(Feed::Error(kind)) => (IoEvent::ReadFailed(*kind), Err((*kind).into())),
        };
        drop(state);
        self.note(event);
        Poll::Ready(result)
    }
}

impl AsyncWrite for TestIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        !self.shared.lock().plain_writes
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note(IoEvent::Flush);
        let mut state = self.shared.lock();
        if state.flush_stalled {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(flushed(&state))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.change(Wake::Far, |state| {
            state.events.push(IoEvent::Shutdown);
            state.shutdown = true;
        });
        Poll::Ready(Ok(()))
    }
}

impl Drop for TestIo {
    fn drop(&mut self) {
        self.shared.change(Wake::Far, |state| {
            state.events.push(IoEvent::Drop);
            state.dropped = true;
        });
    }
}

fn flushed(state: &State) -> io::Result<()> {
    match state.write_error {
        Some(kind) => Err(kind.into()),
        None => Ok(()),
    }
}

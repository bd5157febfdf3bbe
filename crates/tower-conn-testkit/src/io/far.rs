use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{Feed, Shared, Wake};

/// The other end of a [`TestIo`](super::TestIo) as a stream. Dropping it ends nothing.
#[derive(Debug)]
pub struct FarEnd {
    shared: Arc<Shared>,
}

impl FarEnd {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl AsyncRead for FarEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if state.written.is_empty() {
            if state.shutdown || state.dropped {
                return Poll::Ready(Ok(()));
            }
            state.far_reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let part = buf.remaining().min(state.written.len());
        buf.put_slice(&state.written.split_to(part));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FarEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shared.lock().dropped {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = Bytes::copy_from_slice(buf);
        if !bytes.is_empty() {
            self.shared
                .change(Wake::Near, |state| state.feed.push_back(Feed::Bytes(bytes)));
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared
            .change(Wake::Near, |state| state.feed.push_back(Feed::Eof));
        Poll::Ready(Ok(()))
    }
}

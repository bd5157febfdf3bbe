use std::time::Duration;

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{RawError, RawStream};

/// How often a part of a split write gives way, so that the other side has read it before the next leaves.
const TURNS: usize = 16;

impl<T: AsyncWrite + Unpin> RawStream<T> {
    /// Writes and flushes all bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), RawError> {
        let bytes = bytes.as_ref();
        self.bounded_write(async |io: &mut T| {
            io.write_all(bytes).await?;
            io.flush().await
        })
        .await
    }

    /// Writes the bytes in parts cut at these offsets, each a write of its own with a
    /// [gap](RawStream::gap) before the next. On a runtime of one thread the other side sees the parts one by one;
    /// across threads, set a gap for that.
    ///
    /// # Panics
    ///
    /// When the offsets do not ascend within the bytes.
    pub async fn send_split(
        &mut self,
        bytes: impl AsRef<[u8]>,
        at: &[usize],
    ) -> Result<(), RawError> {
        let bytes = bytes.as_ref();
        let mut from = 0;
        for &to in at.iter().chain([&bytes.len()]) {
            assert!(
                from <= to && to <= bytes.len(),
                "split at {at:?} of {} bytes",
                bytes.len()
            );
            if from < to {
                self.send(&bytes[from..to]).await?;
            }
            if to < bytes.len() {
                self.pause().await;
            }
            from = to;
        }
        Ok(())
    }

    /// Writes each byte on its own, with a [gap](RawStream::gap) between.
    pub async fn send_each_byte(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), RawError> {
        let bytes = bytes.as_ref();
        let at: Vec<usize> = (1..bytes.len()).collect();
        self.send_split(bytes, &at).await
    }

    /// Ends this direction and leaves the other open: a FIN on a socket.
    pub async fn half_close(&mut self) -> Result<(), RawError> {
        self.bounded_write(async |io: &mut T| io.shutdown().await)
            .await
    }

    async fn pause(&self) {
        if self.gap > Duration::ZERO {
            sleep(self.gap).await;
        } else {
            for _ in 0..TURNS {
                yield_now().await;
            }
        }
    }

    async fn bounded_write(
        &mut self,
        run: impl AsyncFnOnce(&mut T) -> std::io::Result<()>,
    ) -> Result<(), RawError> {
        let after = self.deadline;
        match timeout(after, run(&mut self.io)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(RawError::Timeout {
                after,
                unread: self.unread().to_vec().into(),
            }),
        }
    }
}

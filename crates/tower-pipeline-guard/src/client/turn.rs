//! One turn of the driver: receive, send, and see whether it is over.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::CloseReason;

use super::Cause;
use super::driver::Driver;

impl<I, B> Driver<I, B>
where
    I: AsyncRead + AsyncWrite + Send + 'static,
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if self.closing.is_none() && self.shared.connection().poll_close(cx).is_ready() {
            self.stop_accepting(Cause::Closing);
        }
        if self.shared.connection().is_closed() {
            return Err(Cause::Aborted);
        }
        loop {
            // Reading first: bytes that nobody asked for are seen before anything is sent.
            let mut progress = self.receive(cx)?;
            if self.io.is_none() {
                return Err(Cause::Upgraded);
            }
            self.publish();
            progress |= self.send(cx)?;
            self.publish();
            if !progress {
                break;
            }
        }
        self.poll_timers(cx)?;
        self.check_end()
    }

    fn check_end(&mut self) -> Result<(), Cause> {
        if !self.flight.is_empty() || self.sending.is_some() || !self.output.is_empty() {
            return Ok(());
        }
        if let Some(cause) = &self.closing {
            return Err(cause.clone());
        }
        let unused = {
            let state = self.shared.lock();
            state.services == 0 && state.waiting() == 0
        };
        if unused {
            self.finish(&Cause::Closing, &Cause::Closing, CloseReason::Application);
            return Err(Cause::Closing);
        }
        Ok(())
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        let written = self.written();
        let Some(front) = self.flight.front_mut() else {
            self.head_timer = None;
            self.drain_timer = None;
            return Ok(());
        };
        let waits = self.arrived.is_none() && front.end <= written;
        match self.config.head_timeout {
            Some(limit) if waits => {
                let timer = self
                    .head_timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                if timer.as_mut().poll(cx).is_ready() {
                    return Err(Cause::HeadTimeout);
                }
            }
            _ => self.head_timer = None,
        }
        if front.is_cancelled(cx) {
            let timer = self
                .drain_timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.config.drain_time)));
            if timer.as_mut().poll(cx).is_ready() {
                return Err(Cause::Abandoned);
            }
        } else {
            self.drain_timer = None;
        }
        Ok(())
    }
}

impl<I, B> Future for Driver<I, B>
where
    I: AsyncRead + AsyncWrite + Send + 'static,
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Output = Result<(), Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.shared.driver().register(cx.waker());
        if this.finished.is_none() {
            if let Err(cause) = this.turn(cx) {
                this.fail(cause);
            }
        }
        let Some(result) = &this.finished else {
            return Poll::Pending;
        };
        if let (Ok(()), Some(io)) = (result, &mut this.io) {
            // What the server thinks of the end does not matter any more.
            let _ = ready!(io.as_mut().poll_shutdown(cx));
        }
        Poll::Ready(result.clone())
    }
}

//! The driver: owns the transport, sends what is accepted, gives each response to its request.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tower_conn_core::CloseReason;

use super::entry::{Entry, Sharing};
use super::send_body::Sending;
use super::state::Shared;
use super::{Builder, Cause, ErrorKind};
use crate::h1::Decoder;

/// How much is read at once.
const READ: usize = 16 * 1024;

/// Drives a [`PipelinedConnection`](super::PipelinedConnection): spawn it.
///
/// Resolves when the connection has ended: with `Ok` if the server closed it between messages, if it was
/// closed in order from this side, or left HTTP; with the [`Cause`] otherwise. Dropped, it fails
/// everything that is outstanding.
#[must_use = "nothing is sent unless the driver is polled"]
pub struct Driver<I, B> {
    /// `None` once it was handed to an upgrade.
    pub(super) io: Option<Pin<Box<I>>>,
    pub(super) shared: Shared<B>,
    pub(super) config: Builder,
    /// Sent or about to be, and not answered completely, in order.
    pub(super) flight: VecDeque<Entry<B>>,

    pub(super) decoder: Decoder,
    pub(super) input: BytesMut,
    pub(super) ended: bool,
    scratch: Vec<u8>,
    /// The head of the response to the first request in flight.
    pub(super) arrived: Option<Arrived>,
    /// The response that is being received is long.
    pub(super) long: bool,

    pub(super) output: BytesMut,
    /// How many bytes went into `output`, ever.
    pub(super) queued: u64,
    pub(super) flushed: bool,
    pub(super) sending: Option<Sending<B>>,
    /// On the way to a last look before an idle connection is used, and back from it.
    pub(super) look: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) looked: bool,
    /// Writing failed; what the server said before is still worth reading.
    pub(super) broken: Option<Cause>,

    /// Nothing more is sent; the connection closes when what is outstanding is answered.
    pub(super) closing: Option<Cause>,
    pub(super) head_timer: Option<Pin<Box<Sleep>>>,
    pub(super) drain_timer: Option<Pin<Box<Sleep>>>,
    /// What the service knows: whether something lets nothing follow, and how many are outstanding.
    pub(super) published: (bool, usize),
    pub(super) finished: Option<Result<(), Cause>>,
}

/// What the head of the response in progress said.
#[derive(Debug)]
pub(super) struct Arrived {
    /// It proves that more requests may be sent at once.
    pub(super) proof: bool,
    pub(super) persistent: bool,
    pub(super) received: u64,
}

impl<I, B> Driver<I, B> {
    pub(super) fn new(io: I, shared: Shared<B>, config: Builder) -> Self {
        Self {
            io: Some(Box::pin(io)),
            shared,
            flight: VecDeque::new(),
            decoder: Decoder::new(config.limits),
            input: BytesMut::new(),
            ended: false,
            scratch: Vec::new(),
            arrived: None,
            long: false,
            output: BytesMut::new(),
            queued: 0,
            flushed: true,
            sending: None,
            look: None,
            looked: false,
            broken: None,
            closing: None,
            head_timer: None,
            drain_timer: None,
            published: (false, 0),
            finished: None,
            config,
        }
    }

    /// How many bytes have been handed to the transport, ever.
    pub(super) fn written(&self) -> u64 {
        self.queued - self.output.len() as u64
    }

    /// Takes no more requests, and gives back those that wait.
    pub(super) fn stop_accepting(&mut self, cause: Cause) {
        let waiting = self.shared.update(|state| {
            state.closed.get_or_insert_with(|| cause.clone());
            state.take_all()
        });
        for entry in waiting {
            entry.fail(ErrorKind::NotSent, cause.clone());
        }
        self.closing.get_or_insert(cause);
    }

    /// Ends everything: each request is told what is known about it.
    pub(super) fn finish(&mut self, first: &Cause, rest: &Cause, reason: CloseReason) {
        self.stop_accepting(rest.clone());
        let written = self.written();
        if let Some(entry) = self.sending.take().and_then(Sending::into_unsent) {
            entry.fail(ErrorKind::NotSent, rest.clone());
        }
        for (at, entry) in std::mem::take(&mut self.flight).into_iter().enumerate() {
            let kind = if entry.start >= written {
                ErrorKind::NotSent
            } else {
                ErrorKind::Unanswered
            };
            let cause = if at == 0 { first } else { rest };
            entry.fail(kind, cause.clone());
        }
        self.shared.connection().close(reason);
        self.shared.update(|state| state.outstanding = 0);
    }

    pub(super) fn fail(&mut self, cause: Cause) {
        // Only the first request in flight can be the one that the trouble is about.
        let rest = match cause {
            Cause::HeadTimeout | Cause::Decode(_) | Cause::RequestBody(_) => &Cause::Closing,
            _ => &cause,
        };
        let lost = !self.flight.is_empty();
        self.finish(&cause, rest, cause.close_reason());
        self.finished = Some(match cause {
            Cause::Closed | Cause::Closing | Cause::Upgraded if !lost => Ok(()),
            cause => Err(cause),
        });
    }

    /// Fails what is in flight behind the first request: it will not be answered here.
    pub(super) fn give_up_followers(&mut self, cause: &Cause) {
        let written = self.written();
        for entry in self.flight.split_off(1.min(self.flight.len())) {
            let kind = if entry.start >= written {
                ErrorKind::NotSent
            } else {
                ErrorKind::Unanswered
            };
            entry.fail(kind, cause.clone());
        }
    }

    /// Whether something in flight lets nothing follow.
    pub(super) fn holds_back(&self) -> bool {
        self.long
            || self
                .flight
                .iter()
                .enumerate()
                .any(|(at, entry)| match entry.sharing {
                    Sharing::Shared => false,
                    Sharing::NoFollow => at > 0 || self.arrived.is_none(),
                    Sharing::Alone => true,
                })
    }

    /// Tells the service whether more may follow.
    pub(super) fn publish(&mut self) {
        let held = self.closing.is_some() || self.holds_back();
        let unsent = self.sending.as_ref().is_some_and(Sending::is_unsent);
        let outstanding = self.flight.len() + usize::from(unsent);
        if self.published != (held, outstanding) {
            self.published = (held, outstanding);
            self.shared.update(|state| {
                state.held = held;
                state.outstanding = outstanding;
            });
        }
    }
}

impl<I: AsyncRead, B> Driver<I, B> {
    /// Reads once; the number of bytes, 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Ok(0));
        };
        self.scratch.resize(READ, 0);
        let mut buf = ReadBuf::new(&mut self.scratch);
        ready!(io.as_mut().poll_read(cx, &mut buf))?;
        self.input.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<I, B> Unpin for Driver<I, B> {}

impl<I, B> Drop for Driver<I, B> {
    fn drop(&mut self) {
        if self.finished.is_none() {
            self.fail(Cause::Aborted);
        }
    }
}

impl<I, B> fmt::Debug for Driver<I, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("connection", self.shared.connection())
            .field("in_flight", &self.flight.len())
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

impl<I: AsyncWrite, B> Driver<I, B> {
    /// Writes and flushes what is in `output`; `true` if a byte went out.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(io) = &mut self.io else {
            return Ok(false);
        };
        let mut progress = false;
        while !self.output.is_empty() {
            match io.as_mut().poll_write(cx, &self.output) {
                Poll::Pending => return Ok(progress),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.output.advance(written);
                    self.flushed = false;
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if !self.flushed {
            match io.as_mut().poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(progress)
    }
}

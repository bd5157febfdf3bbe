//! The sending half of the driver.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::Sleep;
use tower_conn_core::framing::BodyFraming;

use super::driver::Driver;
use super::entry::{Entry, SHARED_BODY, Sharing, framing};
use super::{Cause, ErrorKind};
use crate::h1::{EncodeError, encode_chunk, encode_head, encode_last_chunk};

/// How much waits for the transport at most before a body is not polled any more.
const BUFFER: usize = 64 * 1024;

/// How long a 100 is waited for: not every server sends one (RFC 9110 section 10.1.1).
const CONTINUE: Duration = Duration::from_secs(1);

/// A request body on its way.
pub(super) struct Sending<B> {
    stage: Stage<B>,
    /// What is left of an announced length.
    left: Option<u64>,
    /// The server has not said yet that it wants the body.
    waiting: Option<Pin<Box<Sleep>>>,
}

enum Stage<B> {
    /// Read to its end before the head is sent.
    Collect(Box<Entry<B>>, Option<Pin<Box<B>>>),
    /// Sent behind its head, by the last request in flight; not polled yet, or in progress.
    Stream(Option<Pin<Box<B>>>),
}

impl<B> Sending<B> {
    pub(super) fn go_on(&mut self) {
        self.waiting = None;
    }

    /// The request whose body is read before it is sent.
    pub(super) fn into_unsent(self) -> Option<Entry<B>> {
        match self.stage {
            Stage::Collect(entry, _) => Some(*entry),
            Stage::Stream(_) => None,
        }
    }

    pub(super) const fn is_unsent(&self) -> bool {
        matches!(self.stage, Stage::Collect(..))
    }

    pub(super) const fn waits(&self) -> bool {
        self.waiting.is_some()
    }
}

impl<B> fmt::Debug for Sending<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("left", &self.left)
            .field("waits", &self.waits())
            .finish_non_exhaustive()
    }
}

impl<I, B> Driver<I, B>
where
    I: AsyncWrite,
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Sends as much as may be sent; `true` if something was.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let mut progress = false;
        self.drop_cancelled(cx);
        while self.broken.is_none() {
            let more = match self.sending {
                Some(_) => self.send_body(cx)?,
                None => self.send_next(cx),
            };
            progress |= more;
            if self.looked {
                break;
            }
            if more && self.output.len() < BUFFER {
                // Heads that may follow each other leave in one write.
                continue;
            }
            match self.write(cx) {
                Ok(written) => {
                    progress |= written;
                    if !more && !written {
                        break;
                    }
                }
                Err(error) => {
                    let cause = Cause::io(error);
                    self.stop_accepting(cause.clone());
                    self.broken = Some(cause);
                    self.sending = None;
                }
            }
        }
        Ok(progress)
    }

    /// Forgets requests whose callers have gone away before anything was sent.
    fn drop_cancelled(&self, cx: &mut Context<'_>) {
        self.shared
            .update(|state| state.retain(|entry| !entry.is_cancelled(cx)));
    }

    /// Begins the next request, if it may go now.
    fn send_next(&mut self, cx: &mut Context<'_>) -> bool {
        if self.closing.is_some() || self.output.len() >= BUFFER {
            return false;
        }
        let in_flight = self.flight.len();
        if in_flight == 0 && self.shared.lock().waiting() == 0 {
            self.looked = false;
            return false;
        }
        if in_flight == 0 && !self.looked {
            // tokio reads only what its reactor has reported. Let it report, then look once more at
            // what came while nothing was outstanding.
            let look = self
                .look
                .get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
            if look.as_mut().poll(cx).is_ready() {
                self.look = None;
                self.looked = true;
                return true;
            }
            return false;
        }
        self.looked = false;
        let held = self.holds_back();
        let next = self.shared.update(|state| {
            let room = in_flight < state.depth;
            state.pop_if(|next| in_flight == 0 || (room && !held && next.sharing != Sharing::Alone))
        });
        match next {
            Some(entry) => {
                self.begin(entry);
                true
            }
            None => false,
        }
    }

    fn begin(&mut self, mut entry: Entry<B>) {
        let Some(request) = &entry.request else {
            return;
        };
        if self.shared.connection().is_closed() {
            return entry.fail(ErrorKind::NotSent, Cause::Aborted);
        }
        let framing = framing(request);
        if entry.sharing != Sharing::Alone && framing != BodyFraming::Empty {
            self.sending = Some(Sending {
                stage: Stage::Collect(Box::new(entry), None),
                left: None,
                waiting: None,
            });
            return;
        }
        let Some(request) = self.send_head(&mut entry, framing) else {
            return;
        };
        entry.request = Some(request);
        if framing == BodyFraming::Empty {
            entry.end = self.queued;
        } else {
            let waiting = entry
                .expects_continue
                .then(|| Box::pin(tokio::time::sleep(CONTINUE)));
            self.sending = Some(Sending {
                stage: Stage::Stream(None),
                left: match framing {
                    BodyFraming::Length(length) => Some(length),
                    _ => None,
                },
                waiting,
            });
        }
        self.launch(entry);
    }

    /// Encodes the head; fails the entry if that is not possible.
    fn send_head(&mut self, entry: &mut Entry<B>, framing: BodyFraming) -> Option<Request<B>> {
        let (parts, body) = entry.request.take()?.into_parts();
        entry.start = self.queued;
        let before = self.output.len();
        let encoded = encode_head(&parts, framing, &mut self.output);
        let request = Request::from_parts(parts, body);
        match encoded {
            Ok(()) => {
                self.queued += (self.output.len() - before) as u64;
                Some(request)
            }
            Err(error) => {
                if let Some(reply) = entry.reply.take() {
                    let error =
                        super::Error::new(ErrorKind::Invalid, Cause::Encode(error), Some(request));
                    let _ = reply.send(Err(error));
                }
                None
            }
        }
    }

    fn launch(&mut self, mut entry: Entry<B>) {
        entry.exchange = self.shared.connection().begin().ok();
        if self.flight.is_empty() {
            if entry.upgrade {
                self.decoder.expect_upgrade(&entry.method);
            } else {
                self.decoder.expect(&entry.method);
            }
        }
        let last = entry.last;
        self.flight.push_back(entry);
        if last {
            self.stop_accepting(Cause::Closing);
        }
    }

    fn append(&mut self, bytes: impl FnOnce(&mut BytesMut)) {
        let before = self.output.len();
        bytes(&mut self.output);
        self.queued += (self.output.len() - before) as u64;
    }

    /// Advances the body that is being sent; `true` if it did.
    fn send_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(mut sending) = self.sending.take() else {
            return Ok(false);
        };
        if let Some(timer) = &mut sending.waiting {
            if timer.as_mut().poll(cx).is_pending() {
                self.sending = Some(sending);
                return Ok(false);
            }
            sending.waiting = None;
        }
        match sending.stage {
            Stage::Collect(entry, body) => {
                self.collect(entry, body, cx);
                Ok(self.sending.is_none())
            }
            Stage::Stream(body) => {
                let Some(mut body) = body.or_else(|| {
                    let request = self.flight.back_mut()?.request.take()?;
                    Some(Box::pin(request.into_body()))
                }) else {
                    return Ok(false);
                };
                let (done, progress) = self.stream(body.as_mut(), &mut sending.left, cx)?;
                if done {
                    if let Some(entry) = self.flight.back_mut() {
                        entry.end = self.queued;
                    }
                } else {
                    sending.stage = Stage::Stream(Some(body));
                    self.sending = Some(sending);
                }
                Ok(progress)
            }
        }
    }

    fn stream(
        &mut self,
        mut body: Pin<&mut B>,
        left: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Result<(bool, bool), Cause> {
        let mut progress = false;
        while self.output.len() < BUFFER {
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                return Ok((false, progress));
            };
            progress = true;
            let mut trailers = HeaderMap::new();
            match frame {
                Some(Err(error)) => return Err(Cause::RequestBody(Arc::from(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        self.send_data(&mut data, left)?;
                        continue;
                    }
                    Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
                },
                None => {}
            }
            match left {
                None => self.append(|output| encode_last_chunk(&trailers, output)),
                Some(0) => {}
                Some(_) => return Err(wrong_length()),
            }
            return Ok((true, true));
        }
        Ok((false, progress))
    }

    fn send_data(&mut self, data: &mut B::Data, left: &mut Option<u64>) -> Result<(), Cause> {
        let length = data.remaining();
        match left {
            Some(left) => {
                *left = left.checked_sub(length as u64).ok_or_else(wrong_length)?;
                self.append(|output| {
                    while data.has_remaining() {
                        let chunk = data.chunk();
                        let length = chunk.len();
                        output.extend_from_slice(chunk);
                        data.advance(length);
                    }
                });
            }
            None => {
                let chunk = data.copy_to_bytes(length);
                self.append(|output| encode_chunk(&chunk, output));
            }
        }
        Ok(())
    }

    /// Reads a short body to its end, then sends head and body at once.
    fn collect(
        &mut self,
        mut entry: Box<Entry<B>>,
        body: Option<Pin<Box<B>>>,
        cx: &mut Context<'_>,
    ) {
        let Some(mut body) = body.or_else(|| {
            let (parts, body) = entry.request.take()?.into_parts();
            // The head is kept; what is handed back after this would not be whole.
            entry.head = Some(parts);
            Some(Box::pin(body))
        }) else {
            return;
        };
        loop {
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                self.sending = Some(Sending {
                    stage: Stage::Collect(entry, Some(body)),
                    left: None,
                    waiting: None,
                });
                return;
            };
            match frame {
                None => break,
                Some(Err(error)) => {
                    let cause = Cause::RequestBody(Arc::from(error.into()));
                    return entry.fail(ErrorKind::Invalid, cause);
                }
                Some(Ok(frame)) => {
                    let Ok(mut data) = frame.into_data() else {
                        continue;
                    };
                    if (entry.collected.len() + data.remaining()) as u64 > SHARED_BODY {
                        return entry.fail(ErrorKind::Invalid, wrong_length());
                    }
                    while data.has_remaining() {
                        let length = data.chunk().len();
                        entry.collected.extend_from_slice(data.chunk());
                        data.advance(length);
                    }
                }
            }
        }
        let Some(parts) = entry.head.take() else {
            return;
        };
        let framing = BodyFraming::Length(entry.collected.len() as u64);
        entry.start = self.queued;
        let before = self.output.len();
        if let Err(error) = encode_head(&parts, framing, &mut self.output) {
            return entry.fail(ErrorKind::Invalid, Cause::Encode(error));
        }
        let collected = std::mem::take(&mut entry.collected);
        self.output.extend_from_slice(&collected);
        self.queued += (self.output.len() - before) as u64;
        entry.end = self.queued;
        self.launch(*entry);
    }
}

fn wrong_length() -> Cause {
    Cause::RequestBody(Arc::new(EncodeError::Length))
}

//! The sending half of the driver: request bodies.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::Sleep;
use tower_conn_core::framing::BodyFraming;

use super::driver::Driver;
use super::entry::{Entry, SHARED_BODY};
use super::send::BUFFER;
use super::{Cause, ErrorKind};
use crate::h1::{EncodeError, encode_chunk, encode_head, encode_last_chunk};

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
    pub(super) fn collect(entry: Entry<B>) -> Self {
        Self {
            stage: Stage::Collect(Box::new(entry), None),
            left: None,
            waiting: None,
        }
    }

    /// The body of the last request in flight, which may first wait for a 100.
    pub(super) fn stream(framing: BodyFraming, expects_continue: bool) -> Self {
        Self {
            stage: Stage::Stream(None),
            left: match framing {
                BodyFraming::Length(length) => Some(length),
                _ => None,
            },
            waiting: expects_continue.then(|| Box::pin(tokio::time::sleep(CONTINUE))),
        }
    }

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
    /// Advances the body that is being sent; `true` if it did.
    pub(super) fn send_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
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

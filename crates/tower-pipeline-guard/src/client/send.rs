//! The sending half of the driver: which request goes next, and its head.

use std::error::Error as StdError;
use std::task::Context;

use bytes::BytesMut;
use http::Request;
use http_body::Body;
use tokio::io::AsyncWrite;
use tower_conn_core::framing::BodyFraming;

use super::driver::Driver;
use super::entry::{Entry, Sharing, framing};
use super::send_body::Sending;
use super::{Cause, ErrorKind};
use crate::h1::encode_head;

/// How much waits for the transport at most before a body is not polled any more.
pub(super) const BUFFER: usize = 64 * 1024;

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
        if self.shared.lock().waiting() > 0 {
            self.shared
                .update(|state| state.retain(|entry| !entry.is_cancelled(cx)));
        }
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
            let next = state.pop_if(|next| {
                in_flight == 0 || (room && !held && next.sharing != Sharing::Alone)
            })?;
            // It leaves the queue and is outstanding at once: its place is not free in between.
            state.outstanding += 1;
            state.held |= next.is_barrier();
            self.published = (state.held, state.outstanding);
            Some(next)
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
            self.sending = Some(Sending::collect(entry));
            return;
        }
        let Some(request) = self.send_head(&mut entry, framing) else {
            return;
        };
        entry.request = Some(request);
        if framing == BodyFraming::Empty {
            entry.end = self.queued;
        } else {
            self.sending = Some(Sending::stream(framing, entry.expects_continue));
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

    pub(super) fn launch(&mut self, mut entry: Entry<B>) {
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

    pub(super) fn append(&mut self, bytes: impl FnOnce(&mut BytesMut)) {
        let before = self.output.len();
        bytes(&mut self.output);
        self.queued += (self.output.len() - before) as u64;
    }
}

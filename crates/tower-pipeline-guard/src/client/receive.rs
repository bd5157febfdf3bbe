//! The receiving half of the driver.

use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_conn_core::framing::BodyFraming;

use super::body::BodySender;
use super::driver::{Arrived, Driver};
use super::{Cause, OnUpgrade, ResponseBody, Upgraded};
use crate::h1::{DecodeError, Event, Head};

impl<I, B> Driver<I, B>
where
    I: AsyncRead + AsyncWrite + Send + 'static,
{
    /// Receives as much as there is, and as readers take; `true` if something was.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let mut progress = false;
        while self.io.is_some() {
            let written = self.written();
            if let Some(front) = self.flight.front() {
                if front.body.as_ref().is_some_and(BodySender::is_full) {
                    break;
                }
                if self.arrived.is_none() && !self.input.is_empty() && front.start >= written {
                    return Err(Cause::Unsolicited);
                }
                let event = self
                    .decoder
                    .decode(&mut self.input)
                    .map_err(Cause::Decode)?;
                if let Some(event) = event {
                    self.take(event)?;
                    progress = true;
                    continue;
                }
                if self.ended {
                    self.take_end()?;
                    progress = true;
                    continue;
                }
            } else if !self.input.is_empty() {
                return Err(Cause::Unsolicited);
            } else if self.ended {
                return Err(self.closing.take().unwrap_or(Cause::Closed));
            }
            match self.poll_read(cx) {
                Poll::Pending => match &self.broken {
                    // Nothing was sent that could still be answered.
                    Some(cause) if self.flight.is_empty() => return Err(cause.clone()),
                    _ => break,
                },
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => progress = true,
                Poll::Ready(Err(error)) => {
                    return Err(self.broken.take().unwrap_or_else(|| Cause::io(error)));
                }
            }
        }
        Ok(progress)
    }

    /// The transport ended while responses are due.
    fn take_end(&mut self) -> Result<(), Cause> {
        let nothing = self.arrived.is_none() && self.input.is_empty();
        match self.decoder.finish() {
            Ok(Some(event)) => self.take(event),
            Err(DecodeError::IncompleteHead) if nothing => Err(Cause::Closed),
            Err(error) => Err(Cause::Decode(error)),
            Ok(None) => Err(Cause::Closed),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Cause> {
        match event {
            Event::Informational(response) => self.take_informational(response),
            Event::Head(head) => return self.take_head(head),
            Event::Data(data) => {
                let Some(arrived) = &mut self.arrived else {
                    return Ok(());
                };
                arrived.received += data.len() as u64;
                self.long |= arrived.received > self.config.long_response;
                if let Some(body) = self.flight.front().and_then(|front| front.body.as_ref()) {
                    if body.is_dropped() && arrived.received > self.config.drain_bytes {
                        return Err(Cause::Abandoned);
                    }
                    body.data(data);
                }
            }
            Event::Trailers(trailers) => {
                if let Some(body) = self.flight.front().and_then(|front| front.body.as_ref()) {
                    body.trailers(trailers);
                }
            }
            Event::End => self.take_response_end(),
        }
        Ok(())
    }

    fn take_informational(&mut self, response: Response<()>) {
        if response.status() == StatusCode::CONTINUE {
            if let Some(sending) = &mut self.sending {
                sending.go_on();
            }
        }
        if let Some(informational) = self
            .flight
            .front()
            .and_then(|front| front.informational.as_ref())
        {
            informational.call(response);
        }
    }

    fn take_head(&mut self, head: Head) -> Result<(), Cause> {
        if head.tunnel && !(self.flight.len() == 1 && self.output.is_empty()) {
            return Err(Cause::Unsolicited);
        }
        let Some(front) = self.flight.front_mut() else {
            return Ok(());
        };
        let status = head.response.status();
        let length = match head.framing {
            BodyFraming::Length(length) => Some(length),
            _ => None,
        };
        let (sender, body) = match head.framing {
            BodyFraming::Empty | BodyFraming::Length(0) => (None, ResponseBody::empty()),
            _ => {
                let (sender, body) = ResponseBody::channel(length, self.shared.driver().clone());
                (Some(sender), body)
            }
        };
        let persistent = head.persistent && !front.last;
        self.arrived = Some(Arrived {
            proof: persistent && head.response.version() == Version::HTTP_11,
            persistent,
            received: 0,
        });
        self.long |= length.is_some_and(|length| length > self.config.long_response)
            || is_event_stream(&head.response);
        front.body = sender;
        let mut response = head.response.map(|()| body);
        response
            .extensions_mut()
            .insert(self.shared.connection().clone());
        let upgrade = head.tunnel.then(|| {
            let (sender, on_upgrade) = OnUpgrade::channel();
            response.extensions_mut().insert(on_upgrade);
            sender
        });
        if let Some(reply) = front.reply.take() {
            // The caller may be gone; the body is dropped with the response then.
            let _ = reply.send(Ok(response));
        }
        if let Some(upgrade) = upgrade {
            if let Some(io) = self.io.take() {
                let _ = upgrade.send(Upgraded::new(io, self.input.split().freeze()));
            }
            self.flight.clear();
            return Ok(());
        }
        let refused = self
            .sending
            .as_ref()
            .is_some_and(|sending| sending.waits() || !persistent || is_error(status));
        if refused && self.flight.len() == 1 {
            // The server does not want the rest of the body; without it the message has no end.
            self.sending = None;
            self.stop_accepting(Cause::Closing);
        }
        if !persistent {
            self.stop_accepting(Cause::Closing);
            self.give_up_followers(&Cause::Closing);
        }
        Ok(())
    }

    fn take_response_end(&mut self) {
        let (Some(entry), Some(arrived)) = (self.flight.pop_front(), self.arrived.take()) else {
            return;
        };
        if let Some(body) = entry.body {
            body.end();
        }
        self.long = false;
        self.drain_timer = None;
        self.head_timer = None;
        if self.flight.is_empty() && self.sending.take().is_some() {
            self.stop_accepting(Cause::Closing);
        }
        let depth = self.config.depth;
        let clean_head = entry.method == Method::HEAD && self.input.is_empty();
        self.shared.update(|state| {
            if !arrived.proof {
                state.depth = 1;
            } else if arrived.persistent {
                state.depth = depth;
                state.head_proven |= clean_head;
            }
        });
        if let Some(next) = self.flight.front() {
            if next.upgrade {
                self.decoder.expect_upgrade(&next.method);
            } else {
                self.decoder.expect(&next.method);
            }
        }
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn is_event_stream<T>(response: &Response<T>) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

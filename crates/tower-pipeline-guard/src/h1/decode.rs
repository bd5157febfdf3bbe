//! Responses, one after the other, each to the request it answers.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use tower_conn_core::framing::{
    BodyFraming, FramingError, has_both, response_framing, response_has_body,
};
use tower_conn_core::options::{connection_options, has_connection_option, is_token};

use super::chunked::{Chunked, Piece, fields_of};
use super::lines::HeadEnd;
use super::{DecodeError, Limits, MAX_FIELDS};

/// Lengths from here on are no lengths; hyper has other uses for them, and nobody has such a body.
const MAX_LENGTH: u64 = u64::MAX - 1;

/// Decodes the responses of one connection.
///
/// Before each response, [`expect`](Self::expect) says which request it answers. Bytes that nobody
/// expects are not looked at; what to do about them is the caller's business.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    method: Method,
    upgrade: bool,
    informational: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing is expected.
    Idle,
    Head(HeadEnd),
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    /// The trailers have been handed over; only the end is left.
    Ended,
    Failed(DecodeError),
}

/// A part of a response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An informational response; the final one is still to come.
    Informational(Response<()>),
    /// The head of the final response.
    Head(Head),
    /// A part of its body, never empty.
    Data(Bytes),
    /// Its trailer section, if it has fields.
    Trailers(HeaderMap),
    /// The response is complete. What follows belongs to the next request, if there is one.
    End,
}

/// The head of a final response, and what it says about the connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct Head {
    /// Status, version and fields.
    pub response: Response<()>,
    /// How the body is delimited.
    pub framing: BodyFraming,
    /// Whether the connection stays open after the response (RFC 9112 section 9.3). Not if a member of
    /// `Connection` is no token: what else it might say is read differently by different recipients.
    pub persistent: bool,
    /// The connection is a tunnel from the first byte after this head on: a 101, or a 2xx to CONNECT.
    pub tunnel: bool,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Idle,
            method: Method::GET,
            upgrade: false,
            informational: 0,
        }
    }

    /// Expects the response to a request of this method.
    ///
    /// # Panics
    ///
    /// When the response before is not complete.
    pub fn expect(&mut self, method: &Method) {
        assert!(self.is_idle(), "the response before is not complete");
        self.method = method.clone();
        self.upgrade = false;
        self.informational = 0;
        self.state = State::Head(HeadEnd::default());
    }

    /// Expects the response to a request that asks to upgrade, so that it may be a 101.
    ///
    /// # Panics
    ///
    /// When the response before is not complete.
    pub fn expect_upgrade(&mut self, method: &Method) {
        self.expect(method);
        self.upgrade = true;
    }

    /// Whether no response is expected: the last one is complete, or there was none.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Takes the next part of the response from the front of `input`; `None` if more bytes are
    /// needed, or nothing is expected.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the same one from then on.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Event>, DecodeError> {
        let result = self.advance(input);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Tells that no more bytes will come: ends a response that runs to the end of the connection.
    ///
    /// # Errors
    ///
    /// [`DecodeError::IncompleteHead`] or [`DecodeError::IncompleteBody`].
    pub fn finish(&mut self) -> Result<Option<Event>, DecodeError> {
        let error = match self.state {
            State::Idle => return Ok(None),
            State::UntilClose | State::Ended | State::Length(0) => {
                self.state = State::Idle;
                return Ok(Some(Event::End));
            }
            State::Head(_) => DecodeError::IncompleteHead,
            State::Length(_) | State::Chunked(_) => DecodeError::IncompleteBody,
            State::Failed(error) => error,
        };
        self.state = State::Failed(error);
        Err(error)
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Event>, DecodeError> {
        match &mut self.state {
            State::Idle => Ok(None),
            State::Failed(error) => Err(*error),
            State::Head(_) => self.head(input),
            State::Length(0) | State::Ended => {
                self.state = State::Idle;
                Ok(Some(Event::End))
            }
            _ if input.is_empty() => Ok(None),
            State::Length(left) => {
                let take = usize::try_from(*left).map_or(input.len(), |n| n.min(input.len()));
                *left -= take as u64;
                Ok(Some(Event::Data(input.split_to(take).freeze())))
            }
            State::UntilClose => Ok(Some(Event::Data(input.split().freeze()))),
            State::Chunked(chunked) => match chunked.decode(input, &self.limits)? {
                None => Ok(None),
                Some(Piece::Data(data)) => Ok(Some(Event::Data(data))),
                Some(Piece::End(trailers)) if trailers.is_empty() => {
                    self.state = State::Idle;
                    Ok(Some(Event::End))
                }
                Some(Piece::End(trailers)) => {
                    self.state = State::Ended;
                    Ok(Some(Event::Trailers(trailers)))
                }
            },
        }
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<Option<Event>, DecodeError> {
        let State::Head(end) = &mut self.state else {
            return Ok(None);
        };
        // What cannot become a response is not waited for.
        if !is_start_of_status_line(input) {
            return Err(DecodeError::Head);
        }
        let found = end.find(input).map_err(|_| DecodeError::LoneLf)?;
        if found.unwrap_or(input.len()) > self.limits.head {
            return Err(DecodeError::HeadTooLarge);
        }
        let Some(length) = found else {
            return Ok(None);
        };
        let response = parse(&input.split_to(length).freeze(), self.limits.fields)?;
        let status = response.status();
        if has_no_coding(status) && response.headers().contains_key(TRANSFER_ENCODING) {
            return Err(DecodeError::CodingWithoutBody);
        }
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            self.informational += 1;
            if self.informational > self.limits.informational {
                return Err(DecodeError::TooManyInformational);
            }
            self.state = State::Head(HeadEnd::default());
            return Ok(Some(Event::Informational(response)));
        }
        let head = self.judge(response)?;
        self.state = match head.framing {
            BodyFraming::Empty => State::Length(0),
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(Chunked::new()),
            BodyFraming::Close | BodyFraming::Stream => State::UntilClose,
        };
        Ok(Some(Event::Head(head)))
    }

    fn judge(&self, response: Response<()>) -> Result<Head, DecodeError> {
        let (status, version) = (response.status(), response.version());
        let headers = response.headers();
        if status == StatusCode::SWITCHING_PROTOCOLS && !self.upgrade {
            return Err(DecodeError::UnexpectedUpgrade);
        }
        let tunnel = status == StatusCode::SWITCHING_PROTOCOLS
            || (self.method == Method::CONNECT && status.is_success());
        let framing = if tunnel {
            BodyFraming::Empty
        } else {
            // Without a body there is nothing to delimit, but fields that contradict themselves are
            // no better for it.
            let framing = response_framing(&Method::GET, StatusCode::OK, version, headers)?;
            // Read to the end of the connection if chunked is not last, an error otherwise.
            if has_both(headers) && framing != BodyFraming::Close {
                return Err(DecodeError::LengthAndCoding);
            }
            if response_has_body(&self.method, status) {
                framing
            } else {
                BodyFraming::Empty
            }
        };
        if matches!(framing, BodyFraming::Length(MAX_LENGTH..)) {
            return Err(FramingError::InvalidLength.into());
        }
        let persistent = !tunnel
            && framing.is_self_delimited()
            && connection_options(headers).all(is_token)
            && !has_connection_option(headers, "close")
            && (version == Version::HTTP_11 || has_connection_option(headers, "keep-alive"));
        Ok(Head {
            response,
            framing,
            persistent,
            tunnel,
        })
    }
}

/// A server must not put `Transfer-Encoding` on these (RFC 9112 section 6.1).
fn has_no_coding(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Whether bytes can still become `HTTP/1.` and more.
fn is_start_of_status_line(input: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/1.";
    input.starts_with(&START[..input.len().min(START.len())])
}

fn parse(head: &Bytes, max: usize) -> Result<Response<()>, DecodeError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let fields = &mut fields[..max.min(MAX_FIELDS)];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, fields) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(DecodeError::TooManyFields),
        _ => return Err(DecodeError::Head),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = Response::new(());
    *response.status_mut() = status.ok_or(DecodeError::Head)?;
    *response.version_mut() = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    *response.headers_mut() = fields_of(head, parsed.headers).ok_or(DecodeError::Head)?;
    Ok(response)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

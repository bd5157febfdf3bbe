//! The heads of a client that have been read and not been dispatched yet.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use tower_conn_core::framing::{BodyFraming, has_both, request_framing};
use tower_conn_core::options::members;

use crate::h1::NextHead;

/// Undispatched bytes beyond this are a head (or a client) not worth following.
const MAX_BYTES: usize = 64 * 1024;

/// What hyper allows by default; a head with more fields is refused by it.
const MAX_FIELDS: usize = 100;

/// How the connection preface of HTTP/2 begins, and no request of HTTP/1 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * ";

/// The bytes between the request that was dispatched last and the end of what has been read.
///
/// The window never decides where a message ends by itself while it matters: it is told about each
/// request that the server's own parser dispatched, takes the framing from there, and goes blind, for
/// good, as soon as what it is told does not fit the bytes it holds.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: BytesMut,
    /// Bytes still to come of the body of the request dispatched last.
    body: u64,
    /// How many of `bytes` are heads that [`read_ahead`](Self::read_ahead) returned.
    ahead: usize,
    /// The end of the first head in `bytes`, once it is known; and where to go on looking for it.
    head_end: Option<usize>,
    search: NextHead,
    /// How many heads are complete up to where they have been counted; and where to go on.
    counted: usize,
    counted_to: usize,
    count: NextHead,
    /// It is known not to be HTTP/2.
    begun: bool,
    blind: bool,
}

impl Window {
    /// Adds bytes as they were read.
    pub(super) fn receive(&mut self, chunk: &[u8]) {
        if self.blind {
            return;
        }
        let body = usize::try_from(self.body).map_or(chunk.len(), |body| body.min(chunk.len()));
        self.body -= body as u64;
        let rest = &chunk[body..];
        if self.bytes.len() + rest.len() > MAX_BYTES {
            return self.go_blind();
        }
        self.bytes.extend_from_slice(rest);
        if !self.begun && self.bytes.len() >= PREFACE.len() {
            self.begun = true;
            if self.bytes.starts_with(PREFACE) {
                self.go_blind();
            }
        }
    }

    /// How much may be read at once, so that what is buffered stays small between messages and
    /// bodies keep their speed.
    pub(super) fn read_limit(&self, between: usize) -> usize {
        if self.blind {
            usize::MAX
        } else {
            usize::try_from(self.body).map_or(usize::MAX, |body| body.saturating_add(between))
        }
    }

    /// Whether the end of the current message is known, and a byte after it would be a head's.
    pub(super) const fn is_between_messages(&self) -> bool {
        !self.blind && self.body == 0
    }

    /// Whether a complete next head is here, so that the server will go on without waiting.
    pub(super) fn has_next_head(&mut self) -> bool {
        self.is_between_messages() && self.find_head_end().is_some()
    }

    /// How many complete heads wait. What looks like one in the body of a request that waits is
    /// counted, too.
    pub(super) fn waiting(&mut self) -> usize {
        // A lone LF ends the count here, and looking ahead when its turn comes.
        while let Ok(Some(end)) = self.count.find(&self.bytes) {
            self.counted += 1;
            self.counted_to = end;
            self.count = NextHead::after(end);
        }
        self.counted
    }

    /// Notes that the server dispatched the next request, and steps over it. Returns whether others
    /// may run at the same time.
    pub(super) fn dispatched<B>(&mut self, request: &Request<B>) -> bool {
        let seen = Seen::of(request);
        if !self.blind && self.step_over(request, &seen).is_none() {
            self.go_blind();
        }
        seen.may_overlap
    }

    /// `None` if this is not the request that was expected, or what comes behind it cannot be told.
    fn step_over<B>(&mut self, request: &Request<B>, seen: &Seen) -> Option<()> {
        let end = self.find_head_end().filter(|_| self.body == 0)?;
        if seen.leaves_http {
            return None;
        }
        let framing = if seen.framing_fields {
            let headers = request.headers();
            let framing = request_framing(request.version(), headers).ok()?;
            Some(framing).filter(|_| !has_both(headers))?
        } else {
            BodyFraming::Empty
        };
        self.bytes.advance(end);
        self.ahead = self.ahead.saturating_sub(end);
        self.head_end = None;
        self.search = NextHead::default();
        if self.counted_to > 0 {
            (self.counted, self.counted_to) = match self.counted_to.checked_sub(end) {
                Some(rest) if framing == BodyFraming::Empty => {
                    (self.counted.saturating_sub(1), rest)
                }
                // What was counted in the body is none.
                _ => (0, 0),
            };
        }
        self.count = NextHead::after(self.counted_to);
        match framing {
            BodyFraming::Empty => Some(()),
            BodyFraming::Length(length) => {
                let here = usize::try_from(length)
                    .map_or(self.bytes.len(), |length| length.min(self.bytes.len()));
                self.bytes.advance(here);
                self.body = length - here as u64;
                Some(())
            }
            BodyFraming::Chunked | BodyFraming::Close | BodyFraming::Stream => None,
        }
    }

    /// The next head that was not read ahead before, if it is complete and may overlap with others.
    pub(super) fn read_ahead(&mut self) -> Option<Request<()>> {
        if !self.is_between_messages() || self.ahead == self.bytes.len() {
            return None;
        }
        let (head, length) = parse(&self.bytes[self.ahead..])?;
        if !Seen::of(&head).may_overlap {
            return None;
        }
        self.ahead += length;
        Some(head)
    }

    pub(super) fn go_blind(&mut self) {
        *self = Self {
            begun: true,
            blind: true,
            ..Self::default()
        };
    }

    fn find_head_end(&mut self) -> Option<usize> {
        if self.head_end.is_none() {
            match self.search.find(&self.bytes) {
                Ok(end) => self.head_end = end,
                // hyper takes a lone LF as the end of a line; where its head ends is not ours to say.
                Err(_) => self.go_blind(),
            }
        }
        self.head_end
    }
}

/// Parses one complete head; `None` also for everything that is not entirely ordinary.
fn parse(bytes: &[u8]) -> Option<(Request<()>, usize)> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(bytes, &mut fields);
    let Ok(httparse::Status::Complete(length)) = parsed else {
        return None;
    };
    if head.version != Some(1) || has_lone_lf(&bytes[..length]) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        headers.append(
            HeaderName::from_bytes(field.name.as_bytes()).ok()?,
            HeaderValue::from_bytes(field.value).ok()?,
        );
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(head.path?).ok()?;
    *request.headers_mut() = headers;
    Some((request, length))
}

fn has_lone_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// What one look at a head tells.
struct Seen {
    /// The request may run at the same time as others of its connection: it is safe, without a body,
    /// and without anything that makes the connection end or change after it.
    may_overlap: bool,
    /// It may be the last that is HTTP/1.
    leaves_http: bool,
    /// There is something to be said about a body.
    framing_fields: bool,
}

impl Seen {
    fn of<B>(request: &Request<B>) -> Self {
        let (mut hosts, mut upgrade, mut framing_fields, mut barrier) = (0, false, false, false);
        for (name, value) in request.headers() {
            if name == HOST {
                hosts += 1;
            } else if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
                framing_fields = true;
            } else if name == UPGRADE {
                upgrade = true;
            } else if name == EXPECT || name == TE {
                barrier = true;
            } else if name == CONNECTION {
                barrier |= !members(value.as_bytes())
                    .all(|option| option.eq_ignore_ascii_case(b"keep-alive"));
            }
        }
        let (method, version) = (request.method(), request.version());
        let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let plain = hosts == 1 && !(upgrade || framing_fields || barrier);
        Self {
            may_overlap: safe && version == Version::HTTP_11 && plain,
            leaves_http: upgrade || *method == Method::CONNECT || version >= Version::HTTP_2,
            framing_fields,
        }
    }
}

/// Whether two heads are the same request: method, target, version, and every field, in order.
pub(super) fn same_head<A, B>(ahead: &Request<A>, dispatched: &Request<B>) -> bool {
    ahead.method() == dispatched.method()
        && ahead.uri() == dispatched.uri()
        && ahead.version() == dispatched.version()
        && ahead.headers().len() == dispatched.headers().len()
        && ahead.headers().iter().eq(dispatched.headers().iter())
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;

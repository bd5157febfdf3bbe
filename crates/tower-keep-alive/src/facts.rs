//! What the decision needs to know about one request and its response.

use http::header::{EXPECT, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tower_conn_core::framing::{
    BodyFraming, content_length, has_both, request_framing, response_has_body,
};
use tower_conn_core::names::PROXY_CONNECTION;
use tower_conn_core::options::{connection_options, list_members};

/// What a request says about its connection, read once, before the handler takes the head away.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) options: Options,
    pub(crate) proxied: bool,
    pub(crate) faulty: bool,
    pub(crate) expects_continue: bool,
}

impl RequestFacts {
    /// Reads the head of a request as it was received.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        let (version, headers) = (request.version(), request.headers());
        let faulty = version < Version::HTTP_2
            && (has_both(headers) || request_framing(version, headers).is_err());
        Self {
            version,
            method: request.method().clone(),
            options: Options::of(headers),
            proxied: version == Version::HTTP_10
                && (headers.contains_key(PROXY_CONNECTION) || headers.contains_key(VIA)),
            faulty,
            // An HTTP/1.0 client cannot receive a 100 (RFC 9110 section 10.1.1).
            expects_continue: version == Version::HTTP_11
                && list_members(headers, &EXPECT)
                    .any(|member| member.eq_ignore_ascii_case(b"100-continue")),
        }
    }

    /// The version of the request.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether the client sent the connection option `keep-alive`, and not `close`.
    #[must_use]
    pub const fn asks_keep_alive(&self) -> bool {
        self.options.keep_alive && !self.options.close
    }

    pub(crate) const fn is_http1(&self) -> bool {
        matches!(
            self.version,
            Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11
        )
    }
}

/// What became of the request's body by the time the response head is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyOutcome {
    /// There was none, or it was read to its end.
    Finished,
    /// The handler, or something that it started, still holds the body and may read on.
    InUse,
    /// It was given up before its end, and was too large or too slow to be drained.
    Unread,
    /// It was given up before anyone polled it, and its `Expect: 100-continue` was never answered.
    ExpectUnanswered,
    /// Reading it failed.
    Failed,
}

/// What the response of a handler says about the connection, before anything is rendered.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFacts {
    pub(crate) status: StatusCode,
    pub(crate) options: Options,
    pub(crate) framing: BodyFraming,
    pub(crate) faulty: bool,
}

impl ResponseFacts {
    /// Reads a response to `request`, with the framing that an HTTP/1 server will give its body: a
    /// length where the fields or the body know one, else chunked, or the end of an HTTP/1.0
    /// connection.
    ///
    /// The version of the response says nothing: it is what its producer spoke, perhaps an upstream.
    #[must_use]
    pub fn of<B: Body>(request: &RequestFacts, response: &Response<B>) -> Self {
        let headers = response.headers();
        let status = response.status();
        Self {
            status,
            options: Options::of(headers),
            framing: framing_to_be(request, response),
            // RFC 9112 section 6.1: no Transfer-Encoding in a 204.
            faulty: request.is_http1()
                && status == StatusCode::NO_CONTENT
                && headers.contains_key(TRANSFER_ENCODING),
        }
    }

    /// How the body will be delimited.
    #[must_use]
    pub const fn framing(&self) -> BodyFraming {
        self.framing
    }
}

fn framing_to_be<B: Body>(request: &RequestFacts, response: &Response<B>) -> BodyFraming {
    if !request.is_http1() {
        return BodyFraming::Stream;
    }
    if !response_has_body(&request.method, response.status()) {
        return BodyFraming::Empty;
    }
    if let Ok(Some(length)) = content_length(response.headers()) {
        return BodyFraming::Length(length);
    }
    let body = response.body();
    if body.is_end_stream() {
        return BodyFraming::Length(0);
    }
    match body.size_hint().exact() {
        Some(length) => BodyFraming::Length(length),
        None if request.version == Version::HTTP_11 => BodyFraming::Chunked,
        None => BodyFraming::Close,
    }
}

/// The two connection options that persistence turns on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl Options {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        for member in connection_options(headers) {
            options.close |= member.eq_ignore_ascii_case(b"close");
            options.keep_alive |= member.eq_ignore_ascii_case(b"keep-alive");
        }
        options
    }
}

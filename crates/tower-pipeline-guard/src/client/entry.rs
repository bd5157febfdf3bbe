//! One request on its way, and how it goes with others.

use std::task::{Context, Poll};

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, EXPECT, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::sync::oneshot;
use tower_conn_core::Exchange;
use tower_conn_core::framing::BodyFraming;
use tower_conn_core::options::has_connection_option;

use super::body::BodySender;
use super::{Cause, Error, ErrorKind, OnInformational, PipelineHint, ResponseBody};

/// The longest request body that may share the connection.
pub(super) const SHARED_BODY: u64 = 64 * 1024;

/// How a request goes with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Others may be outstanding before and behind it.
    Shared,
    /// Nothing is sent behind it until its head is here.
    NoFollow,
    /// It is alone.
    Alone,
}

pub(super) type Reply<B> = oneshot::Sender<Result<Response<ResponseBody>, Error<B>>>;

/// A request that was accepted.
#[derive(Debug)]
pub(super) struct Entry<B> {
    /// As it was handed in, until its body is touched.
    pub(super) request: Option<Request<B>>,
    /// Its head, while its body is read.
    pub(super) head: Option<Parts>,
    pub(super) reply: Option<Reply<B>>,
    pub(super) method: Method,
    pub(super) sharing: Sharing,
    pub(super) upgrade: bool,
    pub(super) expects_continue: bool,
    /// The request announces that it is the last.
    pub(super) last: bool,
    pub(super) informational: Option<OnInformational>,
    /// A body that is read before the request is sent.
    pub(super) collected: BytesMut,
    /// Where it begins and ends in what is sent on the connection.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) body: Option<BodySender>,
    pub(super) exchange: Option<Exchange>,
}

impl<B: Body> Entry<B> {
    pub(super) fn new(
        request: Request<B>,
        reply: Reply<B>,
        idempotent: bool,
        head_proven: bool,
    ) -> Self {
        let headers = request.headers();
        Self {
            method: request.method().clone(),
            sharing: sharing(&request, idempotent, head_proven),
            upgrade: headers.contains_key(UPGRADE),
            expects_continue: headers.contains_key(EXPECT) && !request.body().is_end_stream(),
            last: has_connection_option(headers, "close"),
            informational: request.extensions().get().cloned(),
            request: Some(request),
            head: None,
            reply: Some(reply),
            collected: BytesMut::new(),
            start: 0,
            end: u64::MAX,
            body: None,
            exchange: None,
        }
    }
}

impl<B> Entry<B> {
    /// Whether nothing may be accepted behind it.
    pub(super) fn is_barrier(&self) -> bool {
        self.last || self.sharing != Sharing::Shared
    }

    /// Whether nobody waits for the response any more. The driver is woken when that changes.
    pub(super) fn is_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.reply {
            Some(reply) => matches!(reply.poll_closed(cx), Poll::Ready(())),
            None => self.body.as_ref().is_some_and(BodySender::is_dropped),
        }
    }

    /// Ends it without a complete response.
    pub(super) fn fail(self, kind: ErrorKind, cause: Cause) {
        if let Some(body) = self.body {
            body.fail(cause);
        } else if let Some(reply) = self.reply {
            // Nobody may be waiting any more.
            let _ = reply.send(Err(Error::new(kind, cause, self.request)));
        }
    }
}

/// Whether a [`PipelinedConnection`](super::PipelinedConnection) sends this request while others are
/// outstanding, and others behind it: GET, OPTIONS and TRACE without a body that ask for nothing of
/// the connection.
///
/// HEAD is left out: it may share a connection only once one has been answered on it.
#[must_use]
pub fn may_share<B: Body>(request: &Request<B>) -> bool {
    sharing(request, false, false) == Sharing::Shared
        && !has_connection_option(request.headers(), "close")
}

/// How a request goes with others (RFC 9112 section 9.3.2).
fn sharing<B: Body>(request: &Request<B>, idempotent: bool, head_proven: bool) -> Sharing {
    let hint = request.extensions().get::<PipelineHint>();
    let method = request.method();
    let headers = request.headers();
    let short = request.body().is_end_stream()
        || (idempotent
            && request
                .body()
                .size_hint()
                .exact()
                .is_some_and(|length| length <= SHARED_BODY));
    let allowed = if method == Method::HEAD {
        head_proven
    } else {
        (method.is_safe() && request.body().is_end_stream())
            || (idempotent && method.is_idempotent())
    };
    let ordinary = !headers.contains_key(UPGRADE) && !headers.contains_key(EXPECT);
    match hint {
        Some(PipelineHint::Alone) => Sharing::Alone,
        _ if !(short && allowed && ordinary) => Sharing::Alone,
        Some(PipelineHint::NoFollow) => Sharing::NoFollow,
        None => Sharing::Shared,
    }
}

/// How the body of a request is delimited: by its length if that is known or announced.
pub(super) fn framing<B: Body>(request: &Request<B>) -> BodyFraming {
    if request.body().is_end_stream() {
        return BodyFraming::Empty;
    }
    let announced = || {
        let value = request.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
        value.parse().ok()
    };
    match request.body().size_hint().exact().or_else(announced) {
        Some(length) => BodyFraming::Length(length),
        None => BodyFraming::Chunked,
    }
}

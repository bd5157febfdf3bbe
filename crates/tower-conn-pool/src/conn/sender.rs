//! What requests are handed to: one of hyper's senders, or a pipelined connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use hyper::client::conn::{TrySendError, http1, http2};
use pin_project_lite::pin_project;
use tower_conn_core::CloseReason;
use tower_pipeline_guard::client::{self, Cause, ErrorKind, PipelinedConnection};
use tower_service::Service;

use super::reason_of;
use crate::body::RequestBody;
use crate::error::{BoxError, is_unprocessed};
use crate::incoming::Incoming;
use crate::io::IoState;
use crate::{Delivery, PoolErrorKind};

pub(crate) enum Sender<B> {
    Http1(http1::SendRequest<RequestBody<B>>),
    Http2(http2::SendRequest<RequestBody<B>>),
    Pipelined(PipelinedConnection<B>),
}

impl<B> Sender<B> {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
            Self::Pipelined(line) => line.is_closed(),
        }
    }
}

/// Sends a request by the sender of a connection, if that has not ended.
pub(super) fn send<B>(
    sender: &mut Option<Sender<B>>,
    request: Request<B>,
    io: &Arc<IoState>,
) -> impl Future<Output = Sent<B>> + use<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    match sender {
        None => Sending::Refused {
            request: Some(request),
        },
        Some(Sender::Http1(sender)) => {
            io.request_begins();
            let request = request.map(|body| RequestBody::new(body, Some(Arc::clone(io))));
            Sending::Http1 {
                future: sender.try_send_request(request),
            }
        }
        Some(Sender::Http2(sender)) => {
            let request = request.map(|body| RequestBody::new(body, None));
            Sending::Http2 {
                future: sender.try_send_request(request),
            }
        }
        // In a box, because it is twice as large as the others, for which each request makes room.
        Some(Sender::Pipelined(line)) => Sending::Pipelined {
            future: Box::pin(send_pipelined(line.clone(), request)),
        },
    }
}

/// What became of a request.
pub(crate) enum Sent<B> {
    Answered(Response<Incoming>),
    /// The connection had ended before.
    Refused(Box<Request<B>>),
    Failed(Box<SendFailed<B>>),
}

/// A request without a response.
pub(crate) struct SendFailed<B> {
    pub(crate) kind: PoolErrorKind,
    /// What is proven by the protocol; the count of written bytes may prove more.
    pub(crate) delivery: Delivery,
    /// The request, if it was never written.
    pub(crate) request: Option<Request<B>>,
    /// Why the connection closes, if this says so.
    pub(crate) reason: Option<CloseReason>,
    pub(crate) source: BoxError,
}

impl<B> SendFailed<B> {
    fn by_hyper(mut failed: TrySendError<Request<RequestBody<B>>>, http2: bool) -> Box<Self> {
        let request = failed
            .take_message()
            .map(|request| request.map(RequestBody::into_inner));
        let error = failed.into_error();
        let delivery = if request.is_some() {
            Delivery::NotSent
        } else if is_unprocessed(&error) {
            Delivery::NotProcessed
        } else {
            Delivery::Ambiguous
        };
        // hyper ends an HTTP/1.1 connection by itself; the transport knows why, unless it is this.
        let ours = !http2 && (error.is_parse() || error.is_user());
        Box::new(Self {
            kind: PoolErrorKind::Exchange,
            delivery,
            request,
            reason: ours.then(|| reason_of(&error)),
            source: error.into(),
        })
    }

    fn pipelined(error: client::Error<B>) -> Box<Self> {
        let (kind, cause) = (error.kind(), error.cause().clone());
        let unsent = error
            .into_request()
            .filter(|_| kind != ErrorKind::Unanswered);
        let invalid =
            kind == ErrorKind::Invalid || matches!(cause, Cause::Encode(_) | Cause::RequestBody(_));
        Box::new(Self {
            kind: if invalid {
                PoolErrorKind::Request
            } else {
                PoolErrorKind::Exchange
            },
            delivery: if unsent.is_some() || kind == ErrorKind::NotSent {
                Delivery::NotSent
            } else {
                Delivery::Ambiguous
            },
            request: unsent,
            // A request that cannot be sent need not be the end of its connection.
            reason: (kind != ErrorKind::Invalid).then(|| cause.close_reason()),
            source: cause.into(),
        })
    }
}

async fn send_pipelined<B>(mut line: PipelinedConnection<B>, request: Request<B>) -> Sent<B>
where
    B: Body,
{
    if let Err(error) = poll_fn(|cx| line.poll_ready(cx)).await {
        let mut failed = SendFailed::pipelined(error);
        failed.request = Some(request);
        return Sent::Failed(failed);
    }
    let response = line.call(request);
    // Clones are counted, and the response needs none.
    drop(line);
    match response.await {
        Ok(response) => Sent::Answered(response.map(Incoming::from)),
        Err(error) => Sent::Failed(SendFailed::pipelined(error)),
    }
}

pin_project! {
    #[project = SendingProj]
    enum Sending<F1, F2, F3, B> {
        Http1 { #[pin] future: F1 },
        Http2 { #[pin] future: F2 },
        Pipelined { #[pin] future: F3 },
        Refused { request: Option<Request<B>> },
    }
}

type HyperResult<B> =
    Result<Response<hyper::body::Incoming>, TrySendError<Request<RequestBody<B>>>>;

impl<F1, F2, F3, B> Future for Sending<F1, F2, F3, B>
where
    F1: Future<Output = HyperResult<B>>,
    F2: Future<Output = HyperResult<B>>,
    F3: Future<Output = Sent<B>>,
{
    type Output = Sent<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent<B>> {
        let (result, http2) = match self.project() {
            SendingProj::Http1 { future } => (ready!(future.poll(cx)), false),
            SendingProj::Http2 { future } => (ready!(future.poll(cx)), true),
            SendingProj::Pipelined { future } => return future.poll(cx),
            SendingProj::Refused { request } => {
                let request = request.take().expect("polled once");
                return Poll::Ready(Sent::Refused(Box::new(request)));
            }
        };
        Poll::Ready(match result {
            Ok(response) => Sent::Answered(response.map(Incoming::from)),
            Err(failed) => Sent::Failed(SendFailed::by_hyper(failed, http2)),
        })
    }
}

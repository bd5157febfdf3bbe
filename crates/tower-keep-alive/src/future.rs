//! The response future: waits for the handler, deals with the request body, decides and renders.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_conn_core::{CloseReason, Connection, Exchange, ExchangeBody};

use crate::body::{Returned, Watch};
use crate::layer::{Config, DrainSignal};
use crate::persistence::{is_error, leaves_http};
use crate::{
    BodyOutcome, ConnectionSnapshot, OnDecision, Persistence, RequestFacts, ResponseFacts, decide,
    render,
};

pin_project! {
    /// The future of [`KeepAlive`](crate::KeepAlive).
    pub struct ResponseFuture<F, ReqBody, ResBody, O = ()> {
        #[pin]
        inner: F,
        watch: Option<Watch<ReqBody>>,
        response: Option<Response<ResBody>>,
        drain: Option<Drain<ReqBody>>,
        exchanged: Option<Exchanged<O>>,
    }
}

/// What the service knows of the exchange.
pub(crate) struct Exchanged<O> {
    pub(crate) config: Arc<Config>,
    pub(crate) on_decision: O,
    pub(crate) request: RequestFacts,
    pub(crate) exchange: Option<Exchange>,
    pub(crate) connection: Option<Connection>,
}

impl<F, ReqBody, ResBody, O> ResponseFuture<F, ReqBody, ResBody, O> {
    pub(crate) const fn new(
        inner: F,
        watch: Option<Watch<ReqBody>>,
        exchanged: Exchanged<O>,
    ) -> Self {
        Self {
            inner,
            watch,
            response: None,
            drain: None,
            exchanged: Some(exchanged),
        }
    }
}

impl<F, ReqBody, ResBody, E, O> Future for ResponseFuture<F, ReqBody, ResBody, O>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ReqBody: Body,
    ResBody: Body,
    O: OnDecision,
{
    type Output = Result<Response<ExchangeBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.response.is_none() {
            *this.response = Some(ready!(this.inner.poll(cx))?);
        }
        let exchanged = this.exchanged.as_ref().expect("polled after completion");
        let mut outcome = BodyOutcome::Finished;
        if let (Some(watch), Some(response)) = (&*this.watch, &*this.response) {
            let (request, status) = (&exchanged.request, response.status());
            if !leaves_http(request, status) {
                let drain = this
                    .drain
                    .get_or_insert_with(|| Drain::new(&exchanged.config));
                outcome = ready!(drain.poll(watch, request, status, cx));
            }
        }
        *this.watch = None;
        *this.drain = None;
        let (response, exchanged) = this
            .response
            .take()
            .zip(this.exchanged.take())
            .expect("polled after completion");
        Poll::Ready(Ok(exchanged.finish(outcome, response)))
    }
}

impl<F: fmt::Debug, ReqBody, ResBody, O> fmt::Debug for ResponseFuture<F, ReqBody, ResBody, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<O: OnDecision> Exchanged<O> {
    fn finish<B: Body>(
        self,
        outcome: BodyOutcome,
        mut response: Response<B>,
    ) -> Response<ExchangeBody<B>> {
        let Self {
            config, request, ..
        } = &self;
        let snapshot = self.snapshot();
        let facts = ResponseFacts::of(request, &response);
        let persistence = decide(request, outcome, &facts, &config.limits, snapshot.as_ref());
        let hint = config.limits.hint(config.margin, snapshot.as_ref());
        render(persistence, request, config.advertise, hint, &mut response);

        match (persistence, &self.connection) {
            // A tunnel goes on; it is not asked to close.
            (Persistence::Keep | Persistence::Close(CloseReason::Upgraded), _) | (_, None) => {}
            (Persistence::Close(reason), Some(connection)) => {
                connection.request_close(reason);
            }
        }
        self.on_decision
            .on_decision(persistence, self.connection.as_ref());
        response.map(|body| ExchangeBody::new(body, self.exchange))
    }

    fn snapshot(&self) -> Option<ConnectionSnapshot> {
        let draining = self
            .config
            .drain_signal
            .as_ref()
            .and_then(DrainSignal::reason);
        let Some(connection) = &self.connection else {
            return draining.map(|reason| ConnectionSnapshot {
                closing: Some(reason),
                ..ConnectionSnapshot::default()
            });
        };
        let number = connection.exchange_number();
        let mut snapshot = if self.config.limits.has_max_age() {
            ConnectionSnapshot::of(connection, number)
        } else {
            ConnectionSnapshot::ageless(connection, number)
        };
        snapshot.closing = snapshot.closing.or(draining);
        Some(snapshot)
    }
}

/// Waits for a request body to come back, and reads what is left of it, within bounds.
struct Drain<B> {
    body: Option<Pin<Box<B>>>,
    left: u64,
    /// Set when there is something to wait for.
    deadline: Option<Pin<Box<Sleep>>>,
    time: std::time::Duration,
}

impl<B: Body> Drain<B> {
    fn new(config: &Config) -> Self {
        Self {
            body: None,
            left: config.drain_bytes,
            deadline: None,
            time: config.drain_time,
        }
    }

    fn poll(
        &mut self,
        watch: &Watch<B>,
        request: &RequestFacts,
        status: StatusCode,
        cx: &mut Context<'_>,
    ) -> Poll<BodyOutcome> {
        if self.body.is_none() {
            match watch.poll_returned(cx) {
                Poll::Ready(Returned::Finished) => return Poll::Ready(BodyOutcome::Finished),
                Poll::Ready(Returned::Failed) => return Poll::Ready(BodyOutcome::Failed),
                // Polling it now would have the client told to send it.
                Poll::Ready(Returned::Dropped { polled: false, .. })
                    if request.expects_continue =>
                {
                    return Poll::Ready(BodyOutcome::ExpectUnanswered);
                }
                Poll::Ready(Returned::Dropped { body, .. }) => {
                    if body.size_hint().lower() > self.left {
                        return Poll::Ready(BodyOutcome::Unread);
                    }
                    self.body = Some(body);
                }
                // Something reads on while the response is sent, unless this is a rejection: then
                // whoever holds the body is about to let go of it.
                Poll::Pending if is_error(status) => {
                    return self.poll_deadline(cx).map(|()| BodyOutcome::InUse);
                }
                Poll::Pending => return Poll::Ready(BodyOutcome::InUse),
            }
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(BodyOutcome::Finished);
        };
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(BodyOutcome::Finished),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(BodyOutcome::Failed),
                Poll::Ready(Some(Ok(frame))) => {
                    let read = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    match self.left.checked_sub(read) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(BodyOutcome::Unread),
                    }
                    if body.is_end_stream() {
                        return Poll::Ready(BodyOutcome::Finished);
                    }
                }
                Poll::Pending => break,
            }
        }
        self.poll_deadline(cx).map(|()| BodyOutcome::Unread)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.time;
        let deadline = self.deadline.get_or_insert_with(|| {
            let far = std::time::Duration::from_secs(86400 * 365);
            Box::pin(tokio::time::sleep_until(Instant::now() + time.min(far)))
        });
        deadline.as_mut().poll(cx)
    }
}

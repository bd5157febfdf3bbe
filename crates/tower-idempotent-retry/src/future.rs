//! The response future: attempts, and the waits between them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use crate::BoxError;
use crate::body::{Drained, ResponseBody};
use crate::classify::Classify;
use crate::decide::{Retry, StopReason};
use crate::evidence::{Evidence, Failure};
use crate::info::{DeadlineExceeded, RetryError, RetryInfo};
use crate::observe::Observe;
use crate::replay::ReplayBody;
use crate::session::{Again, Limits};

type Output<R> = Result<Response<ResponseBody<R>>, BoxError>;

pin_project! {
    /// The future of [`Retry`](crate::Retry).
    ///
    /// Dropping it ends the attempt under way and starts no other.
    pub struct ResponseFuture<S, C, O, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        #[pin]
        state: State<S::Future, R, B>,
        // Of the attempt, of the wait, or of all that is left of the total time.
        #[pin]
        timer: Option<Sleep>,
        // Boxed, so that what is seldom needed does not move with the future through every layer.
        again: Option<Box<Again<S, C, O, B>>>,
        limits: Limits,
        info: RetryInfo,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R: Body, B> {
        Attempt { #[pin] attempt: F },
        Wait { wait: Wait<R, B> },
    }
}

/// Between two attempts.
struct Wait<R: Body, B> {
    /// The result to return if the next attempt cannot be made after all.
    held: Option<Held<R>>,
    body: Option<ReplayBody<B>>,
    retry: Retry,
    began: Instant,
    step: Step,
}

enum Step {
    Drain,
    Sleep,
    Ready,
}

enum Held<R: Body> {
    Response(Box<response::Parts>, Drained<R>),
    Error(BoxError),
}

impl<S, C, O, B, R> ResponseFuture<S, C, O, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    pub(crate) fn new(
        attempt: S::Future,
        // Boxed, so that what is seldom needed does not move with the future through every layer.
        again: Option<Box<Again<S, C, O, B>>>,
        limits: Limits,
    ) -> Self {
        let ends = match again {
            Some(_) => limits.attempt_ends(1),
            None => limits.deadline,
        };
        Self {
            state: State::Attempt { attempt },
            timer: ends.map(sleep_until),
            again,
            limits,
            info: RetryInfo::new(),
        }
    }
}

impl<S, C, O, B, R> Future for ResponseFuture<S, C, O, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    C: Classify,
    O: Observe,
    R: Body,
{
    type Output = Output<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output<R>> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Attempt { attempt } => match attempt.poll(cx) {
                    Poll::Ready(result) => {
                        if let Some(output) = self.as_mut().ended(result) {
                            return Poll::Ready(output);
                        }
                    }
                    Poll::Pending => {
                        ready!(poll_timer(this.timer, cx));
                        if let Some(output) = self.as_mut().took_too_long() {
                            return Poll::Ready(output);
                        }
                    }
                },
                StateProj::Wait { wait } => match wait.step {
                    Step::Drain => {
                        let limit = this.again.as_ref().map_or(0, |it| it.policy.drain_limit);
                        let drained = match &mut wait.held {
                            Some(Held::Response(_, body)) => body.poll_drain(cx, limit as u64),
                            _ => Poll::Ready(()),
                        };
                        if drained.is_pending() {
                            ready!(poll_timer(this.timer.as_mut(), cx));
                        }
                        wait.step = Step::Sleep;
                        let until = wait.began.checked_add(wait.retry.delay);
                        arm(this.timer, until);
                    }
                    Step::Sleep => {
                        // A wait of nothing does not yield.
                        if !wait.retry.delay.is_zero() {
                            ready!(poll_timer(this.timer.as_mut(), cx));
                        }
                        wait.step = Step::Ready;
                        arm(this.timer, this.limits.deadline);
                    }
                    Step::Ready => {
                        let output = ready!(self.as_mut().poll_again(cx));
                        if let Some(output) = output {
                            return Poll::Ready(output);
                        }
                    }
                },
            }
        }
    }
}

impl<S, C, O, B, R> ResponseFuture<S, C, O, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    C: Classify,
    O: Observe,
    R: Body,
{
    /// The attempt has ended: its result, or nothing if there will be another attempt.
    fn ended(self: Pin<&mut Self>, result: Result<Response<R>, S::Error>) -> Option<Output<R>> {
        let mut this = self.project();
        let number = this.info.attempts;
        let (result, next) = match result {
            Ok(response) => {
                #[cfg(feature = "hyper-util")]
                crate::classify::reuse::note_response(response.extensions());
                let Some(again) = this.again else {
                    return Some(Ok(response.map(ResponseBody::direct)));
                };
                let status = response.status();
                if status == StatusCode::REQUEST_TIMEOUT {
                    again.facts.answered_408 += 1;
                }
                let failure = Failure::new(Evidence::Responded(status));
                let headers = Some(response.headers());
                let next = again.decide(number, failure, false, headers, this.limits);
                (Ok(response), next)
            }
            Err(error) => {
                let error = error.into();
                let next = match this.again {
                    None => Err(StopReason::MaxAttempts),
                    Some(again) => {
                        let failure = again.classify.classify(&*error);
                        again.decide(number, failure, false, None, this.limits)
                    }
                };
                (Err(error), next)
            }
        };
        match next {
            Err(reason) => {
                this.info.stopped = reason;
                Some(match result {
                    Ok(response) => Ok(tell(response.map(ResponseBody::direct), this.info)),
                    Err(error) => Err(RetryError::boxed(this.info.clone(), error)),
                })
            }
            Ok((retry, body)) => {
                let wait = Wait::new(Some(Held::new(result)), retry, body);
                let drain = this.again.as_ref().map(|it| it.policy.drain_timeout);
                let drain = drain.into_iter().chain(this.limits.remaining()).min();
                arm(this.timer, drain.and_then(|it| wait.began.checked_add(it)));
                this.state.set(State::Wait { wait });
                None
            }
        }
    }

    /// The timer of an attempt is over. The attempt is given up only in favour of another; if there
    /// cannot be one, it has until the deadline.
    fn took_too_long(self: Pin<&mut Self>) -> Option<Output<R>> {
        let mut this = self.project();
        if this.limits.is_over() {
            this.info.stopped = StopReason::Deadline;
            let error = DeadlineExceeded.into();
            return Some(Err(RetryError::boxed(this.info.clone(), error)));
        }
        let next = this.again.as_mut().map(|again| {
            let failure = Failure::new(Evidence::Ambiguous);
            again.decide(this.info.attempts, failure, true, None, this.limits)
        });
        if let Some(Ok((retry, body))) = next {
            let wait = Wait::new(None, retry, body);
            this.state.set(State::Wait { wait });
        } else {
            arm(this.timer, this.limits.deadline);
        }
        None
    }

    /// Makes the next attempt as soon as the service is ready; the result if it cannot be made.
    fn poll_again(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output<R>>> {
        let mut this = self.project();
        let StateProj::Wait { wait } = this.state.as_mut().project() else {
            unreachable!("polled between attempts only");
        };
        let again = this.again.as_mut().expect("there is one to retry with");
        let service = again.service.as_mut().expect("set at the first call");
        let refused = match service.poll_ready(cx) {
            _ if this.limits.is_over() => Some((StopReason::Deadline, DeadlineExceeded.into())),
            Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(error)) => Some((StopReason::NotReady, error.into())),
            Poll::Pending if again.policy.shed_if_not_ready && wait.held.is_some() => {
                Some((StopReason::NotReady, DeadlineExceeded.into()))
            }
            Poll::Pending => {
                // What is not read to its end holds a connection, and that may be what the
                // service waits for.
                if wait.held.as_ref().is_some_and(Held::holds_connection) {
                    wait.held = None;
                }
                ready!(poll_timer(this.timer.as_mut(), cx));
                return Poll::Ready(None);
            }
        };
        if let Some((reason, error)) = refused {
            this.info.stopped = reason;
            let held = wait.held.take().unwrap_or(Held::Error(error));
            return Poll::Ready(Some(held.into_output(this.info)));
        }
        // The last attempt lets go of what it holds before the next one begins.
        wait.held = None;
        let body = wait.body.take().expect("taken once");
        let retry = wait.retry;
        let waited = Instant::now().saturating_duration_since(wait.began);
        this.info.retrying(retry, waited);
        let number = this.info.attempts;
        let request = again.request(body, number, retry.fresh);
        let service = again.service.as_mut().expect("set at the first call");
        let attempt = service.call(request);
        this.state.set(State::Attempt { attempt });
        arm(this.timer, this.limits.attempt_ends(number));
        Poll::Ready(None)
    }
}

/// Ready when the timer is over; pending without one.
fn poll_timer(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    match timer.as_pin_mut() {
        Some(timer) => timer.poll(cx),
        None => Poll::Pending,
    }
}

fn arm(mut timer: Pin<&mut Option<Sleep>>, at: Option<Instant>) {
    match (timer.as_mut().as_pin_mut(), at) {
        (Some(timer), Some(at)) => timer.reset(at),
        (None, None) => {}
        (_, at) => timer.set(at.map(sleep_until)),
    }
}

/// Puts into a response how it came about, if there is anything to tell.
fn tell<R: Body>(
    mut response: Response<ResponseBody<R>>,
    info: &RetryInfo,
) -> Response<ResponseBody<R>> {
    if !info.is_plain() {
        response.extensions_mut().insert(info.clone());
    }
    response
}

// ===== impl Wait, Held =====

impl<R: Body, B> Wait<R, B> {
    fn new(held: Option<Held<R>>, retry: Retry, body: ReplayBody<B>) -> Self {
        Self {
            held,
            body: Some(body),
            retry,
            began: Instant::now(),
            step: Step::Drain,
        }
    }
}

impl<R: Body> Held<R> {
    fn new(result: Result<Response<R>, BoxError>) -> Self {
        match result {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Self::Response(Box::new(parts), Drained::new(body))
            }
            Err(error) => Self::Error(error),
        }
    }

    const fn holds_connection(&self) -> bool {
        match self {
            Self::Response(_, body) => !body.is_complete(),
            Self::Error(_) => false,
        }
    }

    fn into_output(self, info: &RetryInfo) -> Output<R> {
        match self {
            Self::Response(parts, body) => {
                let body = ResponseBody::drained(body);
                Ok(tell(Response::from_parts(*parts, body), info))
            }
            Self::Error(error) => Err(RetryError::boxed(info.clone(), error)),
        }
    }
}

impl<S, C, O, B, R> fmt::Debug for ResponseFuture<S, C, O, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("info", &self.info)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

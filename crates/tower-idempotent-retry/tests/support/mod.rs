//! A transport without sockets, which fails as it is told.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::Service;
use tower_conn_testkit::body::{Script, ScriptedBody};
use tower_idempotent_retry::{
    Attempt, BoxError, Classify, Evidence, Failure, FreshConnection, ReplayBody,
};

/// What happens to one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Whether the transport reads the request body first.
    pub(crate) reads_body: bool,
    pub(crate) after: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Fail(Failure),
    Respond(StatusCode, HeaderMap, Script),
    Hang,
}

impl Fault {
    pub(crate) fn fail(failure: impl Into<Failure>) -> Self {
        Self {
            reads_body: true,
            after: Duration::ZERO,
            outcome: Outcome::Fail(failure.into()),
        }
    }

    pub(crate) fn status(code: u16) -> Self {
        Self::respond(code, HeaderMap::new())
    }

    pub(crate) fn respond(code: u16, headers: HeaderMap) -> Self {
        let status = StatusCode::from_u16(code).expect("a status");
        Self {
            reads_body: true,
            after: Duration::ZERO,
            outcome: Outcome::Respond(status, headers, Script::new().data(format!("{code}"))),
        }
    }

    pub(crate) fn hang() -> Self {
        Self {
            reads_body: true,
            after: Duration::ZERO,
            outcome: Outcome::Hang,
        }
    }

    pub(crate) fn unread(mut self) -> Self {
        self.reads_body = false;
        self
    }

    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    pub(crate) fn body(mut self, script: Script) -> Self {
        if let Outcome::Respond(_, _, body) = &mut self.outcome {
            *body = script;
        }
        self
    }
}

/// One attempt, as the transport saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) hint: http_body::SizeHint,
    pub(crate) body_error: Option<String>,
    pub(crate) fresh: bool,
    pub(crate) attempt: u32,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    repeat: Option<Fault>,
    seen: Vec<Seen>,
    readiness: Readiness,
}

/// Of the service for its second and later calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Readiness {
    #[default]
    Ready,
    Pending,
    Failing,
}

/// Fails the first attempts as told, and answers 200 then. Panics when called unready.
#[derive(Default)]
pub(crate) struct Transport {
    state: Arc<Mutex<State>>,
    ready: bool,
}

impl Clone for Transport {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ready: false,
        }
    }
}

impl Transport {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let transport = Self::default();
        transport.state.lock().unwrap().faults = faults.into_iter().collect();
        transport
    }

    pub(crate) fn repeating(fault: Fault) -> Self {
        let transport = Self::default();
        transport.state.lock().unwrap().repeat = Some(fault);
        transport
    }

    pub(crate) fn then(self, readiness: Readiness) -> Self {
        self.state.lock().unwrap().readiness = readiness;
        self
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(crate) fn attempts(&self) -> usize {
        self.seen().len()
    }
}

impl<B> Service<Request<ReplayBody<B>>> for Transport
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ScriptedBody>;
    type Error = TransportError;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<ScriptedBody>, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let state = self.state.lock().unwrap();
        if !state.seen.is_empty() {
            match state.readiness {
                Readiness::Ready => {}
                Readiness::Pending => return Poll::Pending,
                Readiness::Failing => {
                    return Poll::Ready(Err(TransportError(Failure::new(Evidence::Permanent))));
                }
            }
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called unready");
        let (head, body) = request.into_parts();
        let mut state = self.state.lock().unwrap();
        let index = state.seen.len();
        state.seen.push(Seen {
            headers: head.headers,
            at: Instant::now(),
            body: Bytes::new(),
            trailers: None,
            hint: body.size_hint(),
            body_error: None,
            fresh: head.extensions.get::<FreshConnection>().is_some(),
            attempt: Attempt::of(&head.extensions).get(),
        });
        let fault = state.faults.pop_front();
        let fault = fault.or_else(|| state.repeat.clone());
        let fault = fault.unwrap_or_else(|| Fault::status(200));
        let shared = Arc::clone(&self.state);
        Box::pin(async move {
            if fault.reads_body {
                let read = body.collect().await;
                let mut state = shared.lock().unwrap();
                match read {
                    Ok(collected) => {
                        state.seen[index].trailers = collected.trailers().cloned();
                        state.seen[index].body = collected.to_bytes();
                    }
                    Err(error) => state.seen[index].body_error = Some(error.to_string()),
                }
            } else {
                drop(body);
            }
            if !fault.after.is_zero() {
                tokio::time::sleep(fault.after).await;
            }
            match fault.outcome {
                Outcome::Fail(failure) => Err(TransportError(failure)),
                Outcome::Hang => std::future::pending().await,
                Outcome::Respond(status, headers, script) => {
                    let mut response = Response::new(script.body().0);
                    *response.status_mut() = status;
                    *response.headers_mut() = headers;
                    Ok(response)
                }
            }
        })
    }
}

/// An error that says what it proves.
#[derive(Debug)]
pub(crate) struct TransportError(pub(crate) Failure);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Error for TransportError {}

/// Reads what a [`TransportError`] says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told;

impl Classify for Told {
    fn classify(&self, error: &(dyn Error + 'static)) -> Failure {
        error
            .downcast_ref::<TransportError>()
            .expect("an error of the transport")
            .0
    }
}

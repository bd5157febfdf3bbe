//! Tells the board what the exchanges are about: method, status, who answered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_conn_core::Connection;
use tower_conn_pool::ConnectionUse;
use tower_idempotent_retry::RetryInfo;
use tower_pipeline_guard::RunsAhead;

use super::lanes::Outcome;
use super::watch::Watch;

/// Applies [`Note`].
#[derive(Clone)]
pub(crate) struct NoteLayer(Watch);

impl NoteLayer {
    pub(crate) const fn new(watch: Watch) -> Self {
        Self(watch)
    }
}

impl<S> Layer<S> for NoteLayer {
    type Service = Note<S>;

    fn layer(&self, inner: S) -> Note<S> {
        Note {
            inner,
            watch: self.0.clone(),
        }
    }
}

/// Notes each request and response on the lane of its connection: under a server the connection of
/// the request, around a pool that of the response.
#[derive(Clone)]
pub(crate) struct Note<S> {
    inner: S,
    watch: Watch,
}

impl<S> Note<S> {
    pub(crate) const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, A, B> Service<Request<A>> for Note<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = NoteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let noting = self.watch.get().map(|board| {
            let method = name(request.method());
            let connection = Connection::of(request.extensions()).cloned();
            if let Some((connection, number)) = numbered(connection.as_ref()) {
                let behind = request.extensions().get::<RunsAhead>();
                let behind = behind.map_or(0, RunsAhead::behind);
                board.requested(connection, number, method, behind);
            }
            Box::new(Noting {
                watch: self.watch.clone(),
                connection,
                method,
                start: Instant::now(),
            })
        });
        NoteFuture {
            inner: self.inner.call(request),
            noting,
        }
    }
}

pin_project! {
    pub(crate) struct NoteFuture<F> {
        #[pin]
        inner: F,
        // Boxed, so that a gateway that nobody looks at moves no more than a pointer.
        noting: Option<Box<Noting>>,
    }
}

struct Noting {
    watch: Watch,
    connection: Option<Connection>,
    method: &'static str,
    start: Instant,
}

impl<F, B, E> Future for NoteFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let (Some(noting), Ok(response)) = (this.noting, &result) {
            noting.responded(response);
        }
        Poll::Ready(result)
    }
}

impl Noting {
    fn responded<B>(&self, response: &Response<B>) {
        let Some(board) = self.watch.get() else {
            return;
        };
        let now = Instant::now();
        let seconds = now.saturating_duration_since(self.start).as_secs_f64();
        let answered = Connection::of(response.extensions());
        let outcome = Outcome {
            method: self.method,
            status: response.status().as_u16(),
            ..Outcome::default()
        };
        if let Some((connection, number)) = numbered(self.connection.as_ref()) {
            let retried = response.extensions().get::<RetryInfo>();
            let outcome = Outcome {
                via: answered.map_or(0, Connection::id),
                attempts: retried.map_or(1, |info| info.attempts),
                ..outcome
            };
            board.responded(connection, number, outcome, seconds);
        } else if let (Some(connection), Some(usage)) =
            (answered, response.extensions().get::<ConnectionUse>())
        {
            let number = usage.exchanges_before.wrapping_add(1);
            board.responded(connection, number, outcome, seconds);
        }
    }
}

/// A connection that was found on a request, and the number of its exchange.
fn numbered(connection: Option<&Connection>) -> Option<(&Connection, u32)> {
    let connection = connection?;
    Some((connection, connection.exchange_number()?.get()))
}

/// The methods that are told apart: a name that a client made up is shown to nobody.
fn name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}

//! The future of the response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tower_conn_core::options::has_connection_option;
use tower_conn_core::{CloseReason, Connection, Exchange, ExchangeBody};

use crate::shared::{IN_BODY, Shared};

pin_project! {
    /// The response of [`Reap`](crate::Reap).
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        held: Held,
        version: Version,
        is_connect: bool,
    }
}

/// What is known of the request's connection.
enum Held {
    Nothing,
    /// The exchange, which began here.
    Exchange(Exchange),
    /// The connection; its exchange began further out.
    Connection(Connection),
}

impl<F> ResponseFuture<F> {
    pub(crate) const fn passed(inner: F) -> Self {
        Self {
            inner: Some(inner),
            held: Held::Nothing,
            version: Version::HTTP_11,
            is_connect: false,
        }
    }

    pub(crate) const fn new(
        inner: F,
        exchange: Exchange,
        version: Version,
        is_connect: bool,
    ) -> Self {
        Self {
            inner: Some(inner),
            held: Held::Exchange(exchange),
            version,
            is_connect,
        }
    }

    pub(crate) const fn nested(
        inner: F,
        connection: Connection,
        version: Version,
        is_connect: bool,
    ) -> Self {
        Self {
            inner: Some(inner),
            held: Held::Connection(connection),
            version,
            is_connect,
        }
    }

    pub(crate) const fn refused() -> Self {
        Self {
            inner: None,
            held: Held::Nothing,
            version: Version::HTTP_11,
            is_connect: false,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<ExchangeBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            let mut response = Response::new(ExchangeBody::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Poll::Ready(Ok(response));
        };
        let mut response = ready!(inner.poll(cx))?;
        let held = std::mem::replace(this.held, Held::Nothing);
        let connection = match &held {
            Held::Nothing => None,
            Held::Exchange(exchange) => Some(exchange.connection()),
            Held::Connection(connection) => Some(connection),
        };
        if let Some(connection) = connection {
            answer(&mut response, connection, *this.version, *this.is_connect);
        }
        let exchange = match held {
            Held::Exchange(exchange) => Some(exchange),
            Held::Nothing | Held::Connection(_) => None,
        };
        Poll::Ready(Ok(response.map(|body| ExchangeBody::new(body, exchange))))
    }
}

fn answer<B>(
    response: &mut Response<B>,
    connection: &Connection,
    version: Version,
    is_connect: bool,
) {
    let shared = Shared::of(connection);
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (is_connect && response.status().is_success());
    if switched {
        if let Some(shared) = shared {
            shared.upgrade();
        }
        return;
    }
    if version >= Version::HTTP_2 {
        return;
    }
    if shared.is_some_and(|shared| {
        shared.has(IN_BODY) && shared.is_last_head(connection.exchange_number())
    }) {
        // hyper closes after an early answer and does not say so; a client that has sent the rest
        // of the body meanwhile would take the connection for reusable.
        connection.request_close(CloseReason::UnreadBody);
    }
    if !connection.is_closing() {
        return;
    }
    let headers = response.headers_mut();
    if !has_connection_option(headers, "close") {
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

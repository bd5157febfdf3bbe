//! One request: sent through the retries and the pool, read to its end, and written down.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout_at};
use tower::{Service, ServiceExt};
use tower_conn_core::Connection;
use tower_conn_pool::{ConnectionUse, PoolError};
use tower_idempotent_retry::{Deadline, RetryError, RetryInfo};

use crate::args::Args;
use crate::connector::{Opening, since};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What happened to one request.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) url: Uri,
    pub(crate) status: Option<StatusCode>,
    pub(crate) version: Option<Version>,
    pub(crate) bytes: u64,
    /// Why there is no response, or not all of it.
    pub(crate) error: Option<String>,
    pub(crate) connection: Option<u64>,
    pub(crate) usage: Option<ConnectionUse>,
    pub(crate) retries: RetryInfo,
    /// For the request that a connection was opened for.
    pub(crate) opening: Option<Opening>,
    /// Up to the response head, without the opening.
    pub(crate) wait: Duration,
    pub(crate) body: Duration,
}

impl Outcome {
    pub(crate) fn failed(&self) -> bool {
        self.error.is_some() || self.status.is_none_or(|status| status.as_u16() >= 400)
    }

    /// From the start of the request to the response head.
    pub(crate) fn to_head(&self) -> Duration {
        self.wait
            + self
                .opening
                .map_or(Duration::ZERO, |opening| opening.total())
    }

    fn on(&mut self, connection: Option<&Connection>, usage: Option<&ConnectionUse>) {
        self.connection = connection.map(Connection::id);
        self.usage = usage.copied();
    }
}

/// A request for this URL, as the command line has it.
pub(crate) fn request(args: &Args, url: &Uri) -> Request<Full<Bytes>> {
    let body = args.data.clone().unwrap_or_default();
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = args.method();
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static("tower-conn-client"),
    );
    // Servers that announce how long they keep a connection often do so to those only who ask. Over HTTP/2
    // hyper leaves it out.
    headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    for (name, value) in &args.header {
        headers.insert(name, value.clone());
    }
    request
}

/// Sends a request and reads its response to the end, by the deadline.
pub(crate) async fn fetch<S, B>(
    client: S,
    mut request: Request<Full<Bytes>>,
    limit: Duration,
) -> Outcome
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let begun = Instant::now();
    let deadline = begun.checked_add(limit);
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(Deadline(deadline));
    }
    let mut outcome = Outcome {
        url: request.uri().clone(),
        status: None,
        version: None,
        bytes: 0,
        error: None,
        connection: None,
        usage: None,
        retries: RetryInfo::of(&http::Extensions::new()),
        opening: None,
        wait: Duration::ZERO,
        body: Duration::ZERO,
    };
    let response = match client.oneshot(request).await {
        Ok(response) => response,
        Err(error) => {
            outcome.wait = since(begun);
            if let Some(error) = find::<RetryError>(&*error) {
                outcome.retries = error.info().clone();
            }
            if let Some(error) = find::<PoolError>(&*error) {
                outcome.on(error.connection(), error.connection_use());
            }
            outcome.error = Some(describe(&*error));
            return outcome;
        }
    };
    let to_head = since(begun);
    let extensions = response.extensions();
    outcome.on(extensions.get(), extensions.get());
    outcome.retries = RetryInfo::of(extensions);
    outcome.opening = extensions
        .get()
        .copied()
        .filter(|_| outcome.usage.is_some_and(|usage| !usage.is_reused()));
    outcome.status = Some(response.status());
    outcome.version = Some(response.version());
    let opening = outcome.opening.map_or(Duration::ZERO, |it| it.total());
    outcome.wait = to_head.saturating_sub(opening);

    let reading = read(response.into_body(), &mut outcome.bytes);
    let read = match deadline {
        Some(deadline) => timeout_at(deadline, reading)
            .await
            .unwrap_or_else(|_| Err("the time ran out before the end of the body".into())),
        None => reading.await,
    };
    outcome.body = since(begun).saturating_sub(to_head);
    outcome.error = read.err().map(|error| describe(&*error));
    outcome
}

async fn read<B>(body: B, bytes: &mut u64) -> Result<(), BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(Into::into)?.data_ref() {
            *bytes += data.len() as u64;
        }
    }
    Ok(())
}

/// An error and its causes, each said once.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// The first error of this type among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error
        .downcast_ref()
        .or_else(|| error.source().and_then(find))
}

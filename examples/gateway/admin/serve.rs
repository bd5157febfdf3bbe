//! The server of the admin pages.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceBuilder;
use tower_idle_reaper::{Capacity, Drain, IdleReaper, Policy, ReapLayer, ReapedListener};

use super::{Sources, metrics, text, view};

const PAGE: &str = include_str!("page.html");

/// How long the end of the gateway waits for an answer of this server.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// Connections at a time; more wait.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// The page is one file, and asks nobody but this server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The running server.
pub(crate) struct Admin {
    accepting: JoinHandle<()>,
    reaper: IdleReaper,
}

/// Listens for the admin pages.
pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr} for --admin: {error}"))
}

impl Admin {
    /// Starts to serve.
    pub(crate) fn start(listener: TcpListener, sources: Sources) -> Self {
        let policy = Policy::safe().max_connections(Capacity::new(CONNECTIONS));
        let reaper = IdleReaper::new(policy);
        let accepting = tokio::spawn(accept(
            ReapedListener::new(listener, &reaper),
            reaper.clone(),
            Arc::new(sources),
        ));
        Self { accepting, reaper }
    }

    /// Stops: answers what is being asked, briefly.
    pub(crate) async fn stop(self) {
        self.accepting.abort();
        self.reaper.drain(Drain::within(LAST_ANSWER)).await;
    }
}

async fn accept(
    mut listener: ReapedListener<TcpListener>,
    reaper: IdleReaper,
    sources: Arc<Sources>,
) {
    loop {
        let (io, _) = listener.accept().await;
        let connection = io.connection();
        let sources = Arc::clone(&sources);
        let service = ServiceBuilder::new()
            .layer(ReapLayer::of(connection.clone()))
            .service_fn(move |request: Request<Incoming>| {
                let response = answer(&request, &sources);
                async move { Ok::<_, Infallible>(response) }
            });
        let serving = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
        tokio::spawn(reaper.watch(serving, connection));
    }
}

fn answer<B>(request: &Request<B>, sources: &Sources) -> Response<Full<Bytes>> {
    let found = match request.uri().path() {
        "/" => page,
        "/metrics" => scrape,
        "/connections.json" => connections,
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "there is /, /metrics, /connections.json\n",
            );
        }
    };
    // hyper leaves the body out of the answer to a HEAD.
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    found(request.uri().query().unwrap_or_default(), sources)
}

fn page(_: &str, _: &Sources) -> Response<Full<Bytes>> {
    let mut response = with_type("text/html; charset=utf-8", PAGE);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert::<HeaderName>(name, value);
    }
    response
}

fn scrape(_: &str, sources: &Sources) -> Response<Full<Bytes>> {
    with_type(text::CONTENT_TYPE, metrics::render(sources))
}

fn connections(query: &str, sources: &Sources) -> Response<Full<Bytes>> {
    with_type("application/json", view::render(query, sources))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

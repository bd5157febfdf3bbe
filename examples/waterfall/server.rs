//! The server: plain hyper, HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

use crate::network::{Network, Stream};
use crate::page::content_type;
use crate::record::Sent;

/// Serves one connection to its end.
pub(crate) async fn serve(network: Arc<Network>, connection: usize, io: impl Stream + 'static) {
    let service = service_fn(|request| {
        let response = answer(&network, connection, &request);
        async { Ok::<_, Infallible>(response) }
    });
    // An error is that of a browser that has gone away.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), service)
        .await;
}

fn answer(
    network: &Network,
    connection: usize,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let recorder = network.recorder();
    let sent = Sent {
        connection,
        at: recorder.now().saturating_sub(network.delay()),
    };
    recorder.sent(path, sent);
    let Some(body) = network.page().get(path) else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::new(body));
    let content_type = HeaderValue::from_static(content_type(path));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

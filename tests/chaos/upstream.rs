//! A hyper server that does what the request target says, and keeps the ledger.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::ledger::Ledger;
use crate::spec::{Spec, download, upload};

type Body = BoxBody<Bytes, Infallible>;

/// The target of requests that wait until they are let go.
pub(crate) const GATE: &str = "/gate";

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) gate: Arc<Gate>,
}

#[derive(Debug)]
pub(crate) struct Gate {
    waiting: AtomicUsize,
    open: Semaphore,
}

impl Gate {
    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.open.close();
    }
}

pub(crate) async fn start(ledger: Arc<Ledger>) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let gate = Arc::new(Gate {
        waiting: AtomicUsize::new(0),
        open: Semaphore::new(0),
    });
    let shared = Arc::clone(&gate);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (ledger, gate) = (Arc::clone(&ledger), Arc::clone(&shared));
            let service =
                service_fn(move |request| answer(Arc::clone(&ledger), Arc::clone(&gate), request));
            tokio::spawn(async move {
                let mut http = auto::Builder::new(TokioExecutor::new());
                http.http1().header_read_timeout(None);
                http.http2().timer(TokioTimer::new());
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Upstream { addr, gate }
}

async fn answer(
    ledger: Arc<Ledger>,
    gate: Arc<Gate>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path == GATE {
        gate.waiting.fetch_add(1, Ordering::SeqCst);
        let _ = gate.open.acquire().await;
        return Ok(Response::new(Full::from("let go\n").boxed()));
    }
    let Ok(spec) = path.parse::<Spec>() else {
        ledger.violation(format!("a strange request came through: {parts:?}"));
        return Ok(Response::new(Full::default().boxed()));
    };
    let id = HeaderValue::from(spec.id);
    if parts.headers.get_all("x-id").iter().ne([&id]) {
        ledger.violation(format!(
            "{path} has the fields of another: {:?}",
            parts.headers
        ));
    }
    ledger.executed(spec.id, parts.method.as_str());
    match body.collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            if body != upload(spec.id, spec.upload.unwrap_or(0)) {
                let length = body.len();
                ledger.violation(format!("{path}: {length} bytes of an upload passed as all"));
            }
        }
        Err(_) => {
            let mut response = Response::new(Full::from("an upload was cut\n").boxed());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
    }
    if !spec.wait.is_zero() {
        tokio::time::sleep(spec.wait).await;
    }
    let body = Bytes::from(download(spec.id, spec.length));
    let body = if parts.method == Method::HEAD && parts.version == Version::HTTP_2 {
        // hyper leaves it to the service there to send no body.
        Full::default().boxed()
    } else if spec.chunked {
        let frames = stream::iter([Ok(Frame::data(body))]);
        BodyExt::boxed(StreamBody::new(frames))
    } else {
        Full::new(body).boxed()
    };
    let mut response = Response::new(body);
    response.headers_mut().insert("x-id", id);
    if spec.close && parts.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

//! An axum server with something to fetch, which counts what it is asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

/// `GET /`, `GET /bytes/N`, `GET /stream/N` (chunked), `/echo`, `GET /trailers`, `GET /ws`.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    reads: AtomicUsize,
    writes: AtomicUsize,
    received: AtomicUsize,
    sockets: AtomicUsize,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let seen = Arc::new(Seen::default());
        let app = Router::new()
            .route("/", get(|| async { "hello\n" }))
            .route("/bytes/{n}", get(async |Path(n): Path<usize>| pattern(n)))
            .route(
                "/stream/{n}",
                get(async |Path(n)| Body::new(Pieces { at: 0, end: n })),
            )
            .route("/trailers", get(trailers))
            .route("/echo", any(echo))
            .route("/ws", get(websocket))
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&seen),
                count,
            ))
            .with_state(Arc::clone(&seen));
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                    axum::serve(listener, app).await
                })
        });
        Self { addr, seen }
    }

    /// How many requests of GET and HEAD came.
    pub(crate) fn reads(&self) -> usize {
        self.seen.reads.load(Ordering::SeqCst)
    }

    /// How many requests of other methods came.
    pub(crate) fn writes(&self) -> usize {
        self.seen.writes.load(Ordering::SeqCst)
    }

    /// How many bytes of request bodies came.
    pub(crate) fn received(&self) -> usize {
        self.seen.received.load(Ordering::SeqCst)
    }

    /// How many WebSockets are open.
    pub(crate) fn sockets(&self) -> usize {
        self.seen.sockets.load(Ordering::SeqCst)
    }
}

/// The bytes that clients expect.
pub(crate) fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at % 251) as u8).collect()
}

async fn count(
    State(seen): State<Arc<Seen>>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let counter = if reads { &seen.reads } else { &seen.writes };
    counter.fetch_add(1, Ordering::SeqCst);
    next.run(request).await
}

async fn echo(State(seen): State<Arc<Seen>>, body: Body) -> Response {
    let Ok(body) = body.collect().await else {
        return Response::new(Body::from("the body was cut"));
    };
    let body = body.to_bytes();
    seen.received.fetch_add(body.len(), Ordering::SeqCst);
    Response::new(Body::from(body))
}

async fn trailers() -> Response {
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [
        Frame::data(Bytes::from_static(b"with trailers\n")),
        Frame::trailers(fields),
    ];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let name = HeaderValue::from_static("x-sum");
    response.headers_mut().insert(header::TRAILER, name);
    response
}

async fn websocket(State(seen): State<Arc<Seen>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| async move {
        seen.sockets.fetch_add(1, Ordering::SeqCst);
        converse(socket).await;
        seen.sockets.fetch_sub(1, Ordering::SeqCst);
    })
}

/// Sends messages back; closes when asked to.
async fn converse(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(text) if text == "close" => Message::Close(None),
            Message::Text(_) | Message::Binary(_) => message,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
        };
        if socket.send(answer).await.is_err() {
            break;
        }
    }
}

/// The pattern, in pieces whose number nobody is told.
struct Pieces {
    at: usize,
    end: usize,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // A multiple of the pattern's period.
        let size = (self.end - self.at).min(251 * 32);
        self.at += size;
        Poll::Ready((size > 0).then(|| Ok(Frame::data(pattern(size).into()))))
    }
}

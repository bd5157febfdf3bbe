//! A pipelined connection to a server that the test plays itself.
#![allow(dead_code, reason = "each test uses a part")]

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::{BoxError, Service, ServiceExt};
use tower_conn_testkit::raw::RawStream;
use tower_pipeline_guard::client::{Builder, Cause, ErrorKind, PipelinedConnection, ResponseBody};

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Request = http::Request<Body>;
pub(crate) type Error = tower_pipeline_guard::client::Error<Body>;
pub(crate) type Connection = PipelinedConnection<Body>;

pub(crate) struct Peer {
    listener: TcpListener,
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        Self { listener }
    }

    pub(crate) async fn accept(&self) -> RawStream {
        let (stream, _) = self.listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("a live socket");
        RawStream::over(stream)
    }
}

pub(crate) async fn connect(
    peer: &Peer,
    builder: Builder,
) -> (Connection, JoinHandle<Result<(), Cause>>) {
    let addr = peer.listener.local_addr().expect("bound");
    let stream = TcpStream::connect(addr).await.expect("connects");
    stream.set_nodelay(true).expect("a live socket");
    let (connection, driver) = builder.handshake(stream);
    (connection, tokio::spawn(driver))
}

/// A connection on which one request was answered: more may be sent at once now.
pub(crate) async fn proven(
    peer: &Peer,
    builder: Builder,
) -> (Connection, RawStream, JoinHandle<Result<(), Cause>>) {
    let (mut connection, driver) = connect(peer, builder).await;
    let mut stream = peer.accept().await;
    let (first, ()) = tokio::join!(outcome(&mut connection, get("/proof")), async {
        stream.read_request().await.expect("a request");
        stream.send(ok("proof")).await.expect("open");
    });
    assert_eq!(first, Outcome::Body("proof"));
    (connection, stream, driver)
}

pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request {
    http::Request::builder()
        .method(method)
        .uri(format!("http://x{path}"))
        .body(
            Full::from(body)
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
        .expect("a request")
}

pub(crate) fn get(path: &str) -> Request {
    request("GET", path, "")
}

pub(crate) fn head(path: &str) -> Request {
    request("HEAD", path, "")
}

pub(crate) async fn call(
    connection: &mut Connection,
    request: Request,
) -> Result<Response<ResponseBody>, Error> {
    connection.ready().await?.call(request).await
}

/// A call by a clone of the connection, which waits for its place by itself.
pub(crate) fn spawn_call(
    connection: &Connection,
    request: Request,
) -> JoinHandle<(Outcome, Option<Request>)> {
    let mut connection = connection.clone();
    tokio::spawn(async move { settle(call(&mut connection, request).await).await })
}

/// Hands a request in; the response is waited for by the task.
pub(crate) async fn start(
    connection: &mut Connection,
    request: Request,
) -> JoinHandle<(Outcome, Option<Request>)> {
    let future = connection.ready().await.expect("ready").call(request);
    tokio::spawn(async move { settle(future.await).await })
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Body(&'static str),
    BodyError,
    NotSent,
    Unanswered,
    HeadTimeout,
    Invalid,
}

pub(crate) async fn outcome(connection: &mut Connection, request: Request) -> Outcome {
    settle(call(connection, request).await).await.0
}

async fn settle(result: Result<Response<ResponseBody>, Error>) -> (Outcome, Option<Request>) {
    match result {
        Ok(response) => match response.into_body().collect().await {
            Ok(body) => {
                let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
                (Outcome::Body(text.leak()), None)
            }
            Err(_) => (Outcome::BodyError, None),
        },
        Err(error) => {
            let outcome = match (error.kind(), error.cause()) {
                (_, Cause::HeadTimeout) => Outcome::HeadTimeout,
                (ErrorKind::NotSent, _) => Outcome::NotSent,
                (ErrorKind::Unanswered, _) => Outcome::Unanswered,
                _ => Outcome::Invalid,
            };
            (outcome, error.into_request())
        }
    }
}

/// The paths of the next requests that arrive.
pub(crate) async fn paths(stream: &mut RawStream, count: usize) -> Vec<String> {
    let mut paths = Vec::new();
    for _ in 0..count {
        let request = stream.read_request().await.expect("a request");
        paths.push(request.target);
    }
    paths
}

/// Nothing arrives while everything that could be sent is.
pub(crate) async fn silent(stream: &mut RawStream) {
    let arrived = tokio::time::timeout(Duration::from_millis(30), stream.read_request_head()).await;
    assert!(arrived.is_err(), "something arrived: {arrived:?}");
}

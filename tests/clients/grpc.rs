//! gRPC (tonic) through the gateway: HTTP/2 on both sides, trailers and statuses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use http::uri::PathAndQuery;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::support::Example;
use crate::upstream::pattern;

/// Messages are bytes.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

// ===== the server =====

struct Server {
    addr: SocketAddr,
    calls: Arc<AtomicUsize>,
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            let service = hyper::service::service_fn(move |request| {
                counter.fetch_add(1, Ordering::SeqCst);
                answer(request)
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Server { addr, calls }
}

async fn answer(request: Request<Incoming>) -> Result<Response<tonic::body::Body>, Infallible> {
    let mut grpc = tonic::server::Grpc::new(Plain);
    Ok(match request.uri().path() {
        "/test.Test/Echo" => {
            let echo = tower::service_fn(async |request: tonic::Request<Bytes>| {
                Ok(tonic::Response::new(request.into_inner()))
            });
            grpc.unary(echo, request).await
        }
        "/test.Test/Refuse" => {
            let refuse = tower::service_fn(async |_: tonic::Request<Bytes>| {
                Err::<tonic::Response<Bytes>, _>(Status::permission_denied("not you"))
            });
            grpc.unary(refuse, request).await
        }
        "/test.Test/Count" => {
            let count = tower::service_fn(async |request: tonic::Request<Bytes>| {
                let end = usize::from(request.into_inner()[0]);
                Ok(tonic::Response::new(stream::iter((0..end).map(message))))
            });
            grpc.server_streaming(count, request).await
        }
        "/test.Test/Sum" => {
            let sum =
                tower::service_fn(async |request: tonic::Request<tonic::Streaming<Bytes>>| {
                    let (mut messages, mut sum) = (request.into_inner(), 0);
                    while let Some(message) = messages.message().await? {
                        sum += message.len();
                    }
                    Ok(tonic::Response::new(Bytes::from(sum.to_string())))
                });
            grpc.client_streaming(sum, request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    })
}

/// The messages of `Count`; the hundredth is a failure.
fn message(n: usize) -> Result<Bytes, Status> {
    if n == 99 {
        let mut status = Status::resource_exhausted("that is enough");
        let value = "kept".parse().expect("a value");
        status.metadata_mut().insert("x-note", value);
        return Err(status);
    }
    Ok(Bytes::from(format!("message {n}")))
}

// ===== the client =====

type Grpc = tonic::client::Grpc<Channel>;

async fn client(gateway: &Example) -> Grpc {
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.addr)).expect("a URI");
    let endpoint = endpoint.timeout(Duration::from_secs(30));
    let mut grpc = Grpc::new(endpoint.connect().await.expect("connects"));
    grpc.ready().await.expect("ready");
    grpc
}

fn gateway(server: &Server) -> Example {
    let url = format!("h2c://{}", server.addr);
    Example::start("gateway", &["--upstream", &url])
}

async fn unary(grpc: &mut Grpc, method: &str, message: Bytes) -> Result<Bytes, Status> {
    let path = PathAndQuery::try_from(format!("/test.Test/{method}")).expect("a path");
    grpc.ready().await.expect("ready");
    let request = tonic::Request::new(message);
    Ok(grpc.unary(request, path, Plain).await?.into_inner())
}

async fn count(grpc: &mut Grpc, end: u8) -> (Vec<Bytes>, Option<Status>) {
    grpc.ready().await.expect("ready");
    let path = PathAndQuery::from_static("/test.Test/Count");
    let request = tonic::Request::new(Bytes::from(vec![end]));
    let response = grpc.server_streaming(request, path, Plain).await;
    let (mut messages, mut got) = (response.expect("a response").into_inner(), Vec::new());
    loop {
        match messages.message().await {
            Ok(Some(message)) => got.push(message),
            Ok(None) => return (got, None),
            Err(status) => return (got, Some(status)),
        }
    }
}

#[tokio::test]
async fn unary_calls_are_answered() {
    let server = server().await;
    let gateway = gateway(&server);
    let mut grpc = client(&gateway).await;
    for size in [0, 1, 10_000, 1_000_000] {
        let message = Bytes::from(pattern(size));
        let answer = unary(&mut grpc, "Echo", message.clone())
            .await
            .expect("an answer");
        assert!(answer == message, "{size}: {}", answer.len());
    }
    assert_eq!(server.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn statuses_come_through_and_calls_are_not_repeated() {
    let server = server().await;
    let gateway = gateway(&server);
    let mut grpc = client(&gateway).await;
    let status = unary(&mut grpc, "Refuse", Bytes::new())
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "not you");
    let status = unary(&mut grpc, "Nothing", Bytes::new())
        .await
        .expect_err("not there");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(server.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_ends_with_its_trailers() {
    let server = server().await;
    let gateway = gateway(&server);
    let mut grpc = client(&gateway).await;
    let expected: Vec<_> = (0..99).map(|n| format!("message {n}")).collect();

    let (messages, status) = count(&mut grpc, 99).await;
    assert_eq!(messages, expected);
    assert!(status.is_none(), "{status:?}");

    // The failure comes in the trailers, after the messages.
    let (messages, status) = count(&mut grpc, 200).await;
    assert_eq!(messages, expected);
    let status = status.expect("a failure");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "that is enough");
    let note = status
        .metadata()
        .get("x-note")
        .expect("metadata in the trailers");
    assert_eq!(note, "kept");
}

#[tokio::test]
async fn a_client_streams() {
    let server = server().await;
    let gateway = gateway(&server);
    let mut grpc = client(&gateway).await;
    let messages = stream::iter((0..50).map(|_| Bytes::from(pattern(10_000))));
    let path = PathAndQuery::from_static("/test.Test/Sum");
    let request = tonic::Request::new(messages);
    let answer = grpc
        .client_streaming(request, path, Plain)
        .await
        .expect("an answer");
    assert_eq!(answer.into_inner(), "500000");
}

#[tokio::test]
async fn calls_share_a_connection() {
    let server = server().await;
    let gateway = gateway(&server);
    let grpc = client(&gateway).await;
    let mut calls = Vec::new();
    for n in 0..50 {
        let mut grpc = grpc.clone();
        calls.push(tokio::spawn(async move {
            let message = Bytes::from(pattern(1000 + n));
            let answer = unary(&mut grpc, "Echo", message.clone())
                .await
                .expect("an answer");
            assert!(answer == message, "{n}");
        }));
    }
    for call in calls {
        call.await.expect("a right answer");
    }
    assert_eq!(server.calls.load(Ordering::SeqCst), 50);
}

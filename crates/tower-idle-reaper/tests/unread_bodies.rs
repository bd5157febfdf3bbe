//! Request bodies that the handler does not read, under the stack of the example servers: the reaper
//! outside of `KeepAliveLayer`, which drains them, with and without the pipeline guard around both.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use support::{Engine, Server};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::{ServiceBuilder, service_fn};
use tower_conn_core::{CloseReason, Connection, ConnectionListener};
use tower_conn_testkit::raw::{Ended, RawClient};
use tower_idle_reaper::{IdleReaper, Policy, ReapLayer, ReapedListener};
use tower_keep_alive::KeepAliveLayer;
use tower_pipeline_guard::{GuardedMakeService, LookaheadListener, Pipeline};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
const DELETE: &str = "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Hyper,
    HyperGuarded,
    HyperParallel,
    Axum,
    AxumGuarded,
}

const STACKS: [Stack; 5] = [
    Stack::Hyper,
    Stack::HyperGuarded,
    Stack::HyperParallel,
    Stack::Axum,
    Stack::AxumGuarded,
];

/// Drains with patience, for segments may be late on a busy machine.
fn keep_alive() -> KeepAliveLayer {
    KeepAliveLayer::new().drain_unread(256 * 1024, Duration::from_secs(20))
}

/// Never looks at the body.
async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    drop(body);
    if head.uri.path() == "/slow" {
        tokio::time::sleep(PAUSE * 4).await;
    }
    Ok(Response::new(Full::from("hello")))
}

async fn listen(stack: Stack) -> (IdleReaper, SocketAddr) {
    listen_with(stack, Policy::safe()).await
}

async fn listen_with(stack: Stack, policy: Policy) -> (IdleReaper, SocketAddr) {
    let reaper = IdleReaper::new(policy);
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = tcp.local_addr().expect("bound");
    let listener = ReapedListener::new(tcp, &reaper);
    let app = Router::new()
        .fallback(async |request: axum::extract::Request| hello(request).await.expect("infallible"))
        .layer(keep_alive())
        .layer(ReapLayer::new())
        .into_make_service_with_connect_info::<Connection>();
    match stack {
        Stack::Hyper | Stack::HyperGuarded | Stack::HyperParallel => {
            tokio::spawn(serve(stack, listener, reaper.clone()));
        }
        Stack::Axum => {
            let listener = ConnectionListener::new(listener);
            tokio::spawn(axum::serve(listener, app).into_future());
        }
        Stack::AxumGuarded => {
            let listener = LookaheadListener::new(listener, Pipeline::new());
            let listener = ConnectionListener::new(listener);
            tokio::spawn(axum::serve(listener, GuardedMakeService::new(app)).into_future());
        }
    }
    (reaper, addr)
}

async fn serve(stack: Stack, mut listener: ReapedListener<TcpListener>, reaper: IdleReaper) {
    loop {
        let (io, _) = listener.accept().await;
        let connection = io.connection();
        let layers = ServiceBuilder::new()
            .layer(ReapLayer::of(connection.clone()))
            .layer(keep_alive());
        let http = auto::Builder::new(TokioExecutor::new());
        if stack == Stack::Hyper {
            let service = TowerToHyperService::new(layers.service(service_fn(hello)));
            let serving = http
                .serve_connection(TokioIo::new(io), service)
                .into_owned();
            tokio::spawn(reaper.watch(serving, connection));
        } else {
            let parallel = if stack == Stack::HyperParallel { 4 } else { 1 };
            let parallel = NonZeroUsize::new(parallel).expect("not zero");
            let (io, guard) = Pipeline::new().parallel(parallel).wrap(io);
            let service = ServiceBuilder::new()
                .layer(guard)
                .service(layers.service(service_fn(hello)));
            let service = TowerToHyperService::new(service);
            let serving = http
                .serve_connection(TokioIo::new(io), service)
                .into_owned();
            tokio::spawn(reaper.watch(serving, connection));
        }
    }
}

/// Sends these segments, and expects so many responses, none of which closes the connection.
async fn persists(segments: &[&str], responses: usize) {
    for stack in STACKS {
        let (reaper, addr) = listen(stack).await;
        let mut client = RawClient::connect(addr).await.expect("listening");
        for segment in segments {
            client.send(*segment).await.expect("the server reads");
            tokio::time::sleep(PAUSE).await;
        }
        for n in 1..=responses {
            let response = client.read_response("POST").await;
            let response = response.unwrap_or_else(|error| panic!("{stack:?}: {n}: {error}"));
            assert_eq!(response.status, 200, "{stack:?}: {n}");
            let options = response.tokens("connection");
            assert!(
                options.is_empty(),
                "{stack:?}: {n} of {responses}: {options:?}"
            );
        }
        assert_eq!(client.ended(PAUSE).await, Ended::Open, "{stack:?}");
        assert_eq!(reaper.closed(CloseReason::UnreadBody), 0, "{stack:?}");
    }
}

#[tokio::test]
async fn a_body_that_arrives_after_its_head_is_drained() {
    persists(&[POST, "abc", GET, GET], 3).await;
    persists(&[POST, &format!("abc{GET}"), GET], 3).await;
    persists(&[DELETE, &format!("abc{GET}"), GET], 3).await;
}

/// The transport is read ahead of the handler: the request with the body is begun when the head
/// behind it is there already.
#[tokio::test]
async fn a_body_is_not_taken_for_that_of_the_next_request() {
    persists(&[SLOW, POST, "abc", GET, GET], 4).await;
    persists(&[SLOW, &format!("{POST}abc"), GET, GET], 4).await;
    persists(&[&format!("{SLOW}{POST}"), "abc", GET, GET], 4).await;
    persists(&[SLOW, DELETE, "abc", GET, GET], 4).await;
}

#[tokio::test]
async fn a_response_is_not_early_because_a_later_body_arrives() {
    persists(&[&format!("{GET}{POST}"), "abc", GET], 3).await;
    persists(&[SLOW, POST, "abc", GET], 3).await;
    persists(&[SLOW, POST, &format!("abc{GET}"), GET], 4).await;
    persists(&[POST, &format!("abc{POST}"), "abc", GET], 3).await;
}

/// One read takes a part of the burst, which ends anywhere.
#[tokio::test]
async fn a_chunked_body_in_a_long_burst_is_drained() {
    let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 20_000, "x".repeat(20_000));
    persists(&[&format!("{CHUNKED}{large}{GET}"), GET], 3).await;
    let burst = format!("{}{CHUNKED}{large}{GET}", GET.repeat(20));
    persists(&[&burst, GET], 23).await;
    let small = format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n");
    persists(&[&small.repeat(400), GET], 401).await;
}

/// Nobody has told of the body when it is read, and its bytes are no head that would be late.
#[tokio::test]
async fn a_body_that_is_read_ahead_of_its_exchange_starts_no_head() {
    let mut clients = JoinSet::new();
    for stack in STACKS {
        let policy = Policy::safe().head(Duration::from_secs(1));
        let (_reaper, addr) = listen_with(stack, policy).await;
        clients.spawn(async move {
            let mut client = RawClient::connect(addr).await.expect("listening");
            for segment in [SLOW, DELETE, "abc"] {
                client.send(segment).await.expect("the server reads");
                tokio::time::sleep(PAUSE).await;
            }
            for _ in 0..2 {
                assert_eq!(client.read_response("GET").await.unwrap().status, 200);
            }
            let ended = client.ended(Duration::from_millis(2500)).await;
            let last = String::from_utf8_lossy(client.unread());
            assert_eq!(ended, Ended::Open, "{stack:?}: {last}");
        });
    }
    clients.join_all().await;
}

/// Without anything that drains: hyper closes after an answer that is early, and only after that.
#[tokio::test(start_paused = true)]
async fn an_early_answer_closes_and_not_the_one_before_it() {
    let early = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    for engine in Engine::HTTP1 {
        for requests in [
            format!("{GET}{early}"),
            format!("{POST}abc{GET}{early}half"),
        ] {
            let server = Server::new(engine, Policy::safe());
            let mut client = server.connect();
            client.send(&requests).await.unwrap();
            for _ in 0..requests.matches("POST / ").count() + 1 {
                let answer = client.read_response("GET").await.unwrap();
                assert!(!answer.fields.contains("connection"), "{engine:?}");
            }
            let answer = client.read_response("POST").await.unwrap();
            assert_eq!(answer.status, 401, "{engine:?}");
            assert_eq!(answer.tokens("connection"), ["close"], "{engine:?}");
        }
    }
}

/// axum applies a layer to the routes that are there when it is added.
#[tokio::test]
async fn an_early_answer_is_told_behind_a_request_that_the_layer_has_not_seen() {
    let reaper = IdleReaper::new(Policy::safe());
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = tcp.local_addr().expect("bound");
    let app = Router::new()
        .route("/early", post(async || "enough"))
        .layer(ReapLayer::new())
        .route("/", get(async || "hello"))
        .into_make_service_with_connect_info::<Connection>();
    tokio::spawn(axum::serve(reaper.listener(tcp), app).into_future());
    let mut client = RawClient::connect(addr).await.expect("listening");
    client.send(GET).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    let early = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    client.send(early).await.unwrap();
    let answer = client.read_response("POST").await.unwrap();
    assert_eq!(answer.text(), "enough");
    assert_eq!(answer.tokens("connection"), ["close"]);
}

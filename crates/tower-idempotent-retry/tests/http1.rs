//! Every way an HTTP/1 exchange fails, on real sockets, below hyper-util's legacy client: what it proves and
//! what follows.
#![cfg(feature = "hyper-util")]

#[path = "support/client.rs"]
mod client;

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use tower_conn_testkit::body::{Hint, Script};
use tower_conn_testkit::peer::{Exchange, ScriptedPeer};
use tower_idempotent_retry::{
    Classify, Decision, DefaultClassify, Evidence, RetryError, RetryLayer, RetryReason, StopReason,
};

use client::{Decided, TestClient};

fn stops(decided: &Decided) -> Option<StopReason> {
    match decided.decision {
        Decision::Stop(reason) => Some(reason),
        Decision::Retry(_) => None,
    }
}

fn evidence(error: &(dyn Error + 'static)) -> Evidence {
    DefaultClassify.classify(error).evidence()
}

/// A peer that treats the first request it is sent on a connection of this kind as told, and answers all others.
async fn failing(on_reused: bool, fail: fn(&mut Exchange) -> Fail) -> ScriptedPeer {
    ScriptedPeer::start(move |mut exchange| async move {
        let place = if on_reused { 2 } else { 1 };
        if exchange.connection() == 1 && exchange.nth() == place {
            match fail(&mut exchange) {
                Fail::Close => exchange.close(),
                Fail::Reset => exchange.reset(),
                Fail::Send(bytes) => {
                    exchange.send(bytes).await.unwrap();
                    exchange.close();
                }
            }
        } else {
            exchange.ok("fine").await.unwrap();
        }
    })
    .await
}

enum Fail {
    Close,
    Reset,
    Send(&'static str),
}

/// Sends a GET that fails and a POST that fails: the one is repeated, the other is not.
async fn is_ambiguous(on_reused: bool, fail: fn(&mut Exchange) -> Fail) {
    for (method, repeated) in [("GET", true), ("PUT", true), ("POST", false)] {
        let peer = failing(on_reused, fail).await;
        let client = TestClient::http1(RetryLayer::client());
        if on_reused {
            let first = client
                .send("GET", peer.uri("/first"), "")
                .await
                .expect("answered");
            first.into_body().collect().await.expect("a body");
            // The client has put the connection back by then.
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.decided();
        }
        let before = peer.requests().len();
        let body = if method == "GET" { "" } else { "hello" };
        let answer = client.send(method, peer.uri("/x"), body).await;
        let decided = client.decided();
        assert_eq!(
            decided[0].evidence,
            Evidence::Ambiguous,
            "{method}: {decided:?}"
        );
        assert_eq!(decided[0].reused, Some(on_reused), "{method}: {decided:?}");
        let seen = peer.requests().split_off(before);
        if repeated {
            assert_eq!(answer.expect("repeated").status(), StatusCode::OK);
            assert_eq!(peer.connections().len(), 2, "on a fresh connection");
            assert_eq!(seen.len(), 2);
            assert!(
                seen.iter().all(|it| it.request.body == body),
                "the body is replayed"
            );
            let reason = match decided[0].decision {
                Decision::Retry(retry) => retry.reason,
                Decision::Stop(reason) => panic!("stopped: {reason}"),
            };
            let expected = if on_reused {
                RetryReason::StaleConnection
            } else {
                RetryReason::NoResponse
            };
            assert_eq!(reason, expected);
        } else {
            answer.expect_err("not repeated");
            assert_eq!(stops(&decided[0]), Some(StopReason::Unsafe));
            assert_eq!(seen.len(), 1, "the POST reached the server once");
        }
    }
}

#[tokio::test]
async fn closed_after_the_head_on_a_new_connection() {
    is_ambiguous(false, |_| Fail::Close).await;
}

#[tokio::test]
async fn closed_after_the_head_on_a_reused_connection() {
    is_ambiguous(true, |_| Fail::Close).await;
}

#[tokio::test]
async fn closed_inside_the_response_head() {
    is_ambiguous(true, |_| Fail::Send("HTTP/1.1 200 OK\r\nContent-Le")).await;
    is_ambiguous(false, |_| Fail::Send("HTTP/1.1 200 OK\r\nContent-Le")).await;
}

#[tokio::test]
async fn reset_before_the_response() {
    is_ambiguous(true, |_| Fail::Reset).await;
    is_ambiguous(false, |_| Fail::Reset).await;
}

#[tokio::test]
async fn a_malformed_response() {
    is_ambiguous(false, |_| Fail::Send("SMTP ready\r\n\r\n")).await;
}

#[tokio::test]
async fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    let uri: Uri = format!("http://{addr}/").parse().expect("a URI");
    let client = TestClient::http1(RetryLayer::client());
    let error = client
        .send("POST", uri, "hello")
        .await
        .expect_err("nobody listens");
    let decided = client.decided();
    assert!(
        decided.iter().all(|it| it.evidence == Evidence::NotSent),
        "{decided:?}"
    );
    let error = error
        .downcast::<RetryError>()
        .expect("an error of the layer");
    assert_eq!(error.info().attempts, 3);
    assert!(!error.info().earlier_attempt_may_have_applied);
    let source = error.source().expect("the error of the client");
    assert!(
        source
            .downcast_ref::<legacy::Error>()
            .expect("unchanged")
            .is_connect()
    );
}

/// Closed with the request unread, while the client waits for the response.
#[tokio::test]
async fn accepted_and_closed() {
    for (method, attempts) in [("GET", 3), ("POST", 1)] {
        let peer = ScriptedPeer::on_connect(|mut connection| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            connection.close();
        })
        .await;
        let client = TestClient::http1(RetryLayer::client());
        client
            .send(method, peer.uri("/"), "")
            .await
            .expect_err("never answered");
        let decided = client.decided();
        assert!(
            decided.iter().all(|it| it.evidence == Evidence::Ambiguous),
            "{decided:?}"
        );
        assert!(
            decided.iter().all(|it| it.reused == Some(false)),
            "{decided:?}"
        );
        assert_eq!(decided.len(), attempts, "{method}");
    }
}

/// Closed at once: hyper may see that before it writes. Then it hands the request back unsent, also on a new
/// connection, and for ever (hyper-util#150), so that the number of attempts must bound it.
#[tokio::test]
async fn accepted_and_closed_at_once() {
    let peer = ScriptedPeer::on_connect(|mut connection| async move { connection.close() }).await;
    let client = TestClient::http1(RetryLayer::client());
    client
        .send("POST", peer.uri("/"), "")
        .await
        .expect_err("never answered");
    let decided = client.decided();
    let (last, earlier) = decided.split_last().expect("decisions");
    assert!(
        earlier.iter().all(|it| it.evidence == Evidence::NotSent),
        "{decided:?}"
    );
    match last.evidence {
        Evidence::NotSent => assert_eq!(decided.len(), 3),
        Evidence::Ambiguous => assert_eq!(stops(last), Some(StopReason::Unsafe)),
        other => panic!("{other:?}"),
    }
    assert!(peer.connections().len() <= 3);
}

#[tokio::test]
async fn inside_the_response_body() {
    let peer = failing(false, |_| {
        Fail::Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
    })
    .await;
    let client = TestClient::http1(RetryLayer::client());
    let answer = client.send("GET", peer.uri("/"), "").await.expect("a head");
    answer
        .into_body()
        .collect()
        .await
        .expect_err("the error reaches the reader");
    assert_eq!(peer.requests().len(), 1);
    assert_eq!(stops(&client.decided()[0]), Some(StopReason::Accepted));
}

#[tokio::test]
async fn stale_only_repeats_on_reused_connections_only() {
    for (on_reused, expected) in [(true, None), (false, Some(StopReason::NotStale))] {
        let peer = failing(on_reused, |_| Fail::Close).await;
        let client = TestClient::http1(RetryLayer::stale_only());
        if on_reused {
            let first = client
                .send("GET", peer.uri("/"), "")
                .await
                .expect("answered");
            first.into_body().collect().await.expect("a body");
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.decided();
        }
        let answer = client.send("GET", peer.uri("/"), "").await;
        assert_eq!(answer.is_ok(), on_reused);
        assert_eq!(stops(&client.decided()[0]), expected);
    }
}

/// A small body is read before the retry, so that its connection is used again.
#[tokio::test]
async fn a_small_failed_response_keeps_its_connection() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let head = if exchange.total() == 1 {
            "503 Busy"
        } else {
            "200 OK"
        };
        exchange
            .send(format!("HTTP/1.1 {head}\r\nContent-Length: 5\r\n\r\nhello"))
            .await
            .unwrap();
    })
    .await;
    let client = TestClient::http1(RetryLayer::client());
    // Give hyper the time to put the connection back.
    let answer = client
        .send("GET", peer.uri("/"), "")
        .await
        .expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.expect("a body");
    tokio::time::sleep(Duration::from_millis(20)).await;
    client
        .send("GET", peer.uri("/"), "")
        .await
        .expect("answered");
    assert_eq!(peer.requests().len(), 3);
    assert_eq!(
        peer.closed_connections(),
        0,
        "no connection was lost to the 503"
    );
}

/// The connection that is known to be closed is never written to: hyper hands the message back.
#[tokio::test]
async fn canceled_before_it_was_sent() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("fine").await.unwrap();
        exchange.close();
    })
    .await;
    let io = TokioIo::new(TcpStream::connect(peer.addr()).await.expect("connected"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("a handshake");
    let driver = tokio::spawn(connection);
    let request = || {
        Request::get("/")
            .header("host", "a")
            .body(Empty::<Bytes>::new())
            .expect("a request")
    };
    let first = sender.send_request(request()).await.expect("answered");
    first.into_body().collect().await.expect("a body");
    driver.await.expect("no panic").expect("a clean end");
    let error = sender.send_request(request()).await.expect_err("closed");
    assert!(error.is_canceled());
    assert_eq!(evidence(&error), Evidence::NotSent);
    assert_eq!(peer.requests().len(), 1);
}

/// The caller's own body fails: another attempt would, too.
#[tokio::test]
async fn the_request_body_fails() {
    let peer =
        ScriptedPeer::start(|mut exchange| async move { exchange.ok("fine").await.unwrap() }).await;
    let client: Client<_, tower_idempotent_retry::ReplayBody<_>> =
        Client::builder(TokioExecutor::new()).build_http();
    let client = tower::ServiceBuilder::new()
        .layer(RetryLayer::client())
        .service(client);
    let (body, _) = Script::new()
        .data("part")
        .error(7)
        .hint(Hint::Unknown)
        .body();
    let request = Request::put(peer.uri("/"))
        .body(Box::pin(body))
        .expect("a request");
    let error = client.oneshot(request).await.expect_err("the body failed");
    let info = error
        .downcast_ref::<RetryError>()
        .expect("an error of the layer")
        .info();
    assert_eq!((info.attempts, info.stopped), (1, StopReason::Permanent));
    let mut sources =
        std::iter::successors(Some(&*error as &(dyn Error + 'static)), |&it| it.source());
    assert!(
        sources.any(|it| it.to_string() == "scripted body error 7"),
        "the source's error is kept"
    );
}

/// TLS libraries report a certificate that is not trusted in this way.
#[tokio::test]
async fn a_connect_error_that_will_not_go_away() {
    for (kind, expected) in [
        (io::ErrorKind::InvalidData, Evidence::Permanent),
        (io::ErrorKind::TimedOut, Evidence::NotSent),
        (io::ErrorKind::ConnectionReset, Evidence::NotSent),
    ] {
        let connector = tower::service_fn(move |_: Uri| async move {
            Err::<TokioIo<TcpStream>, _>(io::Error::from(kind))
        });
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build(connector.map_future(Box::pin));
        let mut request = Request::new(Full::default());
        *request.uri_mut() = Uri::from_static("http://peer.example/");
        let error = client.request(request).await.expect_err("cannot connect");
        assert_eq!(evidence(&error), expected, "{kind}");
    }
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn the_errors_of_tower() {
    use tower::ServiceBuilder;

    let never = || tower::service_fn(|(): ()| std::future::pending::<Result<(), io::Error>>());
    let timeout = ServiceBuilder::new()
        .timeout(Duration::from_millis(1))
        .service(never());
    let error = timeout.oneshot(()).await.expect_err("timed out");
    assert_eq!(evidence(&*error), Evidence::Ambiguous);
    assert!(error.is::<tower::timeout::error::Elapsed>());

    let mut shed = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(never());
    let _busy = tower::Service::call(shed.ready().await.expect("ready"), ());
    let error = shed.ready().await.expect("always ready");
    let error = tower::Service::call(error, ())
        .await
        .expect_err("overloaded");
    assert_eq!(evidence(&*error), Evidence::NotSent);
}

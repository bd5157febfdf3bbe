//! The story of the dumb proxy, on the wire: an HTTP/1.0 client that would like to keep its
//! connection, and a proxy on the way that passes on `Connection` without knowing what it means.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower_conn_testkit::raw::{Ended, RawClient, RawStream};
use tower_keep_alive::{KeepAliveLayer, Role};

use support::{Body, hyper_server, text};

/// Long enough for an answer on loopback, and as long as a test can watch a client hang.
const PATIENCE: Duration = Duration::from_millis(300);

const CONNECTION: &str = "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n";
const PROXY_CONNECTION: &str = "GET / HTTP/1.0\r\nHost: a\r\nProxy-Connection: Keep-Alive\r\n\r\n";

/// What the client meets with its second request.
#[derive(Debug, PartialEq, Eq)]
enum Second {
    /// It was told to use a new connection.
    NotOnThisConnection,
    /// It was answered on the same one.
    Answered,
    /// It believed that the connection persists, and waits for ever.
    Hangs,
}

async fn second_request(proxy: SocketAddr, request: &str) -> Second {
    let mut client = RawClient::connect(proxy).await.unwrap().deadline(PATIENCE);
    client.send(request).await.unwrap();
    // Not to its end: a client knows that from the length.
    let first = client.read_response("GET").await.unwrap();
    assert_eq!(first.body, "hello");
    let told = [first.tokens("connection"), first.tokens("proxy-connection")].concat();
    if !told.iter().any(|option| option == "keep-alive") {
        assert_eq!(client.ended(PATIENCE).await, Ended::Fin);
        return Second::NotOnThisConnection;
    }
    client.send(request).await.unwrap();
    match client.read_response("GET").await {
        Ok(second) => {
            assert_eq!(second.body, "hello");
            Second::Answered
        }
        Err(_) => Second::Hangs,
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An origin server that honours HTTP/1.0 keep-alive, as most do.
async fn origin() -> SocketAddr {
    let hello = |_| async { Response::new(text("hello")) };
    hyper_server(KeepAliveLayer::new(), hello).await
}

/// Passes on the head of one request as it is, and then bytes until the other side closes.
async fn dumb_proxy(next: SocketAddr) -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut client = RawStream::over(client);
                let request = client.read_request_head().await.unwrap();
                let mut next = TcpStream::connect(next).await.unwrap();
                next.write_all(&request.raw).await.unwrap();
                let (mut client, _) = client.into_parts();
                tokio::io::copy(&mut next, &mut client).await.unwrap();
            });
        }
    });
    addr
}

/// Understands `Proxy-Connection`: keeps the client's connection, and has one of its own to the origin.
async fn smart_proxy(origin: SocketAddr) -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut client = RawStream::over(client);
                while let Ok(request) = client.read_request().await {
                    let keep = request.tokens("proxy-connection") == ["keep-alive"];
                    assert!(keep, "the tests send nothing else");
                    let body = fetch(origin).await;
                    let head = format!(
                        "HTTP/1.0 200 OK\r\nProxy-Connection: Keep-Alive\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    client.send(head + &body).await.unwrap();
                }
            });
        }
    });
    addr
}

async fn fetch(origin: SocketAddr) -> String {
    let mut next = RawClient::connect(origin).await.unwrap();
    next.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    next.read_response("GET").await.unwrap().text().to_owned()
}

/// A proxy with the layer, in this role towards its clients.
async fn our_proxy(role: Role, origin: SocketAddr) -> SocketAddr {
    let forward = move |_: Request<_>| async move {
        let body: Body = support::owned(fetch(origin).await);
        Response::new(body)
    };
    hyper_server(KeepAliveLayer::new().role(role), forward).await
}

#[tokio::test]
async fn a_proxy_that_passes_connection_on_hangs_the_client() {
    let dumb = dumb_proxy(origin().await).await;
    assert_eq!(second_request(dumb, CONNECTION).await, Second::Hangs);
}

#[tokio::test]
async fn ours_in_its_place_does_not() {
    let origin = origin().await;
    let proxy = our_proxy(Role::Proxy, origin).await;
    let second = second_request(proxy, CONNECTION).await;
    assert_eq!(second, Second::NotOnThisConnection);

    let gateway = our_proxy(Role::Origin, origin).await;
    assert_eq!(second_request(gateway, CONNECTION).await, Second::Answered);
}

#[tokio::test]
async fn proxy_connection_works_with_one_smart_proxy_and_is_lost_on_a_dumb_one() {
    let origin = origin().await;
    let smart = smart_proxy(origin).await;
    let second = second_request(smart, PROXY_CONNECTION).await;
    assert_eq!(second, Second::Answered);

    let dumb = dumb_proxy(origin).await;
    let second = second_request(dumb, PROXY_CONNECTION).await;
    assert_eq!(second, Second::NotOnThisConnection);
}

#[tokio::test]
async fn proxy_connection_hangs_the_client_of_a_dumb_proxy_beside_a_smart_one() {
    let dumb = dumb_proxy(smart_proxy(origin().await).await).await;
    let second = second_request(dumb, PROXY_CONNECTION).await;
    assert_eq!(second, Second::Hangs);
}

#[tokio::test]
async fn ours_in_the_place_of_the_smart_one_does_not() {
    let origin = origin().await;
    for role in [Role::Proxy, Role::Origin] {
        let ours = our_proxy(role, origin).await;
        for first in [ours, dumb_proxy(ours).await] {
            let second = second_request(first, PROXY_CONNECTION).await;
            assert_eq!(second, Second::NotOnThisConnection, "{role:?}");
        }
    }
}

/// With both fields there is a hint that a dumb proxy is on the way, and it is taken.
#[tokio::test]
async fn an_origin_does_not_persist_where_proxy_connection_has_been_passed_on() {
    let both = CONNECTION.replace("\r\n\r\n", "\r\nProxy-Connection: Keep-Alive\r\n\r\n");
    let dumb = dumb_proxy(origin().await).await;
    let second = second_request(dumb, &both).await;
    assert_eq!(second, Second::NotOnThisConnection);
}

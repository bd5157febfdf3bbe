//! `Connection` under an unmodified `axum::serve`.
#![cfg(feature = "axum")]

use axum::extract::{ConnectInfo, Request};
use axum::{Router, routing::get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_conn_core::{Connection, ConnectionListener, Side};

async fn describe(ConnectInfo(info): ConnectInfo<Connection>, request: Request) -> String {
    let found = Connection::of(request.extensions()).expect("a connection");
    assert_eq!(*found, info);
    assert_eq!(found.side(), Side::Server);
    format!("{} {:?}", found.id(), found.peer_addr())
}

async fn get_twice(addr: std::net::SocketAddr) -> (Vec<String>, std::net::SocketAddr) {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    let mut bodies = Vec::new();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .expect("writes");
        let mut seen = String::new();
        while !seen.ends_with(')') {
            let mut buf = [0; 1024];
            let n = stream.read(&mut buf).await.expect("reads");
            assert_ne!(n, 0, "closed after {seen:?}");
            seen.push_str(std::str::from_utf8(&buf[..n]).expect("text"));
        }
        bodies.push(seen.rsplit("\r\n\r\n").next().expect("a body").to_owned());
    }
    (bodies, stream.local_addr().expect("an address"))
}

#[tokio::test]
async fn requests_of_one_connection_share_its_handle() {
    let app = Router::new().route("/", get(describe));
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let wrapped = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addrs = [
        plain.local_addr().expect("bound"),
        wrapped.local_addr().expect("bound"),
    ];
    let make = app.into_make_service_with_connect_info::<Connection>();
    tokio::spawn(axum::serve(plain, make.clone()).into_future());
    tokio::spawn(axum::serve(ConnectionListener::new(wrapped), make).into_future());

    let mut ids = Vec::new();
    for addr in [addrs[0], addrs[0], addrs[1]] {
        let (bodies, local) = get_twice(addr).await;
        assert_eq!(bodies[0], bodies[1], "one connection, one handle");
        assert!(
            bodies[0].ends_with(&format!("{:?}", Some(local))),
            "{}",
            bodies[0]
        );
        ids.push(bodies[0].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each connection has a handle of its own");
}

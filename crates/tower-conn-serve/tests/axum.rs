//! An axum application under this server, and under `axum::serve`.
#![cfg(feature = "axum")]

mod support;

use std::future::IntoFuture;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use support::{millis, secs};
use tokio::net::TcpListener;
use tower_conn_core::Connection;
use tower_conn_serve::{CloseReason, Server, serve};
use tower_conn_testkit::raw::RawClient;

async fn whoami(ConnectInfo(addr): ConnectInfo<SocketAddr>) -> String {
    addr.to_string()
}

async fn connection(request: axum::extract::Request) -> String {
    let connection = Connection::of(request.extensions()).expect("every request has one");
    let exchanges = connection.exchanges_begun();
    format!("{} {:?}", exchanges, connection.peer_addr())
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/whoami", get(whoami))
        .route("/connection", get(connection))
}

async fn ask(client: &mut RawClient, path: &str) -> String {
    client.send(support::get(path)).await.expect("it reads");
    let answer = client.read_response("GET").await.expect("it answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.body.to_vec()).expect("text")
}

#[tokio::test]
async fn a_router_is_served_as_it_is() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = serve(tcp, app()).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let addr = serve.local_addr().unwrap();
    let serving = tokio::spawn(serve.into_future());
    let mut client = RawClient::connect(addr).await.unwrap();
    assert_eq!(ask(&mut client, "/").await, "hello");
    let me = client.local_addr().unwrap();
    assert_eq!(
        ask(&mut client, "/connection").await,
        format!("2 {:?}", Some(me))
    );
    stop.send(()).unwrap();
    let summary = serving.await.unwrap().unwrap();
    assert_eq!((summary.open, summary.drained, summary.cut), (1, 1, 0));
    assert_eq!(summary.reasons, [(CloseReason::Draining, 1)]);
}

#[tokio::test]
async fn connect_info_is_the_same_as_under_axum_serve() {
    for ours in [true, false] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let make = app().into_make_service_with_connect_info::<SocketAddr>();
        if ours {
            tokio::spawn(serve(tcp, make).into_future());
        } else {
            tokio::spawn(axum::serve(tcp, make).into_future());
        }
        let mut client = RawClient::connect(addr).await.unwrap();
        let me = client.local_addr().unwrap().to_string();
        assert_eq!(ask(&mut client, "/whoami").await, me, "ours: {ours}");

        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let make = app()
            .layer(tower_idle_reaper::ReapLayer::new())
            .into_make_service_with_connect_info::<Connection>();
        if ours {
            tokio::spawn(serve(tcp, make).into_future());
        } else {
            tokio::spawn(axum::serve(tcp, make).into_future());
        }
        let mut client = RawClient::connect(addr).await.unwrap();
        let me = client.local_addr().unwrap();
        ask(&mut client, "/").await;
        let seen = ask(&mut client, "/connection").await;
        assert_eq!(seen, format!("2 {:?}", Some(me)), "ours: {ours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_after_it_was_parked() {
    let (sender, listener) = support::PipeListener::new();
    let serve = Server::new().serve(listener, app());
    let handle = serve.handle();
    tokio::spawn(serve.into_future());
    let (near, far) = tokio::io::duplex(1024);
    sender
        .send((far, SocketAddr::from(([127, 0, 0, 1], 9))))
        .ok()
        .unwrap();
    let mut client = RawClient::over(near).deadline(secs(100));
    for round in 1..4 {
        client.send(support::get("/connection")).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        let text = format!("{round} Some(127.0.0.1:9)");
        assert_eq!(answer.body, text.as_bytes());
        tokio::time::sleep(millis(3000)).await;
        let stats = handle.stats();
        assert_eq!(
            (stats.parks, stats.parked, stats.unparks),
            (round, 1, round - 1)
        );
    }
}

//! What a connection under a reaper takes beyond what hyper takes for it, in bytes of heap.
#![cfg(feature = "hyper")]

use std::convert::Infallible;
use std::future::{Ready, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{Layer, service_fn};
use tower_idle_reaper::{IdleReaper, Policy, ReapLayer};

/// As many as one chunk of the registry holds, so that each has its share of it.
const CONNECTIONS: u64 = 1024;

fn hello(_: Request<Incoming>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("hello"))))
}

/// Bytes for each connection that has had its request answered and is idle.
fn idle_connection(serve: impl Fn(DuplexStream)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut clients = Vec::with_capacity(CONNECTIONS as usize);
    let spent = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..CONNECTIONS {
                let (mut client, far) = duplex(256);
                serve(far);
                client
                    .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    .await
                    .expect("taken");
                let mut seen = [0; 256];
                assert!(client.read(&mut seen).await.expect("answered") > 0);
                clients.push(client);
            }
            // The servers' turn: to go idle.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    });
    drop(clients);
    drop(runtime);
    u64::try_from(spent.bytes_current).expect("more than nothing") / CONNECTIONS
}

#[test]
fn a_reaper_takes_few_bytes_beyond_hyper() {
    let plain = idle_connection(|io| {
        let service = TowerToHyperService::new(service_fn(hello));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    });
    let reaper = IdleReaper::new(Policy::safe());
    let reaped = idle_connection(|io| {
        let io = reaper.wrap(io, None);
        let connection = io.connection();
        let service = ReapLayer::of(connection.clone()).layer(service_fn(hello));
        let service = TowerToHyperService::new(service);
        let serving = http1::Builder::new().serve_connection(TokioIo::new(io), service);
        tokio::spawn(reaper.watch(serving, connection));
    });
    println!("plain {plain}, reaped {reaped}: {} more", reaped - plain);
    assert!(reaped - plain <= 312, "{plain} and {reaped}");
}

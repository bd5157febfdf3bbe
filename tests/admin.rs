//! The admin side of the gateway: what `/metrics` says after known traffic, and how the pages are served.

#[path = "support/prometheus.rs"]
mod prometheus;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::process::Command;
use std::time::Duration;

use prometheus::Metrics;
use support::{Example, path_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use upstream::Upstream;

fn gateway(upstream: &Upstream, flags: &[&str]) -> Example {
    let to = format!("http://{}", upstream.addr);
    let mut all = vec!["--admin", "127.0.0.1:0", "--upstream", &to];
    all.extend(flags);
    Example::start("gateway", &all)
}

/// Asks the admin side: a request line, on a connection of its own.
async fn http(addr: &str, line: &str) -> String {
    let mut stream = connect(addr).await;
    send(
        &mut stream,
        &format!("{line}Host: a\r\nConnection: close\r\n\r\n"),
    )
    .await;
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("reads to the end");
    response
}

async fn connect(addr: &str) -> TcpStream {
    TcpStream::connect(addr).await.expect("connects")
}

async fn send(stream: &mut TcpStream, requests: &str) {
    stream.write_all(requests.as_bytes()).await.expect("sends");
}

/// Scrapes until the metrics say so, and returns them.
async fn scrape(gateway: &Example, done: impl Fn(&Metrics) -> bool) -> Metrics {
    for _ in 0..200 {
        let response = http(gateway.admin(), "GET /metrics HTTP/1.1\r\n").await;
        let metrics = Metrics::parse(response.split_once("\r\n\r\n").expect("a head").1);
        if done(&metrics) {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "it did not come to that: {}",
        http(gateway.admin(), "GET /metrics HTTP/1.1\r\n").await
    );
}

const GET: &str = "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn known_traffic_is_counted_exactly() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &["--idle-timeout", "3s"]);

    // Three on one connection, of which the last asks for its end.
    let mut client = connect(&gateway.addr).await;
    for _ in 0..2 {
        send(&mut client, GET).await;
        upstream::read_response(&mut client).await;
    }
    send(
        &mut client,
        "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close, X-Own\r\nX-Own: 1\r\n\r\n",
    )
    .await;
    let mut rest = String::new();
    client
        .read_to_string(&mut rest)
        .await
        .expect("reads to the end");
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");

    // The connection that this one reuses is cut, so that it is sent again on a new one.
    let mut client = connect(&gateway.addr).await;
    send(&mut client, "GET /cut-once HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream::read_response(&mut client).await;
    drop(client);

    // Three pipelined ones, answered once all of them have arrived at the upstream.
    let mut client = connect(&gateway.addr).await;
    send(
        &mut client,
        &"GET /three HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3),
    )
    .await;
    for _ in 0..3 {
        upstream::read_response(&mut client).await;
    }
    drop(client);

    // One that is refused, on a connection that then idles until it is closed.
    let mut idle = connect(&gateway.addr).await;
    send(&mut idle, "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.read_to_string(&mut String::new())
        .await
        .expect("is closed when it has idled");

    // One in progress, and one that never sends anything.
    let mut busy = connect(&gateway.addr).await;
    send(&mut busy, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let silent = connect(&gateway.addr).await;

    let metrics = scrape(&gateway, |metrics| {
        metrics.get(r#"closes_total{side="server",reason="idle"}"#) == 1.0
            && metrics.get(r#"exchanges_open{side="client"}"#) == 1.0
            // The states are read before the counts, so that an exchange may begin in between.
            && metrics.get(r#"connections{side="client",state="active"}"#) == 1.0
            && metrics.get(r#"connections_opened_total{side="server"}"#) == 6.0
    })
    .await;
    metrics.assert(&[
        (r#"connections{side="server",state="active"}"#, 1.0),
        (r#"connections{side="server",state="idle"}"#, 1.0),
        (r#"connections{side="server",state="draining"}"#, 0.0),
        (r#"connections{side="server",state="tunnel"}"#, 0.0),
        (r#"connections{side="client",state="active"}"#, 1.0),
        (r#"connections{side="client",state="idle"}"#, 2.0),
        (r#"connections_opened_total{side="client"}"#, 4.0),
        (
            r#"closes_total{side="server",reason="peer_requested"}"#,
            1.0,
        ),
        (r#"closes_total{side="server",reason="peer_closed"}"#, 2.0),
        (r#"closes_total{side="server",reason="max_age"}"#, 0.0),
        (r#"closes_total{side="client",reason="peer_closed"}"#, 1.0),
        // Eight requests, of which one was sent twice; and the one in progress.
        (r#"exchanges_total{side="server"}"#, 8.0),
        (r#"exchanges_total{side="client"}"#, 9.0),
        (r#"exchanges_open{side="server"}"#, 1.0),
        (r#"exchanges_reused_total{side="server"}"#, 4.0),
        (r#"exchanges_reused_total{side="client"}"#, 6.0),
        (r#"responses_total{side="server",status="2xx"}"#, 7.0),
        (r#"responses_total{side="server",status="4xx"}"#, 1.0),
        (r#"responses_total{side="client",status="2xx"}"#, 7.0),
        (r#"responses_total{side="client",status="4xx"}"#, 1.0),
        (r#"response_seconds_count{side="server"}"#, 8.0),
        (r#"retries_total{reason="stale_connection"}"#, 1.0),
        (r#"retries_total{reason="no_response"}"#, 0.0),
        (r#"strips_total{message="request",kind="hop_by_hop"}"#, 1.0),
        (r#"strips_total{message="request",kind="nominated"}"#, 1.0),
        (r#"strips_total{message="response",kind="hop_by_hop"}"#, 0.0),
        (r#"pipelined_total{event="started"}"#, 2.0),
        (r#"pipelined_total{event="taken"}"#, 2.0),
        (r#"pipelined_total{event="discarded"}"#, 0.0),
        ("pipeline_depth_sum", 3.0),
        (r#"pipeline_depth_bucket{le="1"}"#, 1.0),
        ("page_dropped_connections_total", 0.0),
        ("pool_waiting", 0.0),
    ]);
    // Two of the ports are those of connections that were closed by the upstream: they are free.
    let ports = format!("ports_used{{destination=\"{}\"}}", upstream.addr);
    assert_eq!(metrics.get(&ports), 3.0);
    assert!(metrics.get("ports_limit") > 1000.0);
    let balance = metrics.get("retry_budget");
    assert!((1.0..=100.0).contains(&balance), "{balance}");
    drop(silent);
}

#[tokio::test]
async fn tunnels_are_a_state_of_their_own() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &[]);
    let mut client = connect(&gateway.addr).await;
    send(
        &mut client,
        "GET /switch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .await;
    let metrics = scrape(&gateway, |metrics| {
        metrics.get(r#"connections{side="server",state="tunnel"}"#) == 1.0
            && metrics.get(r#"connections{side="client",state="tunnel"}"#) == 1.0
    })
    .await;
    metrics.assert(&[
        (r#"connections{side="server",state="active"}"#, 0.0),
        (r#"connections{side="client",state="idle"}"#, 0.0),
        (r#"responses_total{side="server",status="1xx"}"#, 1.0),
    ]);
    drop(client);
    scrape(&gateway, |metrics| {
        metrics.get(r#"connections{side="server",state="tunnel"}"#) == 0.0
            && metrics.get(r#"connections{side="client",state="tunnel"}"#) == 0.0
    })
    .await;
}

#[tokio::test]
async fn the_pages_are_read_and_nothing_else() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &[]);
    let ask = |line: &'static str| http(gateway.admin(), line);

    let page = ask("GET / HTTP/1.1\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"));
    assert!(page.contains("content-security-policy: default-src 'none';"));
    assert!(
        !page.contains("http-equiv") && !page.contains("src=\"http"),
        "asks nobody else"
    );

    let metrics = ask("GET /metrics?x HTTP/1.1\r\n").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));

    let json = ask("GET /connections.json?side=client HTTP/1.1\r\n").await;
    assert!(json.contains("content-type: application/json\r\n"));
    let body = json.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str::<serde_json::Value>(body).expect("JSON");

    for target in ["/", "/metrics", "/connections.json"] {
        let head = http(gateway.admin(), &format!("HEAD {target} HTTP/1.1\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.ends_with("\r\n\r\n") && head.contains("content-length: "),
            "{head}"
        );
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = http(gateway.admin(), &format!("{method} {target} HTTP/1.1\r\n")).await;
            assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
            assert!(refused.contains("allow: GET, HEAD\r\n"), "{refused}");
        }
    }
    assert!(
        ask("GET /favicon.ico HTTP/1.1\r\n")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}

#[tokio::test]
async fn the_pages_show_the_drain_and_do_not_hold_up_the_end() {
    let upstream = Upstream::start().await;
    let mut gateway = gateway(&upstream, &["--drain-timeout", "6s"]);
    let mut busy = connect(&gateway.addr).await;
    send(&mut busy, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    scrape(&gateway, |metrics| {
        metrics.get(r#"connections{side="server",state="active"}"#) == 1.0
    })
    .await;
    // Browsers keep connections of which they do not say what they are for.
    let mut kept = connect(gateway.admin()).await;
    send(&mut kept, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream::read_response(&mut kept).await;
    let silent = connect(gateway.admin()).await;

    let sent = Command::new("kill").arg(gateway.id().to_string()).status();
    assert!(sent.expect("kill runs").success());
    scrape(&gateway, |metrics| {
        metrics.get(r#"connections{side="server",state="draining"}"#) == 1.0
    })
    .await;
    let status = tokio::time::timeout(Duration::from_secs(30), gateway.ended());
    assert!(status.await.expect("it ends").success());
    drop((busy, kept, silent));
}

#[tokio::test]
async fn an_address_that_is_taken_is_explained() {
    let upstream = Upstream::start().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let addr = taken.local_addr().expect("bound").to_string();
    let output = Command::new(path_of("gateway"))
        .args(["--listen", "127.0.0.1:0", "--admin", &addr])
        .args(["--upstream", &format!("http://{}", upstream.addr)])
        .output()
        .expect("runs");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains(&format!("cannot listen on {addr} for --admin")),
        "{text}"
    );
}

//! `examples/forward_proxy`, by curl and by raw sockets.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tower_conn_testkit::peer::{ScriptedPeer, Seen};
use tower_conn_testkit::raw::{Ended, RawClient};

use support::Example;
use tls::TlsServer;

fn proxy(flags: &[&str]) -> Example {
    Example::start("forward_proxy", flags)
}

async fn connect(proxy: &Example) -> RawClient {
    let addr: SocketAddr = proxy.addr.parse().expect("an address");
    RawClient::connect(addr).await.expect("it listens")
}

/// What an origin answers with `hi`, for ever.
async fn origin() -> ScriptedPeer {
    ScriptedPeer::start(|mut exchange| async move {
        exchange.ok("hi").await.expect("an open connection");
    })
    .await
}

/// Runs curl to its end while the servers of the test go on; `None` where there is no curl.
async fn curl(args: &[&str]) -> Option<(Option<i32>, String)> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(args);
    match tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
    {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((
                output.status.code(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(error) => {
            println!("curl: {error}, skipped");
            None
        }
    }
}

#[tokio::test]
async fn curl_fetches_http_over_kept_connections() {
    let (proxy, origin) = (proxy(&["--via", "here"]), origin().await);
    let url = origin.uri("/").to_string();
    let via = format!("http://{}", proxy.addr);
    let format = "%{num_connects} %{http_code}\n";
    let Some((code, text)) = curl(&["-x", &via, "-w", format, &url, &url]).await else {
        return;
    };
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        text, "hi1 200\nhi0 200\n",
        "the second on the same connection"
    );
    assert_eq!(origin.connections().len(), 1);
    for seen in origin.requests() {
        let fields = &seen.request.fields;
        assert_eq!(seen.request.target, "/", "origin-form to an origin");
        assert_eq!(fields.text("via").as_deref(), Some("1.1 here"));
        assert_eq!(fields.text("host"), Some(origin.addr().to_string()));
        assert!(!fields.contains("proxy-connection"), "{:?}", fields.names());
    }
}

#[tokio::test]
async fn curl_fetches_https_through_a_tunnel() {
    let server = TlsServer::start("proxy-https", &[b"h2", b"http/1.1"]).await;
    let port = server.addr.port().to_string();
    let proxy = proxy(&["--connect-ports", &port]);
    let via = format!("http://{}", proxy.addr);
    let ca = server.ca.to_str().expect("a path");
    let (url, format) = (server.url(), "%{http_connect} %{http_code}\n");
    let args = [
        "-x",
        &via,
        "--noproxy",
        "",
        "--cacert",
        ca,
        "-w",
        format,
        &url,
        &url,
    ];
    let Some((code, text)) = curl(&args).await else {
        return;
    };
    assert_eq!(code, Some(0), "{text}");
    let (first, second) = ("hello over TLS\n200 200\n", "hello over TLS\n");
    assert!(text.starts_with(&format!("{first}{second}")), "{text}");
    assert_eq!(server.accepted(), 1);

    let refused = Example::start("forward_proxy", &[]);
    let via = format!("http://{}", refused.addr);
    let args = [
        "-x",
        &via,
        "--noproxy",
        "",
        "--cacert",
        ca,
        "-w",
        format,
        &url,
    ];
    let (code, text) = curl(&args).await.expect("curl, as above");
    assert_ne!(code, Some(0));
    assert!(text.contains("403"), "only 443 by default: {text}");
}

/// RFC 9112 section 9.3: a proxy persists with no HTTP/1.0 client. Neither field is relayed, so the origin cannot
/// take either for a wish of the proxy (HTTP: The Definitive Guide, chapter 4).
#[tokio::test]
async fn an_http10_client_is_told_close_and_the_origin_nothing() {
    let (proxy, origin) = (proxy(&[]), origin().await);
    let url = origin.uri("/");
    for fields in [
        "Proxy-Connection: Keep-Alive\r\n",
        "Connection: Keep-Alive\r\n",
        "Proxy-Connection: Keep-Alive\r\nVia: 1.0 dumb\r\n",
        "Proxy-Connection: Keep-Alive\r\nConnection: Keep-Alive\r\n",
        "",
    ] {
        let mut client = connect(&proxy).await;
        let head = format!("GET {url} HTTP/1.0\r\n{fields}\r\n");
        client.send(head).await.expect("an open connection");
        let response = client.read_response("GET").await.expect("a response");
        assert_eq!((response.status, response.text()), (200, "hi"));
        let told = response.tokens("connection");
        assert!(told.is_empty() || told == ["close"], "{fields}{told:?}");
        assert!(!response.fields.contains("proxy-connection"));
        let ended = client.ended(Duration::from_secs(10)).await;
        assert_eq!(ended, Ended::Fin, "{fields}");
    }
    let seen = origin.requests();
    assert_eq!(seen.len(), 5);
    for Seen { request, .. } in &seen {
        assert!(!request.fields.contains("proxy-connection"));
        assert!(!request.fields.contains("connection"));
    }
    assert_eq!(
        origin.connections().len(),
        1,
        "kept by the proxy for itself"
    );
}

#[tokio::test]
async fn an_http11_client_is_kept_unless_it_says_close_to_the_proxy() {
    let (proxy, origin) = (proxy(&[]), origin().await);
    let url = origin.uri("/");
    let mut client = connect(&proxy).await;
    for (fields, closes) in [
        ("Proxy-Connection: x\r\n", false),
        ("Proxy-Connection: close\r\n", true),
    ] {
        let head = format!("GET {url} HTTP/1.1\r\nHost: other\r\n{fields}\r\n");
        client.send(head).await.expect("an open connection");
        let response = client.read_response("GET").await.expect("a response");
        assert_eq!(
            response.tokens("connection").contains(&"close".to_owned()),
            closes
        );
    }
    assert_eq!(client.ended(Duration::from_secs(10)).await, Ended::Fin);
    let hosts: Vec<_> = origin
        .requests()
        .iter()
        .map(|seen| seen.request.fields.text("host"))
        .collect();
    assert_eq!(
        hosts,
        vec![Some(origin.addr().to_string()); 2],
        "the target replaces Host"
    );
}

/// The status and the reason with which a request is answered.
async fn answer(proxy: &Example, head: &str) -> (u16, String) {
    let mut client = connect(proxy).await;
    client.send(head).await.expect("an open connection");
    let method = head.split(' ').next().expect("a method");
    let response = client.read_response(method).await.expect("a response");
    (response.status, response.text().to_owned())
}

#[tokio::test]
async fn what_it_cannot_do_is_said_by_a_status() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let closed = closed.expect("binds").local_addr().expect("bound");
    let silent = ScriptedPeer::start(|_| std::future::pending()).await;
    let broken = ScriptedPeer::start(|mut exchange| async move { exchange.close() }).await;
    let proxy = proxy(&[
        "--connect-ports",
        "any",
        "--request-timeout",
        "2s",
        "--via",
        "here",
    ]);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let tunnel = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (head, status, reason) in [
        (get("/"), 400, "absolute"),
        (get("https://a.example/"), 501, "CONNECT"),
        (get("ftp://a.example/"), 501, "CONNECT"),
        (get(&format!("http://{closed}/")), 502, "reached"),
        (
            get(&format!("http://{}/", broken.addr())),
            502,
            "failed before it answered",
        ),
        (get(&format!("http://{}/", silent.addr())), 504, "in time"),
        (tunnel(&closed.to_string()), 502, "refused"),
        (tunnel("127.0.0.1:0"), 400, "HOST:PORT"),
        (tunnel("127.0.0.1"), 400, "HOST:PORT"),
        // RFC 9110 section 7.6.3: the proxy is asked for itself, and knows its name.
        (get(&format!("http://{}/", proxy.addr)), 508, ""),
        (
            get("http://a.example/").replace("Host", "Via: 1.0 fred, 1.1 HERE\r\nHost"),
            508,
            "",
        ),
    ] {
        let (got, text) = answer(&proxy, &head).await;
        assert_eq!(got, status, "{head}{text}");
        assert!(text.contains(reason), "{head}{text}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_502_or_a_504_if_that_takes_long() {
    let flags = ["--connect-ports", "any", "--retries", "0"];
    let proxy = proxy(&[&flags[..], &["--connect-timeout", "3s"]].concat());
    for head in [
        "GET http://does-not-exist.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT does-not-exist.invalid:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let (status, text) = answer(&proxy, head).await;
        assert!([502, 504].contains(&status), "{status} {text}");
        assert!(text.contains("could not be reached"), "{text}");
    }
}

#[tokio::test]
async fn another_proxy_on_the_way_is_no_loop() {
    let (proxy, origin) = (proxy(&[]), origin().await);
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nVia: 1.1 another\r\n\r\n",
        origin.uri("/")
    );
    assert_eq!(answer(&proxy, &head).await, (200, "hi".to_owned()));
    let via = origin.requests()[0].request.fields.all("via").len();
    assert_eq!(via, 2);
}

#[tokio::test]
async fn a_tunnel_passes_half_closes_and_ends_when_it_idles() {
    // Answers when the client has finished sending, as a shell over a socket would.
    let server = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let addr = server.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut peer = RawClient::over(stream);
                let (sent, _) = peer.read_to_end().await.expect("an end");
                peer.send(sent).await.expect("half of it is open");
            });
        }
    });
    let proxy = proxy(&["--connect-ports", "any", "--tunnel-idle", "3s"]);
    let connect_head = format!("CONNECT {addr} HTTP/1.1\r\nHost: {addr}\r\n\r\n");

    let mut client = connect(&proxy).await;
    // The first bytes need not wait for the answer.
    let head = [connect_head.as_bytes(), b"one "].concat();
    client.send(head).await.expect("an open connection");
    let response = client.read_response("CONNECT").await.expect("a response");
    assert_eq!(response.status, 200);
    assert!(response.fields.text("content-length").is_none());
    client.send("two").await.expect("an open tunnel");
    client.half_close().await.expect("an open tunnel");
    let (echo, ended) = client.read_to_end().await.expect("an end");
    assert_eq!((&echo[..], ended), (&b"one two"[..], Ended::Fin));

    let mut idle = connect(&proxy).await;
    idle.send(connect_head).await.expect("an open connection");
    let response = idle.read_response("CONNECT").await.expect("a response");
    assert_eq!(response.status, 200);
    assert_ne!(idle.ended(Duration::from_secs(20)).await, Ended::Open);
}

#[tokio::test]
async fn an_upgrade_passes_to_the_origin() {
    let echo = ScriptedPeer::start(|mut exchange| async move {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        exchange.send(head).await.expect("an open connection");
        let stream = exchange.stream().expect("an open connection");
        let bytes = stream.read_bytes(4).await.expect("four bytes");
        exchange.send(bytes).await.expect("an open connection");
    })
    .await;
    let proxy = proxy(&[]);
    let mut client = connect(&proxy).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        echo.uri("/")
    );
    client.send(head).await.expect("an open connection");
    let response = client.read_response("GET").await.expect("a response");
    assert_eq!(response.status, 101);
    client.send("ping").await.expect("an open connection");
    assert_eq!(&client.read_bytes(4).await.expect("an echo")[..], b"ping");
}

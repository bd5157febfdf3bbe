//! Under and over the TLS of rustls: handshakes, farewells, lingering.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower_conn_core::CloseReason;
use tower_idle_reaper::{IdleReaper, Linger, Policy, ReapedIo};

struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a configuration");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        }
    }

    fn serve<T>(&self, reaper: &IdleReaper, engine: Engine, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (reaper, acceptor) = (reaper.clone(), self.acceptor.clone());
        tokio::spawn(async move {
            let tcp = reaper.wrap(io, None).under_tls();
            let connection = tcp.connection();
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let io = ReapedIo::over_tls(tls, &connection).expect("a reaper's");
            drive(engine, &reaper, io, Arc::default()).await;
        });
    }

    async fn connect(&self, reaper: &IdleReaper, engine: Engine) -> Client {
        let (near, far) = duplex(64 * 1024);
        self.serve(reaper, engine, far);
        let name = ServerName::try_from("localhost").expect("a name");
        let io = self
            .connector
            .connect(name, near)
            .await
            .expect("a handshake");
        Client(io)
    }
}

struct Client(TlsStream<DuplexStream>);

impl Client {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Reads as far as this text.
    async fn read_until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            let n = self.0.read_buf(&mut seen).await.expect("readable");
            assert!(n > 0, "ended after {:?}", String::from_utf8_lossy(&seen));
        }
        String::from_utf8(seen).expect("text")
    }

    /// What is left; an error unless a close_notify ends it. Then a FIN must come.
    async fn read_to_close_notify_and_fin(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await?;
        let (transport, _) = self.0.get_mut();
        assert_eq!(transport.read(&mut [0; 64]).await?, 0, "more after it");
        Ok(rest)
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_with_close_notify_and_fin() {
    let tls = Tls::new();
    for engine in [Engine::Http1, Engine::Http1Upgrades, Engine::Auto] {
        let reaper = IdleReaper::new(Policy::safe());
        let mut client = tls.connect(&reaper, engine).await;
        client.send(GET).await.expect("taken");
        client.read_until("hello").await;
        let start = Instant::now();
        let rest = client.read_to_close_notify_and_fin().await;
        assert!(rest.expect("a clean end").is_empty(), "{engine:?}");
        let took = Instant::now() - start;
        assert!(took >= secs(75) && took <= secs(76), "{took:?}");
        assert_eq!(reaper.closed(CloseReason::Idle), 1, "{engine:?}");
    }
}

const HTTP2_OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

impl Client {
    /// The next frame of HTTP/2: its type, flags and payload.
    async fn frame(&mut self) -> io::Result<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await?;
        Ok((kind, flags, payload))
    }
}

#[tokio::test(start_paused = true)]
async fn http2_says_goaway_before_close_notify() {
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    let tls = Tls::new();
    for engine in Engine::HTTP2 {
        let reaper = IdleReaper::new(Policy::safe());
        let mut client = tls.connect(&reaper, engine).await;
        client.send(HTTP2_OPENING).await.expect("taken");
        let start = Instant::now();
        while client.frame().await.expect("a frame").0 != GOAWAY {}
        let ping = client.frame().await.expect("a frame");
        assert_eq!((ping.0, ping.1), (PING, 0), "{engine:?}");
        let pong = [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], &ping.2[..]].concat();
        client.send(&pong).await.expect("taken");
        assert_eq!(client.frame().await.expect("a frame").0, GOAWAY);
        let rest = client.read_to_close_notify_and_fin().await;
        assert!(rest.expect("a clean end").is_empty(), "{engine:?}");
        let took = Instant::now() - start;
        assert!(took >= secs(75) && took <= secs(76), "{took:?}");
        until_empty(&reaper).await;
        assert_eq!(reaper.closed(CloseReason::Idle), 1, "{engine:?}");
    }
}

async fn until_empty(reaper: &IdleReaper) {
    while reaper.connections() > 0 {
        tokio::time::sleep(millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn http2_that_is_idle_and_never_answers_a_ping_is_closed() {
    let tls = Tls::new();
    for engine in Engine::HTTP2 {
        let reaper = IdleReaper::new(Policy::safe());
        let mut client = tls.connect(&reaper, engine).await;
        client.send(HTTP2_OPENING).await.expect("taken");
        let start = Instant::now();
        until_empty(&reaper).await;
        let took = Instant::now() - start;
        assert!(took >= secs(80) && took <= secs(82), "{took:?}");
        assert_eq!(reaper.closed(CloseReason::Idle), 1, "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_client_hello_is_cut_at_the_head_limit() {
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    let (mut near, far) = duplex(1024);
    tls.serve(&reaper, Engine::Http1, far);
    // The head of a handshake record of 512 bytes, and little of it.
    near.write_all(&[0x16, 3, 1, 2, 0, 1]).await.expect("taken");
    let start = Instant::now();
    let _ = near.read_to_end(&mut Vec::new()).await;
    let took = Instant::now() - start;
    assert!(took >= secs(15) && took <= secs(16), "{took:?}");
    assert_eq!(reaper.closed(CloseReason::HeadTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_through_tls_has_the_head_limit() {
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    let mut client = tls.connect(&reaper, Engine::Http1).await;
    let start = Instant::now();
    let mut sent = 0;
    for byte in b"GET / HTTP/1.1\r\nHost: ".iter().chain([&b'a'; 100]) {
        if client.send(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(secs(1)).await;
    }
    assert!((15..=18).contains(&sent), "{sent}");
    let took = Instant::now() - start;
    assert!(took >= secs(15) && took <= secs(18), "{took:?}");
    assert_eq!(reaper.closed(CloseReason::HeadTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_arrives_and_the_rest_is_discarded_under_tls() {
    let tls = Tls::new();
    let linger = Linger::new(secs(20)).gap(secs(3));
    let reaper = IdleReaper::new(Policy::safe().linger(linger));
    let mut client = tls.connect(&reaper, Engine::Http1).await;
    client
        .send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
        .await
        .expect("taken");
    for _ in 0..500 {
        client.send(&[b'x'; 10_000]).await.expect("it is discarded");
    }
    let head = client.read_until("who are you?").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    let rest = client.read_to_close_notify_and_fin().await;
    assert!(rest.expect("a clean end").is_empty());
    assert_eq!(reaper.connections(), 1, "it lingers");
    tokio::time::sleep(secs(4)).await;
    assert_eq!(reaper.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_cut() {
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe().write_rate(None));
    let mut client = tls.connect(&reaper, Engine::Http1).await;
    client.send(&get("/endless")).await.expect("taken");
    let start = Instant::now();
    until_empty(&reaper).await;
    let took = Instant::now() - start;
    assert!(took >= secs(30) && took <= secs(31), "{took:?}");
    assert_eq!(reaper.closed(CloseReason::WriteStall), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_farewell() {
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    let mut idle = tls.connect(&reaper, Engine::Http1).await;
    idle.send(GET).await.expect("taken");
    idle.read_until("hello").await;
    let mut busy = tls.connect(&reaper, Engine::Http1).await;
    busy.send(&get("/slow/5")).await.expect("taken");
    tokio::time::sleep(millis(100)).await;
    let summary = reaper.drain(secs(30)).await;
    assert_eq!(summary.cut, 0);
    assert!(idle.read_to_close_notify_and_fin().await.is_ok());
    let answer = busy.read_until("late").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(busy.read_to_close_notify_and_fin().await.is_ok());
    assert_eq!(reaper.closed(CloseReason::Draining), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_leave_with_or_without_a_close_notify() {
    // RFC 9112 section 9.8: an incomplete close of an idle connection loses nothing.
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    for polite in [true, false] {
        let mut client = tls.connect(&reaper, Engine::Http1).await;
        client.send(GET).await.expect("taken");
        client.read_until("hello").await;
        if polite {
            client.0.shutdown().await.expect("sent");
        }
        drop(client);
        until_empty(&reaper).await;
    }
    let ended: Vec<_> = reaper.closed_by_reason().collect();
    assert_eq!(ended, [(CloseReason::PeerClosed, 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_tls_is_a_protocol_error() {
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    let (mut near, far) = duplex(1024);
    tls.serve(&reaper, Engine::Http1, far);
    near.write_all(GET).await.expect("taken");
    let _ = near.read_to_end(&mut Vec::new()).await;
    let ended: Vec<_> = reaper.closed_by_reason().collect();
    assert_eq!(ended, [(CloseReason::ProtocolError, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_every_early_answer_over_tls() {
    let probe = Command::new("curl").arg("--version").output().await;
    if !probe.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let tls = Tls::new();
    let reaper = IdleReaper::new(Policy::safe());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("https://{}/early", listener.local_addr().expect("bound"));
    let accepting = reaper.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tls.serve(&accepting, Engine::Http1, io);
        }
    });
    let name = format!("tower-idle-reaper-tls-{}", std::process::id());
    let body = std::env::temp_dir().join(name);
    tokio::fs::write(&body, vec![b'x'; 10 << 20])
        .await
        .expect("a file");
    let data = format!("@{}", body.display());
    for n in 0..10 {
        let out = Command::new("curl")
            .args(["-s", "-S", "-k", "-H", "Expect:", "-w", " %{http_code}"])
            .args(["--data-binary", &data, &url])
            .output()
            .await
            .expect("it was there before");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(text, "who are you? 401", "{n}: {out:?}");
    }
    let _ = tokio::fs::remove_file(body).await;
}

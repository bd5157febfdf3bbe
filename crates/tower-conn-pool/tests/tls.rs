//! https through hyper-rustls: ALPN decides, certificates are checked, connections are pooled.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Uri, Version};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::{connection, fetch, get, until, usage};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_conn_pool::{CloseReason, Pool, PoolErrorKind, connector};

type HttpsPool = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

struct Server {
    addr: SocketAddr,
    certificate: CertificateDer<'static>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// A server for `localhost` that closes a connection after this many requests.
    async fn start(alpn: &[&[u8]]) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a configuration");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let server = Self {
            addr: listener.local_addr().expect("bound"),
            certificate,
            accepted: Arc::default(),
            open: Arc::default(),
        };
        let (accepted, open) = (Arc::clone(&server.accepted), Arc::clone(&server.open));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                accepted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, open) = (acceptor.clone(), Arc::clone(&open));
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let service = hyper::service::service_fn(|_| async {
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("secret"))))
                        });
                        let _ = auto::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn uri(&self) -> Uri {
        format!("https://localhost:{}/", self.addr.port())
            .parse()
            .expect("a URI")
    }

    fn pool(&self, trusted: bool) -> HttpsPool {
        let mut roots = RootCertStore::empty();
        if trusted {
            roots.add(self.certificate.clone()).expect("a root");
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = connector();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Pool::builder()
            .idle_timeout(Some(Duration::from_secs(1)))
            .build(https)
    }
}

#[tokio::test]
async fn http1_over_tls_is_pooled_and_expires() {
    let server = Server::start(&[b"http/1.1"]).await;
    let pool = server.pool(true);
    let first = fetch(&pool, get(&server.uri())).await.expect("answers");
    assert_eq!(first.version(), Version::HTTP_11);
    assert_eq!(first.body(), "secret");
    // Long enough for a look at the transport before reuse, and for TLS 1.3 session tickets.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = fetch(&pool, get(&server.uri())).await.expect("answers");
    assert_eq!(usage(&second).exchanges_before, 1);
    assert!(connection(&second).peer_addr().is_some());
    until("it expires", || pool.stats().open == 0).await;
    assert_eq!(connection(&first).close_reason(), Some(CloseReason::Idle));
    until("close_notify and FIN arrive", || {
        server.open.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn http2_by_alpn_is_shared_even_by_a_cold_burst() {
    let server = Server::start(&[b"h2", b"http/1.1"]).await;
    let pool = server.pool(true);
    let burst: Vec<_> = (0..10)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&server.uri()));
            tokio::spawn(async move { fetch(&pool, request).await })
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    for one in burst {
        let response = one.await.expect("no panic").expect("answers");
        assert_eq!(response.version(), Version::HTTP_2);
        ids.insert(connection(&response).id());
    }
    assert_eq!(ids.len(), 1, "the others opened by the burst are surplus");
    until("the surplus is closed", || pool.stats().open == 1).await;
    let before = server.accepted.load(Ordering::SeqCst);
    until("it expires", || pool.stats().open == 0).await;
    let again: Vec<_> = (0..10)
        .map(|_| {
            let (pool, request) = (pool.clone(), get(&server.uri()));
            tokio::spawn(async move { fetch(&pool, request).await.map(drop) })
        })
        .collect();
    for one in again {
        one.await.expect("no panic").expect("answers");
    }
    let opened = server.accepted.load(Ordering::SeqCst) - before;
    assert_eq!(opened, 1, "it is known to speak HTTP/2 by now");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_a_connect_error() {
    let server = Server::start(&[b"http/1.1"]).await;
    let pool = server.pool(false);
    let error = fetch(&pool, get(&server.uri()))
        .await
        .expect_err("is not trusted");
    assert_eq!(error.kind(), PoolErrorKind::Connect);
    assert!(!error.is_sent());
    assert_eq!(pool.stats().open, 0);
}

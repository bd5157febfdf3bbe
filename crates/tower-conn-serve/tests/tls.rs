//! Over TLS, with rustls.
#![cfg(feature = "rustls")]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::Service;
use tower::util::BoxCloneService;
use tower_conn_serve::{CloseReason, Handle, IncomingStream, Server, Shared};
use tower_conn_testkit::h2::{self, H2Client};
use tower_conn_testkit::raw::{Ended, RawStream};
use tower_idle_reaper::ReapedIo;

struct TlsServer {
    handle: Handle,
    sender: tokio::sync::mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    roots: Arc<RootCertStore>,
}

impl TlsServer {
    fn new(server: Server) -> Self {
        let service = tower::service_fn(|request| handle(request, Arc::default()));
        Self::serving(server, Shared::new(service))
    }

    fn serving<M, S, B>(server: Server, make: M) -> Self
    where
        M: for<'a> Service<
                IncomingStream<'a, ServerStream, SocketAddr>,
                Response = S,
                Error = Infallible,
            > + Clone
            + Send
            + 'static,
        for<'a> <M as Service<IncomingStream<'a, ServerStream, SocketAddr>>>::Future: Send,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error = Infallible> + Default + Send + 'static,
    {
        let names = ["localhost".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("a key");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("they match");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let (sender, listener) = PipeListener::new();
        let serve = server.tls(acceptor).serve(listener, make);
        let handle = serve.handle();
        tokio::spawn(async move { serve.await });
        Self {
            handle,
            sender,
            roots: Arc::new(roots),
        }
    }

    fn pipe(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.sender.send((far, addr)).expect("it serves");
        near
    }

    async fn connect(&self, alpn: &[&str]) -> TlsStream<DuplexStream> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector
            .connect(name, self.pipe())
            .await
            .expect("the handshake succeeds")
    }
}

#[tokio::test(start_paused = true)]
async fn alpn_says_which_protocol_is_spoken_and_without_it_the_first_bytes_do() {
    let server = TlsServer::new(Server::new());
    for alpn in [&["h2", "http/1.1"][..], &["h2"], &[]] {
        let mut client = H2Client::open(server.connect(alpn).await).await;
        client.get(1, "/").await;
        assert_eq!(client.until(h2::DATA).await.payload, "hello", "{alpn:?}");
    }
    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = RawStream::over(server.connect(alpn).await);
        client.send(GET).await.unwrap();
        let answer = client.read_response("GET").await.unwrap();
        assert_eq!(answer.text(), "hello", "{alpn:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn parked_under_tls_and_closed_with_a_farewell() {
    let server = TlsServer::new(Server::new());
    let mut client = RawStream::over(server.connect(&["http/1.1"]).await).deadline(secs(1000));
    for round in 1..3 {
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
        sleep(secs(3)).await;
        assert_eq!(server.handle.stats().parks, round);
    }
    client.send(&GET[..7]).await.unwrap();
    sleep(secs(3)).await;
    assert_eq!(server.handle.stats().parked, 1, "with half a head");
    client.send(&GET[7..]).await.unwrap();
    client.read_response("GET").await.unwrap();
    // rustls reports an end without close_notify as an error.
    let (rest, ended) = client.read_to_end().await.unwrap();
    assert_eq!((&rest[..], ended), (&b""[..], Ended::Fin));
    assert_eq!(server.handle.reaper().closed(CloseReason::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_bounded_counted_and_hold_up_nobody() {
    let server = TlsServer::new(Server::new());
    let start = Instant::now();
    let mut silent = server.pipe();
    let mut slow = server.pipe();
    // The first bytes of a ClientHello that never ends.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    let mut plain = RawStream::over(server.pipe());
    plain.send(GET).await.unwrap();
    assert!(plain.read_to_end().await.is_ok(), "it is refused");
    let mut client = RawStream::over(server.connect(&["http/1.1"]).await);
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    assert!(Instant::now() - start < millis(100));

    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    let took = Instant::now() - start;
    assert!(took >= secs(10) && took <= secs(11), "{took:?}");
    slow.read_to_end(&mut rest).await.unwrap();
    let took = Instant::now() - start;
    assert!(took >= secs(15) && took <= secs(16), "{took:?}");
    assert_eq!(server.handle.stats().handshake_failures, 3);
}

/// Answers with the protocol that was agreed on, as a make service learns it.
#[derive(Clone)]
struct TellAlpn;

type ServerStream = tokio_rustls::server::TlsStream<ReapedIo<DuplexStream>>;

impl<A> Service<IncomingStream<'_, ServerStream, A>> for TellAlpn {
    type Response = BoxCloneService<Request<Incoming>, Response<Full<Bytes>>, Infallible>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, ServerStream, A>) -> Self::Future {
        let alpn = stream.io().get_ref().1.alpn_protocol();
        let alpn = Bytes::copy_from_slice(alpn.unwrap_or(b"none"));
        ready(Ok(BoxCloneService::new(tower::service_fn(move |_| {
            ready(Ok(Response::new(Full::from(alpn.clone()))))
        }))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_make_service_sees_the_tls_stream() {
    let server = TlsServer::serving(Server::new(), TellAlpn);
    for (alpn, told) in [(&["http/1.1"][..], "http/1.1"), (&[], "none")] {
        let mut client = RawStream::over(server.connect(alpn).await);
        client.send(GET).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), told);
    }
}

//! Opens connections and takes the time of each step: name look-up, TCP, TLS.

use std::error::Error;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// How long each step of opening a connection took. In the extensions of every response on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// `None` where the host is an address.
    pub(crate) lookup: Option<Duration>,
    pub(crate) connect: Duration,
    /// `None` without TLS.
    pub(crate) tls: Option<Duration>,
}

impl Opening {
    pub(crate) fn total(&self) -> Duration {
        self.lookup.unwrap_or_default() + self.connect + self.tls.unwrap_or_default()
    }
}

/// The time since then.
pub(crate) fn since(then: Instant) -> Duration {
    Instant::now().saturating_duration_since(then)
}

/// TLS that trusts the public roots and those in `ca`, and offers these protocols.
pub(crate) fn tls(ca: Option<&Path>, alpn: &[&[u8]]) -> Result<ClientConfig, BoxError> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    if let Some(path) = ca {
        let in_file = |error: &dyn Error| format!("cannot read {}: {error}", path.display());
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| in_file(&e))? {
            roots
                .add(certificate.map_err(|e| in_file(&e))?)
                .map_err(|e| in_file(&e))?;
        }
        if roots.len() == before {
            return Err(format!("there is no certificate in {}", path.display()).into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// A connector for http and https.
#[derive(Clone, Debug)]
pub(crate) struct TimedConnector {
    tls: Arc<ClientConfig>,
}

impl TimedConnector {
    pub(crate) fn new(tls: ClientConfig) -> Self {
        Self { tls: Arc::new(tls) }
    }
}

impl Service<Uri> for TimedConnector {
    type Response = TimedIo;
    type Error = BoxError;
    type Future = BoxFuture<TimedIo>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    // The parts are made for each connection, so that each writes down its own times.
    fn call(&mut self, uri: Uri) -> Self::Future {
        let notes = Notes::default();
        let mut http = HttpConnector::new_with_resolver(TimedResolver(notes.clone()));
        http.enforce_http(false);
        http.set_nodelay(true);
        let tcp = TimedTcp {
            http,
            notes: notes.clone(),
        };
        let is_tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let connector = HttpsConnector::from((tcp, Arc::clone(&self.tls)));
        Box::pin(async move {
            let begun = Instant::now();
            let io = connector.oneshot(uri).await?;
            let all = since(begun);
            let (lookup, tcp) = notes.read();
            let opening = Opening {
                lookup,
                connect: tcp.saturating_sub(lookup.unwrap_or_default()),
                tls: is_tls.then(|| all.saturating_sub(tcp)),
            };
            Ok(TimedIo { io, opening })
        })
    }
}

/// What the parts of one connector write down: the time of the look-up, and until TCP was connected.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<(Option<Duration>, Duration)>>);

impl Notes {
    fn read(&self) -> (Option<Duration>, Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, note: impl FnOnce(&mut (Option<Duration>, Duration))) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Clone, Debug)]
struct TimedResolver(Notes);

impl Service<Name> for TimedResolver {
    type Response = <GaiResolver as Service<Name>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let notes = self.0.clone();
        Box::pin(async move {
            let begun = Instant::now();
            let addresses = GaiResolver::new().oneshot(name).await?;
            notes.write(|notes| notes.0 = Some(since(begun)));
            Ok(addresses)
        })
    }
}

#[derive(Clone, Debug)]
struct TimedTcp {
    http: HttpConnector<TimedResolver>,
    notes: Notes,
}

impl Service<Uri> for TimedTcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { http, notes } = self.clone();
        Box::pin(async move {
            let begun = Instant::now();
            let io = http.oneshot(uri).await?;
            notes.write(|notes| notes.1 = since(begun));
            Ok(io)
        })
    }
}

/// A transport that says how it was opened.
#[derive(Debug)]
pub(crate) struct TimedIo {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    opening: Opening,
}

impl Connection for TimedIo {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.opening)
    }
}

impl Read for TimedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for TimedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

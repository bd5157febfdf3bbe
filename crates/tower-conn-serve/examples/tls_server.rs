//! An axum application over TLS, HTTP/1.1 and HTTP/2, with a certificate made on the spot.
//!
//! ```text
//! cargo run -p tower-conn-serve --features axum,rustls --example tls_server
//! curl -k https://127.0.0.1:8443/
//! ```
//!
//! Ctrl-C drains, a second one cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Version;
use axum::routing::get;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_conn_serve::{Drain, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let app = Router::new().route("/", get(hello));
    let listener = TcpListener::bind("127.0.0.1:8443").await?;
    println!("listening on https://{}", listener.local_addr()?);
    let serve = Server::new()
        .drain(Drain::within(Duration::from_secs(10)))
        .tls(TlsAcceptor::from(Arc::new(tls)))
        .serve(
            listener,
            app.into_make_service_with_connect_info::<SocketAddr>(),
        );
    let handle = serve.handle();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            handle.shutdown();
        }
    });
    let summary = serve.await?;
    println!(
        "{} connections ended, {} were cut",
        summary.drained, summary.cut
    );
    Ok(())
}

async fn hello(ConnectInfo(addr): ConnectInfo<SocketAddr>, version: Version) -> String {
    format!("hello {addr}, over {version:?}\n")
}

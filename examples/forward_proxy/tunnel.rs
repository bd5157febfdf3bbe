//! Tunnels: bytes both ways until both sides have ended.
//!
//! How long a tunnel may idle, and how old it may become, is the reaper's business: it counts the bytes of the
//! client's connection, and cuts it.

use std::io;
use std::time::Duration;

use http::uri::Authority;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Connects to the target of a CONNECT request.
pub(crate) async fn connect(
    target: &Authority,
    port: u16,
    limit: Option<Duration>,
) -> io::Result<TcpStream> {
    // The brackets around an IPv6 address belong to the URI.
    let host = target.host().trim_matches(['[', ']']);
    let connecting = TcpStream::connect((host, port));
    let stream = match limit {
        Some(limit) => tokio::time::timeout(limit, connecting).await??,
        None => connecting.await?,
    };
    // The ends of TLS records must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Joins the client's connection, once it has switched, with the other end.
pub(crate) fn join<T>(client: OnUpgrade, far: impl Future<Output = Option<T>> + Send + 'static)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    tokio::spawn(async move {
        let (Ok(client), Some(mut far)) = tokio::join!(client, far) else {
            return;
        };
        // One side may end before the other and still be sent to. An error only says which side
        // failed; either way both ends are dropped here.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut far).await;
    });
}

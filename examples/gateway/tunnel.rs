//! Upgraded connections: bytes both ways until both sides have ended.

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::UpstreamBody;

/// Joins the client's connection with the upstream's once both have switched protocols.
///
/// Bytes that the upstream sent behind its 101 belong to the tunnel: hyper hands them over with the
/// upgraded connection.
pub(crate) fn join(client: OnUpgrade, response: &mut Response<UpstreamBody>) {
    let upstream = hyper::upgrade::on(response);
    tokio::spawn(async move {
        let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else {
            return;
        };
        // An error only says which side went first; either way both ends are dropped here.
        let _ =
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream))
                .await;
    });
}

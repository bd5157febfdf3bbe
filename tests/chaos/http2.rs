//! Clients that multiplex, and drop some of their streams.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::clients::{Clients, DEADLINE};
use crate::ledger::Tally;
use crate::rng::Rng;
use crate::spec::{Spec, download, upload};

impl Clients {
    pub(crate) async fn http2(&self, rng: &mut Rng) {
        let stream = TcpStream::connect(self.gateway)
            .await
            .expect("the gateway accepts");
        let _ = stream.set_nodelay(true);
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("a handshake");
        let connection = tokio::spawn(connection);
        let calls = (0..rng.range(1, 12)).map(|_| {
            let spec = self.spec(rng);
            let patience = rng.percent(15).then(|| Duration::from_millis(rng.size(50)));
            self.call(sender.clone(), spec, patience)
        });
        futures_util::future::join_all(calls).await;
        drop(sender);
        connection.abort();
    }

    async fn call(
        &self,
        mut sender: http2::SendRequest<Full<Bytes>>,
        spec: Spec,
        patience: Option<Duration>,
    ) {
        let body = upload(spec.id, spec.upload.unwrap_or(0));
        let uri = format!("http://chaos{spec}").parse::<Uri>().expect("a URI");
        let request = Request::builder()
            .method(spec.method)
            .uri(uri)
            .header("x-id", spec.id)
            .body(Full::from(body))
            .expect("a request");
        let exchange = async {
            match sender.send_request(request).await {
                Ok(response) => self.judge_http2(&spec, response).await,
                // The reset of a stream may overtake the head of its response.
                Err(error) if is_cut(&error) => Tally::add(&self.ledger.tally.cut),
                Err(error) => self.violation(&spec, &format!("got no answer: {error:?}")),
            }
        };
        match (
            tokio::time::timeout(patience.unwrap_or(DEADLINE), exchange).await,
            patience,
        ) {
            (Ok(()), _) => {}
            (Err(_), Some(_)) => Tally::add(&self.ledger.tally.left),
            (Err(_), None) => self.violation(&spec, "hangs (HTTP/2)"),
        }
    }

    async fn judge_http2(&self, spec: &Spec, response: Response<Incoming>) {
        let tally = &self.ledger.tally;
        let (parts, mut body) = response.into_parts();
        let id = parts.headers.get("x-id").map(|id| id.as_bytes().to_owned());
        match (parts.status.as_u16(), id) {
            (200, Some(id)) if id == spec.id.to_string().as_bytes() => {}
            (400, None) if spec.upload.is_some() => return Tally::add(&tally.refused),
            (502 | 504, None) => return Tally::add(&tally.refused),
            _ => return self.violation(spec, &format!("got the answer of another: {parts:?}")),
        }
        let expected = match spec.method {
            "HEAD" => Vec::new(),
            _ => download(spec.id, spec.length),
        };
        let mut got = Vec::new();
        loop {
            match body.frame().await {
                Some(Ok(frame)) => got.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) if is_cut(&error) && expected.starts_with(&got) => {
                    return Tally::add(&tally.cut);
                }
                None if got == expected => return Tally::add(&tally.whole),
                end => {
                    let length = got.len();
                    return self.violation(spec, &format!("{length} wrong bytes, then {end:?}"));
                }
            }
        }
    }
}

/// Whether the gateway has reset the stream because the upstream failed.
fn is_cut(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.reason() == Some(h2::Reason::INTERNAL_ERROR))
}

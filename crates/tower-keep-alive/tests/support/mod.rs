//! Real servers with the layer, on loopback.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};
use tower_conn_core::{Connection, TransportConnection};
use tower_keep_alive::{KeepAliveLayer, OnDecision, RequestBody};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body of known length.
pub(crate) fn text(text: &'static str) -> Body {
    owned(text)
}

/// A body of known length.
pub(crate) fn owned(text: impl Into<Bytes>) -> Body {
    Full::from(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Accepts connections with plain hyper, each with a `Connection` in its requests, and the layer
/// around `handler`.
pub(crate) async fn hyper_server<H, F, O>(layer: KeepAliveLayer<O>, handler: H) -> SocketAddr
where
    H: Fn(Request<RequestBody<Incoming>>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
    O: OnDecision + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = stream.connection();
            let handler = handler.clone();
            let app = layer.layer(service_fn(move |request| {
                let response = handler(request);
                async move { Ok::<_, Infallible>(response.await) }
            }));
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                app.clone().oneshot(request)
            });
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)),
            );
        }
    });
    addr
}

/// Serves a router with `axum::serve`, each connection with its handle.
pub(crate) async fn axum_server(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let service = router.into_make_service_with_connect_info::<Connection>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    addr
}

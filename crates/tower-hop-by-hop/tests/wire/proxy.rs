//! A proxy of a few lines, and an HTTP/2 upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_hop_by_hop::{HopByHopBody, HopByHopLayer, MaxForwardsLayer, Policy, ViaLayer};

/// A proxy that listens on a free port for as long as the test runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
}

type Outbound = Client<HttpConnector, HopByHopBody<Incoming>>;

impl Proxy {
    /// To an HTTP/1.1 upstream.
    pub(crate) async fn start(upstream: SocketAddr, policy: Policy) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self::with_client(upstream, policy, client).await
    }

    /// To an HTTP/2 upstream.
    pub(crate) async fn to_http2(upstream: SocketAddr, policy: Policy) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        Self::with_client(upstream, policy.outbound(Version::HTTP_2), client).await
    }

    async fn with_client(upstream: SocketAddr, policy: Policy, client: Outbound) -> Self {
        let service = ServiceBuilder::new()
            .layer(MaxForwardsLayer::new())
            .layer(HopByHopLayer::new(policy))
            .layer(ViaLayer::new("edge").expect("a pseudonym"))
            .service(service_fn(move |request| {
                forward(client.clone(), upstream, request)
            }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await
                });
            }
        });
        Self { addr }
    }
}

async fn forward(
    client: Outbound,
    upstream: SocketAddr,
    mut request: Request<HopByHopBody<Incoming>>,
) -> Result<Response<Body>, Infallible> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(upstream.to_string()).expect("an address"));
    parts
        .path_and_query
        .get_or_insert_with(|| "/".parse().expect("a path"));
    *request.uri_mut() = Uri::from_parts(parts).expect("a URI");
    *request.version_mut() = Version::HTTP_11;
    let Ok(mut response) = client.request(request).await else {
        let mut response = Response::new(Body::from("upstream failed"));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(response);
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (client, upstream) = tokio::try_join!(on_upgrade, upstream)?;
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            Ok::<_, hyper::Error>(())
        });
    }
    Ok(response.map(Body::new))
}

/// A request as an HTTP/2 upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// An HTTP/2 server that answers everything with the same response.
pub(crate) struct Http2Upstream {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Http2Upstream {
    pub(crate) async fn start(
        respond: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let records = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let (records, respond) = (Arc::clone(&records), respond.clone());
            async move {
                let (parts, body) = request.into_parts();
                let collected = body.collect().await.expect("a whole body");
                records.lock().expect("no panic").push(Seen {
                    headers: parts.headers,
                    trailers: collected.trailers().cloned(),
                    body: collected.to_bytes(),
                });
                Ok::<_, Infallible>(respond())
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, seen }
    }

    /// The one request it has seen.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen.lock().expect("no panic");
        assert_eq!(seen.len(), 1);
        seen[0].clone()
    }
}

/// Sends a request over HTTP/2 with prior knowledge.
pub(crate) async fn http2(
    proxy: Proxy,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("http://{}{path}", proxy.addr)
        .parse()
        .expect("a URI");
    *request.version_mut() = Version::HTTP_2;
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
        .request(request)
        .await
}

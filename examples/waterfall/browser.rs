//! Loads the page as a browser does: the HTML first, and what it refers to as soon as it is found.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Empty};
use tokio::task::JoinSet;
use tower::{Service, ServiceExt};
use tower_conn_pool::{Pool, PoolBody, Protocol};
use tower_pipeline_guard::PipelinedConnection;
use tower_pipeline_guard::client::{Builder, ResponseBody};

use crate::BoxError;
use crate::args::Strategy;
use crate::network::{Connector, Network};
use crate::page::{INDEX, Scanner};
use crate::record::{Load, ObjectLog, Recorder};

type Body = Empty<Bytes>;
type Answer = (Response<Either<PoolBody, ResponseBody>>, Option<Duration>);

/// How much a strategy may do at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) connections: NonZeroUsize,
    pub(crate) depth: NonZeroUsize,
}

/// Loads the page, closes all connections, and says what happened.
pub(crate) async fn load(
    network: Arc<Network>,
    strategy: Strategy,
    bounds: Bounds,
) -> Result<Load, BoxError> {
    let client = Client::new(&network, strategy, bounds).await?;
    let mut objects = fetch_all(&network, &client).await?;
    drop(client);
    network
        .closed()
        .await
        .map_err(|_| "connections did not close")?;
    objects.sort_by_key(|object| object.discovered);
    Ok(Load {
        objects,
        connections: network.recorder().connections(),
    })
}

// ===== requests =====

#[derive(Clone)]
enum Client {
    /// One request on each connection, or many.
    Pool(Pool<Connector, Body>, Persistence),
    Pipelined(PipelinedConnection<Body>),
}

#[derive(Clone, Copy, PartialEq)]
enum Persistence {
    Close,
    Keep,
}

impl Client {
    async fn new(
        network: &Arc<Network>,
        strategy: Strategy,
        bounds: Bounds,
    ) -> Result<Self, BoxError> {
        let pool = |limit, protocol, persistence| {
            let pool = Pool::builder()
                .max_per_origin(limit)
                .protocol(protocol)
                .build(Connector(Arc::clone(network)));
            Self::Pool(pool, persistence)
        };
        let (one, some) = (NonZeroUsize::MIN, bounds.connections);
        Ok(match strategy {
            Strategy::Serial => pool(one, Protocol::Auto, Persistence::Close),
            Strategy::Parallel => pool(some, Protocol::Auto, Persistence::Close),
            Strategy::Persistent => pool(one, Protocol::Auto, Persistence::Keep),
            Strategy::ParallelPersistent => pool(some, Protocol::Auto, Persistence::Keep),
            Strategy::Multiplexed => pool(one, Protocol::Http2, Persistence::Keep),
            Strategy::Pipelined => {
                let transport = Arc::clone(network).open().await?;
                let (connection, driver) = Builder::new().depth(bounds.depth).handshake(transport);
                tokio::spawn(driver);
                Self::Pipelined(connection)
            }
        })
    }

    /// The response, and when the request left, if the client knows.
    async fn get(self, recorder: &Recorder, path: &str) -> Result<Answer, BoxError> {
        let mut request = Request::get(format!("http://page.example{path}")).body(Body::new())?;
        Ok(match self {
            Self::Pool(pool, persistence) => {
                if persistence == Persistence::Close {
                    let close = HeaderValue::from_static("close");
                    request.headers_mut().insert(CONNECTION, close);
                }
                (pool.oneshot(request).await?.map(Either::Left), None)
            }
            Self::Pipelined(mut connection) => {
                let response = connection.ready().await?.call(request);
                let sent = recorder.now();
                (response.await?.map(Either::Right), Some(sent))
            }
        })
    }
}

// ===== the page =====

async fn fetch_all(network: &Arc<Network>, client: &Client) -> Result<Vec<ObjectLog>, BoxError> {
    let mut others = JoinSet::new();
    let mut scanner = Scanner::default();
    let page = fetch(network, client.clone(), INDEX, Duration::ZERO, |bytes| {
        for path in scanner.feed(bytes) {
            let (network, client) = (Arc::clone(network), client.clone());
            others.spawn(async move {
                let discovered = network.recorder().now();
                fetch(&network, client, &path, discovered, |_| ()).await
            });
        }
    });
    let mut objects = vec![page.await?];
    while let Some(object) = others.join_next().await {
        objects.push(object??);
    }
    Ok(objects)
}

async fn fetch(
    network: &Network,
    client: Client,
    path: &str,
    discovered: Duration,
    mut on_bytes: impl FnMut(&[u8]),
) -> Result<ObjectLog, BoxError> {
    let recorder = network.recorder();
    let (response, left) = client.get(recorder, path).await?;
    let first_byte = recorder.now();
    if response.status() != StatusCode::OK {
        return Err(format!("{path}: {}", response.status()).into());
    }
    let mut body = response.into_body();
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            on_bytes(&bytes);
            received.extend_from_slice(&bytes);
        }
    }
    let complete = recorder.now();
    recorder.complete();
    if network.page().get(path).as_deref() != Some(&received) {
        return Err(format!("{path}: not the bytes that were asked for").into());
    }
    let seen = recorder.when_sent(path).ok_or("an answer to no request")?;
    Ok(ObjectLog {
        path: path.to_owned(),
        size: received.len(),
        discovered,
        // Timers tick in milliseconds: the request may seem to have left a moment early.
        sent: left.unwrap_or(seen.at).max(discovered),
        first_byte,
        complete,
        connection: seen.connection,
    })
}

//! Over tower-conn-pool, on real sockets.
#![cfg(all(feature = "pool", feature = "hyper"))]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_conn_pool::{Pool, PoolBody, connector};
use tower_conn_testkit::body::{Hint, Script};
use tower_conn_testkit::peer::ScriptedPeer;
use tower_idempotent_retry::{
    Backoff, BoxError, Event, Evidence, ReplayBody, ResponseBody, RetryError, RetryInfo,
    RetryLayer, RetryReason, StopReason,
};

type Decided = Arc<Mutex<Vec<(Evidence, Option<bool>)>>>;

#[derive(Clone)]
struct Client {
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<()>, BoxError>,
    decided: Decided,
}

impl Client {
    fn new() -> Self {
        let pool: Pool<_, ReplayBody<Full<Bytes>>> = Pool::builder().build(connector());
        let decided = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&decided);
        let layer =
            RetryLayer::proxy()
                .backoff(Backoff::none())
                .observe(move |event: &Event<'_>| {
                    kept.lock().unwrap().push((event.evidence, event.reused));
                });
        let service = ServiceExt::<Request<_>>::and_then(
            layer.layer(pool),
            |response: Response<ResponseBody<PoolBody>>| async {
                let (head, body) = response.into_parts();
                body.collect().await?;
                Ok::<_, BoxError>(Response::from_parts(head, ()))
            },
        );
        Self {
            service: BoxCloneSyncService::new(service),
            decided,
        }
    }

    async fn send(&self, method: &str, uri: Uri) -> Result<Response<()>, BoxError> {
        self.decided.lock().unwrap().clear();
        let body = if method == "GET" { "" } else { "hello" };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::from(body));
        self.service
            .clone()
            .oneshot(request.expect("a request"))
            .await
    }

    fn first(&self) -> (Evidence, Option<bool>) {
        self.decided.lock().unwrap()[0]
    }
}

/// Closes the first connection when its second request has arrived.
async fn stale() -> ScriptedPeer {
    ScriptedPeer::start(|mut exchange| async move {
        if exchange.connection() == 1 && exchange.nth() == 2 {
            exchange.close();
        } else {
            exchange.ok("fine").await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_stale_connection_is_known_and_repaired_on_a_fresh_one() {
    let (peer, client) = (stale().await, Client::new());
    client.send("GET", peer.uri("/")).await.expect("answered");
    let response = client.send("PUT", peer.uri("/")).await.expect("repeated");
    assert_eq!(client.first(), (Evidence::Ambiguous, Some(true)));
    let info = RetryInfo::of(response.extensions());
    assert_eq!(info.reasons, [RetryReason::StaleConnection]);
    let seen = peer.requests();
    assert_eq!((seen.len(), peer.connections().len()), (3, 2));
    assert!(seen[1..].iter().all(|it| it.request.body == "hello"));
}

#[tokio::test]
async fn a_post_on_a_stale_connection_is_sent_once() {
    let (peer, client) = (stale().await, Client::new());
    client.send("GET", peer.uri("/")).await.expect("answered");
    let error = client
        .send("POST", peer.uri("/"))
        .await
        .expect_err("not repeated");
    let error = error
        .downcast::<RetryError>()
        .expect("an error of the layer");
    assert_eq!(
        (error.info().attempts, error.info().stopped),
        (1, StopReason::Unsafe)
    );
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn a_refused_connection_and_an_invalid_uri() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let client = Client::new();
    client
        .send("POST", uri.parse().expect("a URI"))
        .await
        .expect_err("nobody listens");
    assert_eq!(client.first(), (Evidence::NotSent, None));
    assert_eq!(client.decided.lock().unwrap().len(), 3);
    client
        .send("POST", Uri::from_static("/relative"))
        .await
        .expect_err("no host");
    assert_eq!(client.first(), (Evidence::Permanent, None));
    assert_eq!(client.decided.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_repeated() {
    let peer = stale().await;
    let pool: Pool<_, ReplayBody<_>> = Pool::builder().build(connector());
    let (body, _) = Script::new()
        .data("part")
        .error(7)
        .hint(Hint::Unknown)
        .body();
    let request = Request::put(peer.uri("/"))
        .body(Box::pin(body))
        .expect("a request");
    let error = RetryLayer::client()
        .layer(pool)
        .oneshot(request)
        .await
        .expect_err("the body failed");
    let error = error
        .downcast::<RetryError>()
        .expect("an error of the layer");
    assert_eq!(
        (error.info().attempts, error.info().stopped),
        (1, StopReason::Body)
    );
}

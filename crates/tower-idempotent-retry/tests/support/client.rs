//! hyper-util's legacy client below a retry layer whose decisions are kept.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_idempotent_retry::{
    Backoff, BoxError, Decision, Event, Evidence, FreshConnections, ReplayBody, ResponseBody,
    RetryLayer, ReuseConnector,
};

pub(crate) type Body = Full<Bytes>;
pub(crate) type Answer = Result<Response<ResponseBody<Incoming>>, BoxError>;

/// What was decided after one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) evidence: Evidence,
    pub(crate) reused: Option<bool>,
    pub(crate) decision: Decision,
}

#[derive(Clone)]
pub(crate) struct TestClient {
    service: BoxCloneSyncService<Request<Body>, Response<ResponseBody<Incoming>>, BoxError>,
    decided: Arc<Mutex<Vec<Decided>>>,
}

impl TestClient {
    pub(crate) fn http1(layer: RetryLayer) -> Self {
        Self::new(layer, false)
    }

    pub(crate) fn http2(layer: RetryLayer) -> Self {
        Self::new(layer, true)
    }

    fn new(layer: RetryLayer, http2: bool) -> Self {
        let build = |idle: usize| -> Client<_, ReplayBody<Body>> {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            Client::builder(TokioExecutor::new())
                .http2_only(http2)
                .pool_max_idle_per_host(idle)
                .build(ReuseConnector::new(connector))
        };
        let decided = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&decided);
        let layer = layer
            .backoff(Backoff::none())
            .total_timeout(Duration::from_secs(20))
            .observe(move |event: &Event<'_>| {
                kept.lock().unwrap().push(Decided {
                    evidence: event.evidence,
                    reused: event.reused,
                    decision: event.decision,
                });
            });
        let client = FreshConnections::new(build(usize::MAX), build(0));
        Self {
            service: BoxCloneSyncService::new(layer.layer(client)),
            decided,
        }
    }

    pub(crate) async fn send(&self, method: &str, uri: http::Uri, body: &'static str) -> Answer {
        let request = Request::builder().method(method).uri(uri);
        let request = request.body(Full::from(body)).expect("a request");
        self.service.clone().oneshot(request).await
    }

    /// The decisions since the last call.
    pub(crate) fn decided(&self) -> Vec<Decided> {
        std::mem::take(&mut self.decided.lock().unwrap())
    }
}

//! `Expiring`: alone on a paused clock, and in the pool that hyper-util has today.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::pool::cache;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_conn_core::CloseReason;
use tower_conn_testkit::peer::ScriptedPeer;
use tower_conn_testkit::service::{NamedError, Outcome, ProbeService, Readiness};
use tower_keep_alive::{Expired, Expiring, ExpiringLayer, ReusePolicy};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hinted(hint: &'static str) -> impl Fn(Request<()>) -> Response<()> + Clone {
    move |_| {
        let mut response = Response::new(());
        response
            .headers_mut()
            .insert("content-length", "0".parse().unwrap());
        if !hint.is_empty() {
            response
                .headers_mut()
                .insert("keep-alive", hint.parse().unwrap());
        }
        response
    }
}

/// Why the service is not ready; `None` if it is.
async fn unready<S>(service: &mut S) -> Option<CloseReason>
where
    S: Service<Request<()>, Error = Box<dyn Error + Send + Sync>>,
{
    let error = service.ready().await.err()?;
    Some(error.downcast_ref::<Expired>().expect("ours").reason())
}

macro_rules! expiring {
    ($policy:expr, $hint:expr) => {{
        let (service, _probe) = ProbeService::<_, NamedError>::failing_with(hinted($hint));
        Expiring::new(service, $policy)
    }};
}

#[tokio::test(start_paused = true)]
async fn the_hint_less_the_margin_counts_from_the_last_response() {
    let mut service = expiring!(ReusePolicy::new(), "timeout=5");
    for _ in 0..3 {
        service
            .ready()
            .await
            .unwrap()
            .call(Request::new(()))
            .await
            .unwrap();
        tokio::time::advance(Duration::from_millis(2999)).await;
    }
    assert_eq!(unready(&mut service).await, None);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(unready(&mut service).await, Some(CloseReason::HintExpired));
    assert_eq!(service.expired(), Some(CloseReason::HintExpired));
    assert_eq!(service.uses(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_the_ceiling_counts() {
    let mut service = expiring!(ReusePolicy::new().ceiling(seconds(30)), "");
    tokio::time::advance(seconds(1000)).await;
    assert_eq!(
        unready(&mut service).await,
        None,
        "a new connection waits for its first request"
    );
    service.call(Request::new(())).await.unwrap();
    tokio::time::advance(seconds(30)).await;
    assert_eq!(unready(&mut service).await, Some(CloseReason::Idle));
}

#[tokio::test(start_paused = true)]
async fn announced_uses_count_down_even_if_the_server_stops_saying_so() {
    let said = AtomicBool::new(false);
    let answer = move |request| {
        let first = !said.swap(true, Ordering::Relaxed);
        hinted(if first { "timeout=30, max=2" } else { "" })(request)
    };
    let (service, _probe) = ProbeService::<_, NamedError>::failing_with(answer);
    let mut service = Expiring::new(service, ReusePolicy::new());
    for _ in 0..3 {
        service
            .ready()
            .await
            .unwrap()
            .call(Request::new(()))
            .await
            .unwrap();
    }
    assert_eq!(unready(&mut service).await, Some(CloseReason::MaxRequests));
}

#[tokio::test(start_paused = true)]
async fn uses_and_age_have_limits_of_their_own() {
    let uses = ReusePolicy::new().max_uses(NonZeroU32::new(1));
    let mut service = expiring!(uses, "");
    service
        .ready()
        .await
        .unwrap()
        .call(Request::new(()))
        .await
        .unwrap();
    assert_eq!(unready(&mut service).await, Some(CloseReason::MaxRequests));

    let mut service = expiring!(ReusePolicy::new().max_age(seconds(60)), "");
    tokio::time::advance(seconds(60)).await;
    assert_eq!(unready(&mut service).await, Some(CloseReason::MaxAge));
}

#[tokio::test(start_paused = true)]
async fn a_connection_retired_by_hand_stays_so() {
    let mut service = expiring!(ReusePolicy::new(), "");
    service.retire(CloseReason::Application);
    service.retire(CloseReason::Idle);
    assert_eq!(unready(&mut service).await, Some(CloseReason::Application));
}

#[tokio::test(start_paused = true)]
async fn it_expires_while_it_waits_for_the_inner_service() {
    let (service, probe) = ProbeService::<_, NamedError>::failing_with(hinted("timeout=5"));
    let mut service = Expiring::new(service, ReusePolicy::new());
    service
        .ready()
        .await
        .unwrap()
        .call(Request::new(()))
        .await
        .unwrap();
    probe.set_readiness(Readiness::Pending);
    assert!(poll_ready(&mut service).is_pending());
    tokio::time::advance(seconds(3)).await;
    probe.set_readiness(Readiness::Ready);
    let error = match poll_ready(&mut service) {
        Poll::Ready(Err(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(error.is::<Expired>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_inner_service_come_through() {
    let (service, probe) = ProbeService::<_, NamedError>::failing_with(hinted(""));
    let mut service = Expiring::new(service, ReusePolicy::new());
    probe.set_outcome(Outcome::Fail(7));
    let error = service
        .ready()
        .await
        .unwrap()
        .call(Request::new(()))
        .await
        .unwrap_err();
    assert!(error.is::<NamedError>(), "{error}");
    probe.set_readiness(Readiness::Fail(8));
    let error = service.ready().await.map(drop).unwrap_err();
    assert!(error.is::<NamedError>(), "{error}");
}

fn poll_ready<S: Service<Request<()>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

// ===== in hyper-util's pool =====

/// A connection of hyper as a service.
struct HyperConnection(SendRequest<Empty<Bytes>>);

impl Service<Request<Empty<Bytes>>> for HyperConnection {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

async fn connect(uri: Uri) -> Result<HyperConnection, Box<dyn Error + Send + Sync>> {
    let authority = uri.authority().expect("an authority").as_str();
    let (sender, connection) =
        handshake(TokioIo::new(TcpStream::connect(authority).await?)).await?;
    tokio::spawn(connection);
    Ok(HyperConnection(sender))
}

/// Lets time pass on the clock of the policy and not on the wire.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_expired_connection_drops_out_of_hyper_utils_cache() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let answer = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok";
        exchange.send(answer).await.unwrap();
    })
    .await;
    let uri = peer.uri("/");
    let connector = service_fn(|uri: Uri| Box::pin(connect(uri)));
    let mut pool = cache::builder().build(ExpiringLayer::new(ReusePolicy::new()).layer(connector));

    // Used by two requests in a row, then idle for longer than the hint less the margin.
    for (idle, connections) in [(1, 1), (1, 1), (4, 1), (0, 2), (4, 2), (0, 3)] {
        let mut connection = loop {
            let mut connection = pool.ready().await.unwrap().call(uri.clone()).await.unwrap();
            match connection.ready().await {
                Ok(_) => break connection,
                Err(error) => assert!(error.is::<Expired>(), "{error}"),
            }
        };
        let request = Request::get(&uri)
            .header("host", "peer")
            .body(Empty::new())
            .unwrap();
        let response = connection.call(request).await.unwrap();
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "ok"
        );
        drop(connection);
        assert_eq!(peer.connections().len(), connections);
        pass(seconds(idle)).await;
    }

    // An idle sweep, without a request: the connection is closed, not only forgotten.
    pass(seconds(4)).await;
    pool.retain(|connection| connection.expired().is_none());
    assert!(pool.is_empty());
    peer.until_closed(3).await;
}

//! What no vector says: the order of reasons, jitter, HTTP/2, and tunnels.

use std::collections::HashSet;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_keep_alive::{
    BodyOutcome, CloseReason, Connection, ConnectionSnapshot, KeepAliveLayer, Limits, Persistence,
    RequestFacts, ResponseFacts, decide,
};

type NoBody = Empty<&'static [u8]>;

fn decided(
    request: &Request<()>,
    body: BodyOutcome,
    connection: ConnectionSnapshot,
) -> Persistence {
    let facts = RequestFacts::of(request);
    let response = ResponseFacts::of(&facts, &Response::new(NoBody::new()));
    decide(&facts, body, &response, &Limits::new(), Some(&connection))
}

#[test]
fn what_the_peer_asked_for_comes_before_what_happened_to_its_body() {
    let mut closing = ConnectionSnapshot::default();
    closing.closing = Some(CloseReason::Draining);
    let mut request = Request::new(());
    let unread = |request: &_| decided(request, BodyOutcome::Unread, closing).reason();
    assert_eq!(unread(&request), Some(CloseReason::UnreadBody));
    request
        .headers_mut()
        .insert("connection", "close".parse().unwrap());
    assert_eq!(unread(&request), Some(CloseReason::PeerRequested));
    // A stream of HTTP/2 does not end its connection; a drain does.
    *request.version_mut() = Version::HTTP_2;
    assert_eq!(unread(&request), Some(CloseReason::Draining));
}

#[test]
fn jitter_spreads_the_ages_and_never_adds_to_them() {
    let (age, jitter) = (Duration::from_secs(600), Duration::from_secs(60));
    let limits = Limits::new().max_age(age).max_age_jitter(jitter);
    let ages: Vec<_> = (0..50).map(|id| limits.max_age_of(id).unwrap()).collect();
    assert!(ages.iter().all(|&one| one <= age && one >= age - jitter));
    let seconds: HashSet<_> = ages.iter().map(Duration::as_secs).collect();
    assert!(
        seconds.len() > 10,
        "50 connections close within {} seconds",
        seconds.len()
    );
    assert_eq!(limits.max_age_of(7), limits.max_age_of(7));
    assert_eq!(Limits::new().max_age(age).max_age_of(7), Some(age));
}

async fn through_the_layer(request: Request<NoBody>, status: StatusCode) -> Response<()> {
    let handler = service_fn(move |_: Request<_>| async move {
        let mut response = Response::new(NoBody::new());
        *response.status_mut() = status;
        for name in ["connection", "keep-alive"] {
            response
                .headers_mut()
                .insert(name, "upgrade, keep-alive".parse().unwrap());
        }
        Ok::<_, std::convert::Infallible>(response)
    });
    let layer = KeepAliveLayer::new().max_requests(std::num::NonZeroU32::new(1));
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    response.map(drop)
}

#[tokio::test]
async fn http2_gets_no_fields_and_the_handle_the_reason() {
    let connection = Connection::server();
    let mut request = Request::new(NoBody::new());
    *request.version_mut() = Version::HTTP_2;
    request.extensions_mut().insert(connection.clone());
    let response = through_the_layer(request, StatusCode::OK).await;
    assert!(response.headers().is_empty(), "{:?}", response.headers());
    assert_eq!(connection.close_reason(), Some(CloseReason::MaxRequests));
}

#[tokio::test]
async fn a_connection_that_leaves_http_is_not_touched_nor_asked_to_close() {
    for (method, status) in [
        (Method::GET, StatusCode::SWITCHING_PROTOCOLS),
        (Method::CONNECT, StatusCode::OK),
    ] {
        let connection = Connection::server();
        let mut request = Request::new(NoBody::new());
        *request.method_mut() = method;
        request.extensions_mut().insert(connection.clone());
        let response = through_the_layer(request, status).await;
        assert_eq!(response.headers()["connection"], "upgrade, keep-alive");
        assert!(response.headers().contains_key("keep-alive"));
        assert_eq!(connection.close_reason(), None);
    }
}

//! What the service does between its inner service and its caller, on a paused clock.

mod support;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_conn_testkit::body::{BodyProbe, Hint, Script, ScriptedBody};
use tower_idempotent_retry::{
    AttemptHeader, Backoff, Budget, Deadline, Decision, Event, Evidence, IdempotencyKeyLayer,
    MaxAttempts, NoRetry, ReplayBody, RetryError, RetryInfo, RetryLayer, RetryReason, StopReason,
};

use support::{Fault, Readiness, Told, Transport};

fn layer() -> RetryLayer<Told> {
    RetryLayer::client().classify(Told).backoff(Backoff::none())
}

fn request(method: &str) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri("http://peer.example/");
    request.body(Full::default()).expect("a request")
}

fn with<T: Clone + Send + Sync + 'static>(
    mut request: Request<Full<Bytes>>,
    extension: T,
) -> Request<Full<Bytes>> {
    request.extensions_mut().insert(extension);
    request
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

async fn text<B>(response: Response<B>) -> String
where
    B: Body,
    B::Error: std::fmt::Debug,
{
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

#[tokio::test(start_paused = true)]
async fn a_request_overrides_the_layer() {
    for (request, attempts) in [
        (with(request("GET"), NoRetry), 1),
        (with(request("GET"), MaxAttempts(count(1))), 1),
        (with(request("GET"), MaxAttempts(count(5))), 5),
        (request("GET"), 3),
    ] {
        let transport = Transport::repeating(Fault::status(503));
        let response = layer()
            .layer(transport.clone())
            .oneshot(request)
            .await
            .expect("a response");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(transport.attempts(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_deadline_and_total_timeout_holds() {
    for (total, own, expected) in [(9, Some(2), 2), (2, Some(9), 2), (3, None, 3)] {
        let service = layer()
            .total_timeout(Duration::from_secs(total))
            .layer(Transport::repeating(Fault::hang()));
        let began = Instant::now();
        let mut request = request("GET");
        if let Some(own) = own {
            request = with(request, Deadline(began + Duration::from_secs(own)));
        }
        let error = service.oneshot(request).await.expect_err("out of time");
        assert_eq!(Instant::now() - began, Duration::from_secs(expected));
        let error = error
            .downcast::<RetryError>()
            .expect("an error of the layer");
        assert!(error.is_timeout());
        assert_eq!(
            (error.info().attempts, error.info().stopped),
            (1, StopReason::Deadline)
        );
    }
    // Also for a request that is sent once.
    let service = layer().layer(Transport::repeating(Fault::hang()));
    let deadline = Deadline(Instant::now() + Duration::from_secs(1));
    let once = with(with(request("GET"), NoRetry), deadline);
    let error = service.oneshot(once).await.expect_err("out of time");
    assert!(
        error
            .downcast::<RetryError>()
            .expect("an error of the layer")
            .is_timeout()
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_given_up_only_in_favour_of_another() {
    let slow = || Fault::status(200).after(Duration::from_secs(5));
    let second = Duration::from_secs(1);
    let cases = [
        // The second attempt is the last, and has all the time it needs.
        ("GET", Budget::percent(100), 2, Duration::from_secs(6)),
        ("POST", Budget::percent(100), 1, Duration::from_secs(5)),
        (
            "GET",
            Budget::percent(0).min_per_sec(0),
            1,
            Duration::from_secs(5),
        ),
    ];
    for (method, budget, attempts, took) in cases {
        let transport = Transport::repeating(slow());
        let service = layer()
            .max_attempts(count(2))
            .attempt_timeout(second)
            .budget(budget)
            .layer(transport.clone());
        let began = Instant::now();
        let response = service.oneshot(request(method)).await.expect("a response");
        assert_eq!(Instant::now() - began, took, "{method}");
        assert_eq!(transport.attempts(), attempts, "{method}");
        let reasons = RetryInfo::of(response.extensions()).reasons;
        assert_eq!(reasons, [RetryReason::AttemptTimeout][..attempts - 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_417_is_repeated_without_the_expectation() {
    let transport = Transport::new([Fault::status(417), Fault::status(503)]);
    let mut post = request("POST");
    post.headers_mut()
        .insert(header::EXPECT, "100-continue".parse().expect("a value"));
    let response = layer()
        .layer(transport.clone())
        .oneshot(post)
        .await
        .expect("a response");
    // The 503 is final: it may have been applied.
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let expects: Vec<bool> = transport
        .seen()
        .iter()
        .map(|it| it.headers.contains_key(header::EXPECT))
        .collect();
    assert_eq!(expects, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_attempt_is_counted_for_the_server() {
    let name = HeaderName::from_static("x-envoy-attempt-count");
    let transport = Transport::repeating(Fault::status(503));
    let service = layer()
        .attempt_header(name.clone(), AttemptHeader::Count)
        .layer(transport.clone());
    let mut incoming = request("GET");
    incoming
        .headers_mut()
        .insert(&name, "7".parse().expect("a value"));
    service.oneshot(incoming).await.expect("a response");
    let sent: Vec<_> = transport
        .seen()
        .iter()
        .map(|it| it.headers[&name].clone())
        .collect();
    assert_eq!(sent, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_for_methods_that_need_one_and_stays() {
    for (method, keyed) in [
        ("POST", true),
        ("PATCH", true),
        ("GET", false),
        ("PUT", false),
        ("CONNECT", false),
    ] {
        let transport = Transport::repeating(Fault::status(503));
        let service = ServiceBuilder::new()
            .layer(IdempotencyKeyLayer::new())
            .layer(layer())
            .service(transport.clone());
        service.oneshot(request(method)).await.expect("a response");
        let seen = transport.seen();
        let keys: Vec<_> = seen
            .iter()
            .map(|it| it.headers.get("idempotency-key"))
            .collect();
        assert_eq!(keys[0].is_some(), keyed, "{method}");
        assert!(keys.iter().all(|key| *key == keys[0]), "{method}: {keys:?}");
        assert_eq!(
            seen.len(),
            if method == "CONNECT" { 1 } else { 3 },
            "{method}"
        );
    }
    let transport = Transport::default();
    let mut own = request("POST");
    own.headers_mut()
        .insert("idempotency-key", "\"mine\"".parse().expect("a value"));
    let service = IdempotencyKeyLayer::new().layer(layer().layer(transport.clone()));
    service.oneshot(own).await.expect("a response");
    assert_eq!(transport.seen()[0].headers["idempotency-key"], "\"mine\"");
}

#[tokio::test(start_paused = true)]
async fn every_decision_is_seen() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let service = layer()
        .observe(move |event: &Event<'_>| {
            let retries = matches!(event.decision, Decision::Retry(_));
            kept.lock()
                .unwrap()
                .push((event.attempt, event.evidence, retries));
        })
        .layer(Transport::new([
            Fault::fail(Evidence::NotSent),
            Fault::status(503),
        ]));
    let response = service.oneshot(request("GET")).await.expect("a response");
    let expected = [
        (1, Evidence::NotSent, true),
        (
            2,
            Evidence::Responded(StatusCode::SERVICE_UNAVAILABLE),
            true,
        ),
        (3, Evidence::Responded(StatusCode::OK), false),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
    let info = RetryInfo::of(response.extensions());
    let reasons = [
        RetryReason::NotSent,
        RetryReason::Status(StatusCode::SERVICE_UNAVAILABLE),
    ];
    assert_eq!(info.reasons, reasons);
    assert!(info.earlier_attempt_may_have_applied);
}

#[tokio::test(start_paused = true)]
async fn a_response_accepted_at_once_carries_nothing() {
    let response = layer()
        .layer(Transport::default())
        .oneshot(request("GET"))
        .await
        .expect("a response");
    assert!(response.extensions().is_empty());
    assert_eq!(RetryInfo::of(response.extensions()).attempts, 1);
}

/// linkerd2#11529: a response before the body was sent, with the transport still sending it.
#[tokio::test(start_paused = true)]
async fn a_body_that_the_transport_still_holds_is_not_sent_again() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let holder = Arc::clone(&held);
    let service = layer().layer(service_fn(
        move |request: Request<ReplayBody<Full<Bytes>>>| {
            holder.lock().unwrap().push(request.into_body());
            let mut response = Response::new(Full::<Bytes>::from("early"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            async { Ok::<_, std::io::Error>(response) }
        },
    ));
    let put = request("PUT").map(|_| Full::from("hello"));
    let response = service.oneshot(put).await.expect("a response");
    assert_eq!(
        RetryInfo::of(response.extensions()).stopped,
        StopReason::Body
    );
    assert_eq!(text(response).await, "early");
    let body = held.lock().unwrap().pop().expect("one attempt");
    assert_eq!(
        body.collect()
            .await
            .expect("the transport goes on")
            .to_bytes(),
        "hello"
    );
}

/// A large or slow error page is not read to its end, and still handed on whole when there is no retry after all.
#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_response_is_handed_on() {
    let short = Script::new().data("short");
    let long = (0..100).fold(Script::new(), |script, _| script.data("x".repeat(100)));
    let endless = Script::new()
        .data("one")
        .stall()
        .data("two")
        .hint(Hint::Unknown);
    let cases = [
        (short, 5, true),
        (long.clone(), 10_000, false),
        (long.hint(Hint::Unknown), 10_000, false),
    ];
    for (script, length, complete) in cases {
        let transport = Transport::new([Fault::status(503).body(script)]).then(Readiness::Failing);
        let response = layer()
            .layer(transport)
            .oneshot(request("GET"))
            .await
            .expect("the 503");
        assert_eq!(
            RetryInfo::of(response.extensions()).stopped,
            StopReason::NotReady
        );
        let hint = response.body().size_hint();
        assert_eq!(hint.exact().unwrap_or(length), length, "{complete}");
        assert_eq!(text(response).await.len() as u64, length);
    }
    let transport = Transport::new([Fault::status(503).body(endless)]);
    let began = Instant::now();
    let response = layer()
        .layer(transport)
        .oneshot(request("GET"))
        .await
        .expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        Instant::now() - began,
        Duration::from_millis(50),
        "the drain is bounded"
    );
}

#[tokio::test(start_paused = true)]
async fn only_so_much_of_a_response_is_read() {
    // A response whose connection cannot be saved is dropped when the service waits, before the next attempt.
    let (body, probe) = (0..100)
        .fold(Script::new(), |it, _| it.data("x".repeat(100)))
        .hint(Hint::Unknown)
        .body();
    let body = Arc::new(Mutex::new(Some(body)));
    let probe_at_second = Arc::new(Mutex::new(None::<(usize, bool)>));
    let (first, noted, watched): (_, _, BodyProbe) =
        (Arc::clone(&body), Arc::clone(&probe_at_second), probe);
    let service = layer().layer(service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
        let mut response = match first.lock().unwrap().take() {
            Some(body) => Response::new(body),
            None => {
                *noted.lock().unwrap() = Some((watched.frames(), watched.dropped()));
                return std::future::ready(Ok::<_, std::io::Error>(Response::new(
                    ScriptedBody::default(),
                )));
            }
        };
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        std::future::ready(Ok(response))
    }));
    service.oneshot(request("GET")).await.expect("a response");
    let (frames, dropped) = probe_at_second.lock().unwrap().expect("a second attempt");
    assert_eq!(
        frames, 41,
        "4 KiB of 100 bytes each, and the frame that passes them"
    );
    assert!(dropped, "let go of before the next attempt");
}

/// 400 requests to a server that only fails: a fifth more, and what was saved up.
#[tokio::test(start_paused = true)]
async fn a_failing_server_sees_no_storm() {
    let transport = Transport::repeating(Fault::status(503));
    let service = RetryLayer::proxy()
        .classify(Told)
        .max_attempts(count(4))
        .layer(transport.clone());
    let began = Instant::now();
    for _ in 0..400 {
        service
            .clone()
            .oneshot(request("GET"))
            .await
            .expect("a response");
    }
    let seconds = (Instant::now() - began).as_secs() + 2;
    let attempts = transport.attempts() as u64;
    assert!(
        attempts > 400 && attempts <= 480 + 10 * seconds,
        "{attempts} in {seconds} s"
    );

    // What was not processed is not charged, and bounded by the attempts.
    let transport = Transport::repeating(Fault::fail(Evidence::NotProcessed));
    let service = layer()
        .budget(Budget::percent(0).min_per_sec(0))
        .layer(transport.clone());
    for _ in 0..10 {
        service
            .clone()
            .oneshot(request("POST"))
            .await
            .expect_err("never processed");
    }
    assert_eq!(transport.attempts(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_repeated_is_not_kept() {
    let (body, probe) = Script::new().data("part").body();
    let taken = Arc::new(Mutex::new(None));
    let keeper = Arc::clone(&taken);
    let mut service = layer().layer(service_fn(
        move |request: Request<ReplayBody<ScriptedBody>>| {
            *keeper.lock().unwrap() = Some(request.into_body());
            std::future::pending::<Result<Response<Full<Bytes>>, std::io::Error>>()
        },
    ));
    let mut request = Request::new(body);
    request.extensions_mut().insert(NoRetry);
    let response = service.ready().await.expect("ready").call(request);
    drop(taken.lock().unwrap().take());
    assert!(probe.dropped(), "nothing but the transport held it");
    drop(response);
}

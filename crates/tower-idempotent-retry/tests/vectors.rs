//! The behaviour vectors, over a transport without sockets and on a paused clock.

mod support;

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_conn_testkit::body::{Hint, Script, ScriptedBody};
use tower_conn_testkit::vectors;
use tower_idempotent_retry::{
    AttemptHeader, Backoff, BoxError, Budget, Evidence, Failure, IdempotencyKeyLayer,
    MarkIdempotent, OverCap, ResponseBody, RetryError, RetryInfo, RetryLayer, StopReason,
};

use support::{Fault, Readiness, Told, Transport};

type Answer = Result<Response<ResponseBody<ScriptedBody>>, BoxError>;

/// Sun, 06 Nov 1994 08:49:37 GMT.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {vector}"))
}

fn reused(evidence: Evidence) -> Failure {
    Failure::new(evidence).reused(true)
}

fn retry_after(code: u16, value: &str) -> Fault {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::RETRY_AFTER,
        HeaderValue::from_str(value).expect("a field value"),
    );
    Fault::respond(code, headers)
}

fn with_field(code: u16, name: &'static str, value: &'static str) -> Fault {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_static(value));
    Fault::respond(code, headers)
}

fn fault(name: &str, body: &str) -> Fault {
    if let Some(rest) = name.strip_prefix("status_") {
        let (code, rest) = rest.split_at(3);
        let code: u16 = code.parse().expect("a status");
        return match rest {
            "" => Fault::status(code),
            "_before_body_read" => Fault::status(code).unread(),
            "_retry_after_http_date_plus_1s" => retry_after(code, "Sun, 06 Nov 1994 08:49:38 GMT"),
            "_retry_after_obsolete_date_plus_1s" => {
                retry_after(code, "Sunday, 06-Nov-94 08:49:38 GMT")
            }
            "_retry_after_http_date_past" => retry_after(code, "Sun, 06 Nov 1994 08:49:36 GMT"),
            "_retry_after_garbage" => retry_after(code, "in a while"),
            "_retry_after_padded_1" => retry_after(code, " \t1 "),
            "_should_retry_false" => with_field(code, "stripe-should-retry", "false"),
            "_should_retry_true" => with_field(code, "stripe-should-retry", "true"),
            "_x_envoy_overloaded" => with_field(code, "x-envoy-overloaded", "true"),
            other => match other.strip_prefix("_retry_after_") {
                Some(value) => retry_after(code, value),
                None => panic!("unknown fault {name}"),
            },
        };
    }
    match name {
        "ok" => Fault::status(200),
        "connect_refused" => Fault::fail(Evidence::NotSent).unread(),
        "canceled_before_write_reused_conn" => Fault::fail(reused(Evidence::NotSent)).unread(),
        // The vector with a large body is one whose body was sent before the refusal.
        "refused_stream" if body == "large" => Fault::fail(Evidence::NotProcessed),
        "refused_stream" => Fault::fail(Evidence::NotProcessed).unread(),
        "goaway_maybe_processed"
        | "rst_before_response_reused_conn"
        | "closed_before_response_reused_conn" => Fault::fail(reused(Evidence::Ambiguous)),
        "closed_before_response_new_conn" => {
            Fault::fail(Failure::new(Evidence::Ambiguous).reused(false))
        }
        "h2_reset_internal_error"
        | "h2_library_goaway_protocol_error"
        | "closed_mid_response_head" => Fault::fail(Evidence::Ambiguous),
        "reset_mid_response_body" => Fault::status(200).body(Script::new().data("part").error(1)),
        "timeout" => Fault::hang(),
        other => panic!("unknown fault {other}"),
    }
}

fn transport(vector: &Value) -> Transport {
    let (faults, body) = (text(vector, "fault"), text(vector, "body"));
    match faults.strip_suffix('*') {
        Some(fault_name) => Transport::repeating(fault(fault_name, body)),
        None => Transport::new(faults.split(',').map(|name| fault(name, body))),
    }
}

fn count(text: &str) -> NonZeroU32 {
    text.parse().expect("a count")
}

/// The layer that a vector's policy stands for.
fn layer(policy: &str) -> RetryLayer<Told> {
    let policy = policy.strip_prefix("target:").expect("a target vector");
    let (preset, rest) = policy.split_once('(').expect("a preset");
    let (options, _) = rest.split_once(')').expect("options");
    let layer = match preset {
        "default" | "budget" => RetryLayer::client(),
        "proxy" => RetryLayer::proxy(),
        "rfc_strict" => RetryLayer::rfc_strict(),
        "stale_only" => RetryLayer::stale_only(),
        other => panic!("unknown preset {other}"),
    };
    let mut layer = layer
        .classify(Told)
        .wall_clock(wall)
        .backoff(longest(Duration::from_millis(50)));
    for option in options.split(',').map(str::trim) {
        layer = match option.split_once('=').unwrap_or((option, "")) {
            ("max_attempts", value) => layer.max_attempts(count(value)),
            ("total", "50ms") => layer.total_timeout(Duration::from_millis(50)),
            ("total", "30s") => layer.total_timeout(Duration::from_secs(30)),
            ("backoff", "200ms") => layer.backoff(longest(Duration::from_millis(200))),
            ("per_try", "T/4") => layer
                .total_timeout(Duration::from_secs(2))
                .attempt_timeout(Duration::from_millis(500)),
            ("budget", "0") => layer.budget(Budget::percent(0).min_per_sec(0)),
            ("max_408", value) => layer.max_after_408(count(value).get()),
            ("retry_409_with_key", "on") => layer.conflict_with_key(true),
            ("retry_after_cap", "30s") => layer.retry_after_cap(Duration::from_secs(30)),
            ("over_cap", "give_up") => layer.over_cap(OverCap::GiveUp),
            ("server_hint", name) => {
                layer.server_hint(HeaderName::from_bytes(name.as_bytes()).expect("a name"))
            }
            ("body_cap", "65536") => layer.body_limit(65_536),
            // What is the default, or belongs to the body or to the budget's own vector.
            ("retry_413", "on")
            | ("drain<", "4KiB")
            | ("body", "65536B")
            | ("chunks", "3x32KiB")
            | (
                "last attempt unbounded except by total" | "reused connections" | "one fresh retry",
                "",
            )
            | ("ratio", "0.6")
            | ("reserve", "0") => layer,
            (other, value) => panic!("unknown option {other}={value}"),
        };
    }
    if policy.ends_with("attempt header") {
        let name = HeaderName::from_static("grpc-previous-rpc-attempts");
        layer = layer.attempt_header(name, AttemptHeader::Previous);
    }
    layer.shed_if_not_ready(policy.contains("shed_if_not_ready=on"))
}

/// The longest wait is always drawn.
fn longest(base: Duration) -> Backoff {
    Backoff::full_jitter(base, Duration::from_secs(1)).rng(|| u64::MAX)
}

fn body(vector: &Value) -> Script {
    let policy = text(vector, "policy");
    let chunk = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
    match text(vector, "body") {
        "none" => Script::new(),
        "small" => Script::new().data("hello"),
        "large" if policy.contains("body=65536B") => Script::new().data(chunk(b'x', 65_536)),
        "large" => (0..16).fold(Script::new(), |script, at| {
            script.data(chunk(at, 16 * 1024))
        }),
        "stream" => {
            let length = if policy.contains("chunks=3x32KiB") {
                32 * 1024
            } else {
                1024
            };
            let script = (0..3).fold(Script::new(), |script, at| script.data(chunk(at, length)));
            let script = script.hint(Hint::Unknown);
            if policy.contains("request trailers") {
                script.trailer("checksum", "abc")
            } else {
                script
            }
        }
        other => panic!("unknown body {other}"),
    }
}

fn request(vector: &Value, script: &Script) -> Request<ScriptedBody> {
    let mut request = Request::new(script.body().0);
    *request.method_mut() =
        Method::from_bytes(text(vector, "method").as_bytes()).expect("a method");
    *request.uri_mut() = "http://peer.example/".parse().expect("a URI");
    *request.headers_mut() = vectors::headers(&vector["request_headers"]);
    if text(vector, "policy").contains("marked idempotent") {
        request.extensions_mut().insert(MarkIdempotent);
    }
    request
}

fn info(answer: &Answer) -> RetryInfo {
    match answer {
        Ok(response) => RetryInfo::of(response.extensions()),
        Err(error) => {
            let error = error
                .downcast_ref::<RetryError>()
                .expect("an error of the layer");
            error.info().clone()
        }
    }
}

async fn run(vector: &Value) {
    let name = text(vector, "name");
    let policy = text(vector, "policy");
    let mut layer = layer(policy);
    let mut transport = transport(vector);
    if policy.contains("poll_ready fails") {
        transport = transport.then(Readiness::Failing);
    } else if policy.contains("inner pending") {
        transport = transport.then(Readiness::Pending);
    }
    if name.starts_with("timeout-") && !policy.contains("per_try") {
        layer = layer
            .total_timeout(Duration::from_secs(2))
            .attempt_timeout(Duration::from_millis(500));
    }
    if policy.contains("per_try") {
        // The last attempt takes longer than the attempt timeout.
        let slow = Fault::status(200).after(Duration::from_millis(1200));
        transport = Transport::new([Fault::hang(), slow]);
    }
    let budget = Budget::percent(60).min_per_sec(0).build();
    if policy.starts_with("target:budget") {
        (0..9).for_each(|_| budget.deposit());
        layer = layer.shared_budget(budget.clone());
    }
    let script = body(vector);
    let request = request(vector, &script);
    let began = Instant::now();
    let service = ServiceBuilder::new()
        .layer(IdempotencyKeyLayer::new().name(HeaderName::from_static("x-key")))
        .service(layer.layer(transport.clone()));
    let answer = service.oneshot(request);
    let answer = if policy.contains("drops future during backoff") {
        let dropped = tokio::time::timeout(Duration::from_millis(20), answer).await;
        assert!(
            dropped.is_err(),
            "{name}: answered before the end of the backoff"
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        None
    } else {
        Some(answer.await)
    };
    let took = Instant::now() - began;

    let seen = transport.seen();
    let expected = vector["expected_attempts"].as_u64().expect("a count");
    assert_eq!(seen.len() as u64, expected, "{name}: attempts");
    for (index, attempt) in seen.iter().enumerate() {
        assert_eq!(
            attempt.attempt as usize,
            index + 1,
            "{name}: the number of the attempt"
        );
        assert_eq!(attempt.body_error, None, "{name}: the request body");
        assert_eq!(
            attempt.headers.get("x-key"),
            seen[0].headers.get("x-key"),
            "{name}: the key"
        );
        for (field, value) in &vectors::headers(&vector["request_headers"]) {
            assert_eq!(attempt.headers.get(field), Some(value), "{name}: {field}");
        }
        let exact = script.body().0;
        let exact = http_body::Body::size_hint(&exact).exact();
        assert_eq!(
            attempt.hint.exact(),
            exact,
            "{name}: the size of attempt {}",
            index + 1
        );
    }
    if let Some(answer) = answer {
        outcome(vector, name, &seen, took, &answer);
        body_of(name, answer).await;
    }
    if name == "budget-60-percent" {
        assert_eq!(
            (0..10).filter(|_| budget.withdraw()).count(),
            5,
            "{name}: withdrawals left"
        );
    }
}

fn outcome(vector: &Value, name: &str, seen: &[support::Seen], took: Duration, answer: &Answer) {
    let info = info(answer);
    assert_eq!(info.attempts as usize, seen.len(), "{name}: {info:?}");
    assert_eq!(info.reasons.len() + 1, seen.len(), "{name}: {info:?}");
    let faults = text(vector, "fault");
    let repeats = faults.ends_with('*') || faults.split(',').count() >= seen.len();
    if text(vector, "expected") != "no_retry" && !repeats {
        let response = answer
            .as_ref()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(response.status(), 200, "{name}: {info:?}");
        assert_eq!(info.stopped, StopReason::Accepted, "{name}");
    }
    if text(vector, "expected") == "retry_after_delay" {
        let gap = seen[1].at - seen[0].at;
        let asked = if text(vector, "fault").contains("20*") {
            20
        } else {
            1
        };
        let asked = Duration::from_secs(asked);
        assert!(
            gap >= asked && gap <= asked + Duration::from_secs(1),
            "{name}: waited {gap:?}"
        );
    }
    if let Some(last) = seen.last().filter(|_| seen.len() > 1) {
        let fault = text(vector, "fault");
        let status =
            fault.starts_with("status_") && !fault.contains("421") && !fault.contains("408");
        assert_eq!(last.fresh, !status, "{name}: a fresh connection");
    }
    let stopped = match name {
        "connect-refused-always"
        | "refused-stream-forever"
        | "503-get-strict"
        | "408-get-twice" => StopReason::MaxAttempts,
        "refused-stream-post-consumed-over-cap" | "put-stream-exceeds-cap-while-sending" => {
            StopReason::Body
        }
        "new-closed-no-byte-get-stale-only" => StopReason::NotStale,
        "stale-only-second-attempt-uses-fresh-conn" => StopReason::NotStale,
        "timeout-post"
        | "deadline-shorter-than-backoff"
        | "503-retry-after-120-times-max-attempts" => StopReason::Deadline,
        "503-retry-after-3600-over-cap" | "503-retry-after-u64-overflow" => StopReason::RetryAfter,
        "503-hint-should-retry-false" | "503-overloaded-marker" => StopReason::ServerRefuses,
        "budget-empty-returns-last-response" => StopReason::Budget,
        "inner-poll-ready-error-on-retry" | "inner-not-ready-on-retry-sheds" => {
            StopReason::NotReady
        }
        "503-post"
        | "429-post"
        | "408-post"
        | "connect-method"
        | "upgrade-not-retried-after-send"
        | "lock-method-webdav"
        | "unknown-method"
        | "lowercase-get-is-not-get"
        | "reused-closed-no-byte-post"
        | "reused-closed-no-byte-post-idemkey-proxy"
        | "timeout-post-x"
        | "rst-reused-post"
        | "partial-response-head-post"
        | "h2-reset-internal-error-post"
        | "h2-local-protocol-error-goaway-post"
        | "goaway-stream-at-or-below-last-id-post" => StopReason::Unsafe,
        _ => StopReason::Accepted,
    };
    assert_eq!(info.stopped, stopped, "{name}");
    match name {
        "deadline-shorter-than-backoff" | "503-retry-after-3600-over-cap" => {
            assert_eq!(took, Duration::ZERO, "{name}: handed on at once");
        }
        "timeout-post" => assert_eq!(took, Duration::from_secs(2), "{name}: the total holds"),
        "timeout-last-attempt-no-per-try-limit" => {
            assert_eq!(took, Duration::from_millis(1750), "{name}: 500 + 50 + 1200");
        }
        "attempt-header-first-absent" => {
            let sent = |at: usize| seen[at].headers.get("grpc-previous-rpc-attempts");
            assert_eq!(
                (sent(0), sent(1)),
                (None, Some(&HeaderValue::from_static("1")))
            );
        }
        "put-trailers-replayed" => {
            for attempt in seen {
                assert_eq!(
                    attempt.trailers.as_ref().expect("trailers")["checksum"],
                    "abc"
                );
            }
        }
        "put-stream-early-503-before-body-read" | "put-stream-refused-before-first-chunk" => {
            assert_eq!(
                seen[1].body.len(),
                3 * 1024,
                "{name}: delivered once, whole"
            );
        }
        "put-body-at-cap" => assert!(seen[1].body.len() == 65_536 && seen[1].body == seen[0].body),
        "put-stream-exceeds-cap-while-sending" => assert_eq!(seen[0].body.len(), 3 * 32 * 1024),
        "connect-refused-post-large-unpolled" => assert_eq!(seen[1].body.len(), 256 * 1024),
        _ => {}
    }
}

/// A response, also one that was read before it was to be retried, still has its body.
async fn body_of(name: &str, answer: Answer) {
    let Ok(response) = answer else { return };
    let status = response.status().as_u16().to_string();
    let collected = response.into_body().collect().await;
    if name == "reset-mid-response-body-get" {
        assert!(collected.is_err(), "{name}: the error reaches the reader");
    } else {
        assert_eq!(
            collected.expect("a body").to_bytes(),
            status,
            "{name}: the response body"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_target_vectors() {
    let vectors = vectors::load("tests/vectors/retry.jsonl");
    assert_eq!(vectors.len(), 88);
    for vector in &vectors {
        run(vector).await;
    }
}

/// The vector names both obsolete forms; the runner sends the first.
#[tokio::test(start_paused = true)]
async fn an_asctime_date_is_waited_for() {
    let transport = Transport::new([retry_after(503, "Sun Nov  6 08:49:38 1994")]);
    let service = RetryLayer::client()
        .classify(Told)
        .wall_clock(wall)
        .backoff(Backoff::none())
        .layer(transport.clone());
    let request = Request::get("http://peer.example/").body(ScriptedBody::default());
    service
        .oneshot(request.expect("a request"))
        .await
        .expect("an answer");
    let seen = transport.seen();
    assert_eq!(seen[1].at - seen[0].at, Duration::from_secs(1));
}

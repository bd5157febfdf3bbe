//! Every client line of the vectors, through `Lifetime` and `KeepAliveHint`.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use serde_json::Value;
use tokio::time::Instant;
use tower_conn_testkit::vectors;
use tower_keep_alive::{KeepAliveHint, Lifetime, RequestFacts, ReusePolicy};

/// Lines whose expectation is another client's policy, and what happens here instead.
const DEVIATIONS: &[(&str, &str)] = &[(
    "nginx_upstream_age_cap_is_lazy",
    "a connection over its age is not used once more",
)];

/// Lines about bytes, not heads; `tests/hint_layer.rs` has them.
const ON_THE_WIRE: &[&str] = &[
    "hyper_extra_bytes_after_response",
    "hyper_unsolicited_408_on_idle",
    "hyper_body_dropped_early",
];

/// The policy that the line's prose describes, and how long the connection is idle before the next use.
fn setting(name: &str) -> (ReusePolicy, Duration) {
    let seconds = Duration::from_secs;
    let policy = ReusePolicy::new().margin(Duration::ZERO);
    match name {
        "hint_below_threshold_no_reuse" => (policy.margin(seconds(2)), Duration::ZERO),
        "hint_threshold_29" => (policy.margin(seconds(29)), Duration::ZERO),
        "hint_timeout_one_margin_one" => (policy.margin(seconds(1)), Duration::ZERO),
        "hint_clamped_by_client_max" => (policy.ceiling(seconds(1)), Duration::ZERO),
        "nginx_upstream_idle_cap" => (policy.ceiling(seconds(2)), Duration::from_millis(2500)),
        "nginx_upstream_age_cap_is_lazy" => {
            (policy.max_age(seconds(2)), Duration::from_millis(2500))
        }
        "hint_without_connection_token" => (policy.strict(true), Duration::ZERO),
        "hc_10_explicit_keepalive" => (policy.reuse_http10(true), Duration::ZERO),
        _ => (policy, Duration::ZERO),
    }
}

fn version(value: &Value) -> Version {
    match value.as_str() {
        Some("1.0") => Version::HTTP_10,
        Some("1.1") => Version::HTTP_11,
        Some("2") => Version::HTTP_2,
        other => panic!("version {other:?}"),
    }
}

fn check(vector: &Value) -> Result<(), String> {
    let (policy, idle) = setting(vector["name"].as_str().expect("a name"));
    let mut request = Request::new(());
    *request.version_mut() = version(&vector["request_version"]);
    *request.headers_mut() = vectors::headers(&vector["request_headers"]);
    *request.method_mut() = vector["request_method"]
        .as_str()
        .map_or(Method::GET, |method| method.parse().expect("a method"));
    let mut response = Response::new(());
    *response.version_mut() = version(&vector["response_version"]);
    *response.headers_mut() = vectors::headers(&vector["response_headers"]);
    if let Some(status) = vector["status"].as_u64() {
        *response.status_mut() = StatusCode::from_u16(status as u16).expect("a status");
    }

    let start = Instant::now();
    let mut lifetime = Lifetime::new(start);
    lifetime.sent();
    lifetime.received(&policy, &RequestFacts::of(&request), &response, start);
    let expired = lifetime.expired(&policy, start + idle);
    if Some(expired.is_none()) != vector["expected_persist"].as_bool() {
        return Err(format!("expired: {expired:?}"));
    }

    let hint = policy.hint_of(&response);
    let expected = &vector["expected_hint"];
    let timeout = expected["timeout_s"].as_u64().map(Duration::from_secs);
    let max = expected["max"].as_u64().map(|max| max as u32);
    if hint != KeepAliveHint::new(timeout, max) {
        return Err(format!("hint: {hint:?}"));
    }
    if let Some(seconds) = vector["effective_idle_s"].as_u64() {
        let limit = policy.idle_limit(hint).unwrap_or_default();
        if limit != Duration::from_secs(seconds) {
            return Err(format!("idle limit: {limit:?}"));
        }
    }
    Ok(())
}

#[test]
fn every_client_line_holds_or_is_a_listed_deviation() {
    let mut failed = Vec::new();
    let (mut lines, mut on_the_wire) = (0, 0);
    for vector in vectors::load("tests/vectors/keep-alive.jsonl") {
        let name = vector["name"].as_str().expect("a name");
        if vector["side"] != "client" {
            continue;
        }
        lines += 1;
        if ON_THE_WIRE.contains(&name) {
            on_the_wire += 1;
            continue;
        }
        let deviates = DEVIATIONS.iter().any(|&(listed, _)| listed == name);
        match (check(&vector), deviates) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => failed.push(format!("{name} is listed as a deviation and holds")),
            (Err(wrong), false) => failed.push(format!("{name}: {wrong}")),
        }
    }
    assert_eq!((lines, on_the_wire), (67, ON_THE_WIRE.len()));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

//! Rules of RFC 9110, 9112 and 9113 and of the policies, one message each, through the pure functions.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use tower_conn_core::framing::FramingError;
use tower_hop_by_hop::{
    MalformedOptions, Policy, ProtectedNames, ProxyAuth, RejectReason, RequestContext, Stripped,
    Upgrades, strip_request, strip_response,
};

/// Header lines as text; each character is one byte.
fn lines(text: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once(':').expect("a field");
        let value: Vec<u8> = value.trim_matches(' ').chars().map(|c| c as u8).collect();
        map.append(
            HeaderName::from_bytes(name.trim().as_bytes()).expect("a name"),
            HeaderValue::from_bytes(&value).expect("a value"),
        );
    }
    map
}

fn request(policy: &Policy, text: &str) -> Result<(HeaderMap, Stripped), RejectReason> {
    let mut map = lines(text);
    match strip_request(&mut map, Version::HTTP_11, policy) {
        Ok(stripped) => Ok((map, stripped)),
        Err(rejection) => Err(rejection.reason().clone()),
    }
}

fn response(policy: &Policy, status: u16, text: &str) -> Result<HeaderMap, RejectReason> {
    let mut map = lines(text);
    let context = RequestContext::new(&Method::GET, Version::HTTP_11);
    let status = StatusCode::from_u16(status).expect("a status");
    match strip_response(&mut map, status, Version::HTTP_11, &context, policy) {
        Ok(_) => Ok(map),
        Err(rejection) => Err(rejection.reason().clone()),
    }
}

#[track_caller]
fn assert_request(policy: &Policy, before: &str, after: &str) {
    let (map, _) = request(policy, before).expect("forwarded");
    assert_eq!(map, lines(after));
}

#[test]
fn options_are_compared_whole_and_in_any_case() {
    let policy = Policy::gateway();
    let before =
        "CONNECTION: x-PRIVATE-hop, KEEP-alive\nX-Private-Hop: 1\nkeep-ALIVE: timeout=5\nX-Keep: 2";
    assert_request(&policy, before, "x-keep: 2");
    assert_request(&policy, "connection: baa\nbaa:\nbaax: 1", "baax: 1");
    assert_request(
        &policy,
        "x-m: 1\nconnection: X-Multi\nx-multi: 2\nX-MULTI: 3",
        "x-m: 1",
    );
    assert_request(&policy, "proxy-connection: keep-alive\nx: 1", "x: 1");
    let long = "x".repeat(70);
    let before = format!("connection: {}\n{long}: 1\nx: 2", long.to_uppercase());
    assert_request(&policy, &before, "x: 2");
}

#[test]
fn a_close_field_goes_only_when_nominated() {
    assert_request(&Policy::gateway(), "close: 1", "close: 1");
    assert_request(
        &Policy::gateway(),
        "connection: keep-alive\nclose: 1",
        "close: 1",
    );
    assert_request(
        &Policy::gateway(),
        "connection: close\nclose: 1\nx: 1",
        "x: 1",
    );
}

#[test]
fn decorated_names_are_not_the_protected_ones() {
    let strict = Policy::gateway()
        .protected_names(ProtectedNames::Reject)
        .malformed_options(MalformedOptions::Reject);
    let before = "connection: 'X-Forwarded-For', X-Forwarded-For., !X-Forwarded-For\nx-forwarded-for: 192.0.2.1";
    assert_request(&strict, before, "x-forwarded-for: 192.0.2.1");
    for (options, reason) in [
        (
            "X-Forwarded-Host",
            RejectReason::ProtectedName(HeaderName::from_static("x-forwarded-host")),
        ),
        ("X-Secret, \u{ff}junk", RejectReason::MalformedOption),
        (":path", RejectReason::MalformedOption),
    ] {
        let refused = request(&strict, &format!("connection: {options}"));
        assert_eq!(refused.expect_err("refused"), reason);
    }
}

#[test]
fn the_protected_set_can_be_changed() {
    let tenant = HeaderName::from_static("x-tenant");
    let policy = Policy::gateway().protect(tenant.clone());
    let before = "connection: x-tenant, etag\nx-tenant: 1\netag: 2";
    assert_request(&policy, before, "x-tenant: 1\netag: 2");
    let policy = policy.unprotect(HeaderName::from_static("etag"));
    assert_request(&policy, before, "x-tenant: 1");
    assert_request(
        &policy
            .unprotect(tenant)
            .protect(HeaderName::from_static("etag")),
        before,
        "etag: 2",
    );
    // What is always stripped cannot be protected.
    let policy = Policy::gateway().protect(HeaderName::from_static("keep-alive"));
    assert_request(
        &policy,
        "connection: keep-alive\nkeep-alive: 5\nx: 1",
        "x: 1",
    );
}

#[test]
fn too_many_options_are_refused_however_they_are_spread() {
    let policy = Policy::gateway().max_options(Some(3));
    assert!(request(&policy, "connection: a, b,, c").is_ok());
    for before in [
        "connection: a, b, c, d",
        "connection: a, b\nconnection: close, @",
    ] {
        assert_eq!(
            request(&policy, before).expect_err("refused"),
            RejectReason::TooManyOptions
        );
    }
    let none = Policy::gateway().max_options(Some(0));
    assert_eq!(
        request(&none, "connection: keep-alive").expect_err("refused"),
        RejectReason::TooManyOptions
    );
    let names: Vec<String> = (0..65).map(|at| format!("x-{at}")).collect();
    let before = format!("connection: {}", names.join(","));
    assert!(request(&Policy::gateway(), &before).is_err());
    assert!(request(&Policy::rfc_literal(), &before).is_ok());
}

#[test]
fn a_nomination_wins_over_what_a_policy_keeps() {
    let policy = Policy::gateway().proxy_auth(ProxyAuth::Relay);
    assert_request(
        &policy,
        "proxy-authorization: a\ntrailer: b",
        "proxy-authorization: a\ntrailer: b",
    );
    let before =
        "connection: proxy-authorization, trailer\nproxy-authorization: a\ntrailer: b\nx: 1";
    assert_request(&policy, before, "x: 1");
}

#[test]
fn extra_names_go_everywhere() {
    let policy = Policy::gateway().extra(HeaderName::from_static("x-internal"));
    let (map, stripped) =
        request(&policy, "x-internal: 1\nx-internal: 2\nx: 3").expect("forwarded");
    assert_eq!((map, stripped.report.extra_count()), (lines("x: 3"), 1));
    let before = "connection: keep-alive\nx-internal: 1";
    assert_request(&policy, before, "");
    assert_eq!(response(&policy, 200, before), Ok(HeaderMap::new()));
}

#[test]
fn upgrades_to_http_are_never_offered() {
    let any = Policy::gateway().upgrades(Upgrades::Any);
    for hidden in [
        "h2c", "H2", "HTTP/2.0", "http/3.0", "h2c-14", "h3-29", "b@d", "a/b/c", "/x",
    ] {
        let before = format!("connection: upgrade\nupgrade: {hidden}\nx: 1");
        assert_request(&any, &before, "x: 1");
    }
    assert_request(
        &any,
        "connection: upgrade\nupgrade: h2c, TLS/1.0\nupgrade: websocket",
        "connection: upgrade\nupgrade: TLS/1.0, websocket",
    );
    assert_request(
        &Policy::gateway(),
        "connection: upgrade\nupgrade: tftp/1.0\nx: 1",
        "x: 1",
    );
}

#[test]
fn faulty_transfer_encodings_are_refused() {
    let policy = Policy::gateway();
    for (value, reason) in [
        ("gzip", RejectReason::Framing(FramingError::ChunkedNotLast)),
        (
            "chunked, chunked",
            RejectReason::Framing(FramingError::ChunkedTwice),
        ),
        (
            "xchunked",
            RejectReason::Framing(FramingError::ChunkedNotLast),
        ),
        ("identity, chunked", RejectReason::TransferCoding),
    ] {
        let before = format!("transfer-encoding: {value}");
        assert_eq!(request(&policy, &before).expect_err(value), reason);
    }
    let mut map = lines("transfer-encoding: chunked");
    let refused = strip_request(&mut map, Version::HTTP_10, &policy).expect_err("refused");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    for value in ["gzip", "gzip, chunked", "identity"] {
        let before = format!("transfer-encoding: {value}");
        assert_eq!(
            response(&policy, 200, &before),
            Err(RejectReason::TransferCoding),
            "{value}"
        );
    }
}

#[test]
fn the_label_of_no_body_is_no_loss() {
    let policy = Policy::gateway();
    assert_eq!(
        response(&policy, 304, "transfer-encoding: gzip, chunked\netag: 1"),
        Ok(lines("etag: 1"))
    );
}

#[test]
fn framing_goes_where_there_can_be_no_body() {
    let policy = Policy::gateway();
    for status in [102, 103, 204] {
        let after = response(&policy, status, "content-length: 0\nx: 1");
        assert_eq!(after, Ok(lines("x: 1")), "{status}");
    }
    let kept = lines("content-length: 0");
    assert_eq!(
        response(&policy, 304, "content-length: 0"),
        Ok(kept.clone())
    );
    let mut map = kept.clone();
    let connect = RequestContext::new(&Method::CONNECT, Version::HTTP_11);
    strip_response(
        &mut map,
        StatusCode::OK,
        Version::HTTP_11,
        &connect,
        &policy,
    )
    .expect("forwarded");
    assert!(map.is_empty());
    let mut map = kept.clone();
    let refused = StatusCode::FORBIDDEN;
    strip_response(&mut map, refused, Version::HTTP_11, &connect, &policy).expect("forwarded");
    assert_eq!(map, kept);
}

#[test]
fn te_depends_on_the_versions() {
    let before = lines("te: trailers");
    let policy = Policy::gateway();
    // A client of HTTP/1.0 cannot be sent trailers, so the upstream must not be told that it can.
    let mut map = before.clone();
    strip_request(&mut map, Version::HTTP_10, &policy).expect("forwarded");
    assert!(map.is_empty());
    let mut map = before.clone();
    strip_request(
        &mut map,
        Version::HTTP_11,
        &policy.clone().outbound(Version::HTTP_10),
    )
    .expect("forwarded");
    assert!(map.is_empty());
    let mut map = before.clone();
    strip_request(&mut map, Version::HTTP_2, &policy.outbound(Version::HTTP_2)).expect("forwarded");
    assert_eq!(map, before);
}

#[test]
fn cookies_stay_apart_where_they_may() {
    let before = lines("cookie: a=1\ncookie: b=2\nte: trailers");
    let mut map = before.clone();
    strip_request(
        &mut map,
        Version::HTTP_2,
        &Policy::gateway().outbound(Version::HTTP_2),
    )
    .expect("forwarded");
    assert_eq!(map, before);
    let mut map = lines("cookie: a=1\ncookie: b=2");
    map.iter_mut()
        .for_each(|(_, value)| value.set_sensitive(true));
    strip_request(&mut map, Version::HTTP_2, &Policy::gateway()).expect("forwarded");
    assert_eq!(map, lines("cookie: a=1; b=2"));
    assert!(map["cookie"].is_sensitive());
    let mut map = lines("cookie: a=1\ncookie: b=2");
    strip_request(&mut map, Version::HTTP_11, &Policy::gateway()).expect("forwarded");
    assert_eq!(map.get_all("cookie").iter().count(), 2);
}

#[test]
fn http2_requests_with_connection_fields_are_refused() {
    for bad in [
        "connection: keep-alive",
        "keep-alive: 1",
        "upgrade: x",
        "te: gzip",
        "te: trailers, gzip",
    ] {
        let mut map = lines(bad);
        let refused = strip_request(&mut map, Version::HTTP_2, &Policy::gateway()).expect_err(bad);
        assert_eq!(*refused.reason(), RejectReason::NotInHttp2);
        assert_eq!(map, lines(bad));
    }
}

#[test]
fn proxy_authentication_stays_or_passes() {
    let challenge = "proxy-authenticate: Basic realm=\"p\"\nx: 1";
    assert_eq!(
        response(&Policy::gateway(), 407, challenge),
        Ok(lines("x: 1"))
    );
    let relay = Policy::forward_proxy().proxy_auth(ProxyAuth::Relay);
    assert_eq!(response(&relay, 407, challenge), Ok(lines(challenge)));
}

#[test]
fn reports_name_what_was_done_and_no_values() {
    let before = "connection: x-a, Host, @, te, upgrade\nkeep-alive: secret-1\nx-a: secret-2\nhost: secret-3\n\
                  te: trailers\nupgrade: websocket";
    let (_, stripped) = request(&Policy::gateway(), before).expect("forwarded");
    let report = &stripped.report;
    assert_eq!(report.nominated(), ["x-a"]);
    assert_eq!(report.protected(), ["host"]);
    let counts = (
        report.nominated_count(),
        report.protected_count(),
        report.malformed_count(),
    );
    assert_eq!(counts, (1, 1, 1));
    let removed: Vec<_> = report.removed().iter().collect();
    assert_eq!(removed, ["connection", "keep-alive"]);
    let debug = format!("{stripped:?}");
    assert!(
        debug.contains("x-a") && !debug.contains("secret") && !debug.contains('@'),
        "{debug}"
    );

    let many: Vec<String> = (0..40).map(|at| format!("x-{at}")).collect();
    let (_, stripped) = request(
        &Policy::gateway(),
        &format!("connection: {}", many.join(",")),
    )
    .expect("forwarded");
    assert_eq!(
        (
            stripped.report.nominated().len(),
            stripped.report.nominated_count()
        ),
        (16, 40)
    );
    let (_, plain) =
        request(&Policy::gateway(), "connection: keep-alive\nx: 1").expect("forwarded");
    assert!(!plain.report.is_notable() && !plain.report.is_empty());
    let (_, nothing) = request(&Policy::gateway(), "x: 1").expect("forwarded");
    assert!(nothing.report.is_empty());
}

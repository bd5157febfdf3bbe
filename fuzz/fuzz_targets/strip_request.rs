//! Raw header lines, through the strip of a request, a response and trailers.
//!
//! The first byte chooses the policy and the version; the rest is read as lines of `name:value`.

#![no_main]

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use libfuzzer_sys::fuzz_target;
use tower_hop_by_hop::{
    MalformedOptions, Nominations, Policy, ProtectedNames, RequestContext, strip_request,
    strip_response, strip_trailers,
};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, lines)) = data.split_first() else {
        return;
    };
    let before = headers(lines);
    let policy = policy(choice);
    let version = match choice >> 4 & 3 {
        0 => Version::HTTP_10,
        1 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    request(&before, version, &policy);
    response(&before, choice, &policy);

    let nominations = Nominations::of(&before);
    let mut trailers = before;
    strip_trailers(&mut trailers, &nominations, Version::HTTP_11, &policy);
    assert!(!trailers.contains_key(CONTENT_LENGTH) && !trailers.contains_key(HOST));
});

fn request(before: &HeaderMap, version: Version, policy: &Policy) {
    let mut after = before.clone();
    let Ok(stripped) = strip_request(&mut after, version, policy) else {
        assert_eq!(after, *before, "a refused request is left alone");
        return;
    };
    assert!(after.get_all("te").iter().all(|value| value == "trailers"));
    for name in [
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "http2-settings",
    ] {
        assert!(!after.contains_key(name), "{name}");
    }
    if *policy != policy.clone().protected_names(ProtectedNames::Honour) {
        assert_eq!(after.get(HOST), before.get(HOST));
        assert_eq!(after.contains_key(COOKIE), before.contains_key(COOKIE));
    }
    if version < Version::HTTP_2 {
        let mut again = after.clone();
        let second = strip_request(&mut again, version, policy).expect("forwarded before");
        assert_eq!(again, after, "twice is once");
        assert_eq!(second.offer, stripped.offer);
    }
}

fn response(before: &HeaderMap, choice: u8, policy: &Policy) {
    let mut after = before.clone();
    let request = RequestContext::new(&Method::GET, Version::HTTP_11);
    let status = if choice & 1 == 0 {
        StatusCode::OK
    } else {
        StatusCode::SWITCHING_PROTOCOLS
    };
    match strip_response(&mut after, status, Version::HTTP_11, &request, policy) {
        Ok(_) => {
            assert_eq!(status, StatusCode::OK, "nothing was offered");
            for name in [
                "connection",
                "te",
                "upgrade",
                "transfer-encoding",
                "keep-alive",
            ] {
                assert!(!after.contains_key(name), "{name}");
            }
        }
        Err(_) => assert_eq!(after, *before, "a refused response is left alone"),
    }
}

fn policy(choice: u8) -> Policy {
    let policy = match choice & 3 {
        0 => Policy::gateway(),
        1 => Policy::forward_proxy(),
        2 => Policy::rfc_literal(),
        _ => Policy::gateway()
            .protected_names(ProtectedNames::Reject)
            .malformed_options(MalformedOptions::Reject)
            .max_options(Some(4)),
    };
    match choice >> 6 {
        0 => policy.outbound(Version::HTTP_2),
        1 => policy.outbound(Version::HTTP_10),
        _ => policy,
    }
}

fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            // The map has a limit of its own.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

//! What holds for every header section.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;
use tower_conn_core::options::{connection_options, is_token};
use tower_hop_by_hop::{
    Nominations, Policy, ProtectedNames, ProxyAuth, RequestContext, Te, Trailers, Upgrades,
    strip_request, strip_response, strip_trailers,
};

const HOP: [&str; 7] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

const PROTECTED: [&str; 6] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "via",
    "x-forwarded-for",
];

/// Names that matter, names that almost do, and a few of no interest.
fn name() -> impl Strategy<Value = String> {
    let odd = [
        "trailer",
        "alt-svc",
        "proxy-authorization",
        "proxy-authenticate",
        "close",
        "keep-alivex",
        "tee",
        "x-a",
        "x-b",
        "x-c",
        "accept",
        "etag",
    ];
    let known = [&HOP[..], &PROTECTED[..], &odd[..]].concat();
    prop_oneof![
        8 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,70}",
    ]
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (name(), any::<bool>()).prop_map(|(name, upper)| {
            if upper { name.to_uppercase().into_bytes() } else { name.into_bytes() }
        }),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => Just(b" \t ".to_vec()),
    ]
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(option(), 0..6).prop_map(|options| options.join(&b" ,"[..]))
}

fn field() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop_oneof![
        2 => (Just("connection".to_owned()), options()),
        1 => (Just("upgrade".to_owned()), Just(b"websocket, h2c, TLS/1.0".to_vec())),
        1 => (Just("te".to_owned()), Just(b"gzip;q=0.5, Trailers".to_vec())),
        1 => (Just("transfer-encoding".to_owned()), Just(b"chunked".to_vec())),
        6 => (name(), prop::collection::vec(any::<u8>(), 0..6)),
    ]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    prop_oneof![
        9 => prop::collection::vec(field(), 0..16),
        // More names than are walked one by one.
        1 => prop::collection::vec(field(), 60..120),
    ]
    .prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let protected = prop::sample::select(vec![ProtectedNames::Ignore, ProtectedNames::Honour]);
    let upgrades = prop::sample::select(vec![Upgrades::Deny, Upgrades::WebSocket, Upgrades::Any]);
    let outbound = prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]);
    (protected, upgrades, outbound, any::<[bool; 6]>()).prop_map(
        |(protected, upgrades, outbound, [te, option, auth, trailers, alt_svc, extra])| {
            let policy = Policy::gateway()
                .protected_names(protected)
                .upgrades(upgrades)
                .outbound(outbound)
                .max_options(None)
                .te(if te { Te::Trailers } else { Te::Strip })
                .te_option(option)
                .proxy_auth(if auth {
                    ProxyAuth::Relay
                } else {
                    ProxyAuth::Strip
                })
                .trailers(if trailers {
                    Trailers::Keep
                } else {
                    Trailers::Strip
                })
                .strip_alt_svc(alt_svc);
            if extra {
                policy.extra(HeaderName::from_static("x-a"))
            } else {
                policy
            }
        },
    )
}

/// The names that an honest reading of `Connection` finds.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    connection_options(headers)
        .filter(|option| is_token(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(before in headers(), policy in policy(), http10 in any::<bool>()) {
        let version = if http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let mut after = before.clone();
        if strip_request(&mut after, version, &policy).is_err() {
            prop_assert_eq!(after, before, "a refused request is left alone");
            return Ok(());
        }
        check(&before, &after, &policy, false)?;
        let mut again = after.clone();
        let stripped = strip_request(&mut again, version, &policy).expect("forwarded before");
        prop_assert_eq!(&again, &after, "twice is once");
        prop_assert!(!stripped.report.is_notable());
    }

    #[test]
    fn responses(before in headers(), policy in policy(), status in 200u16..600) {
        let mut after = before.clone();
        let request = RequestContext::new(&Method::GET, Version::HTTP_11);
        let status = StatusCode::from_u16(status).expect("in range");
        let version = Version::HTTP_11;
        if strip_response(&mut after, status, version, &request, &policy).is_err() {
            prop_assert_eq!(after, before, "a refused response is left alone");
            return Ok(());
        }
        check(&before, &after, &policy, status == StatusCode::NO_CONTENT)?;
        prop_assert!(HOP.iter().all(|name| !after.contains_key(*name)));
        let mut again = after.clone();
        strip_response(&mut again, status, version, &request, &policy).expect("forwarded before");
        prop_assert_eq!(again, after, "twice is once");
    }

    #[test]
    fn trailers(head in headers(), before in headers(), policy in policy()) {
        let nominations = Nominations::of(&head);
        let mut after = before.clone();
        let left = strip_trailers(&mut after, &nominations, Version::HTTP_11, &policy);
        prop_assert_eq!(left, !after.is_empty());
        prop_assert!(HOP.iter().all(|name| !after.contains_key(*name)));
        for name in nominated(&head) {
            prop_assert!(!after.contains_key(&name) || is_protected(&name, &policy));
        }
        for name in after.keys() {
            prop_assert_eq!(lines(&after, name), lines(&before, name));
        }
        let mut again = after.clone();
        strip_trailers(&mut again, &nominations, Version::HTTP_11, &policy);
        prop_assert_eq!(again, after);
    }
}

fn is_protected(name: &HeaderName, policy: &Policy) -> bool {
    let protects = *policy == policy.clone().protected_names(ProtectedNames::Ignore);
    protects && (PROTECTED.contains(&name.as_str()) || name == "etag")
}

fn check(
    before: &HeaderMap,
    after: &HeaderMap,
    policy: &Policy,
    no_length: bool,
) -> Result<(), TestCaseError> {
    let own = ["connection", "te", "upgrade"];
    // Where Transfer-Encoding frames the body, and in 204, Content-Length goes.
    let no_length = no_length || before.contains_key("transfer-encoding");
    for name in before.keys() {
        let text = name.as_str();
        if is_protected(name, policy) && !(no_length && text == "content-length") {
            prop_assert!(after.contains_key(name), "{} is protected", text);
        }
        if after.contains_key(name) && !own.contains(&text) {
            prop_assert_eq!(lines(after, name), lines(before, name), "{}", text);
        }
    }
    for name in nominated(before) {
        let gone = !after.contains_key(&name) || own.contains(&name.as_str());
        prop_assert!(
            gone || is_protected(&name, policy),
            "{} was nominated",
            name
        );
    }
    for name in after.keys() {
        prop_assert!(
            before.contains_key(name) || name == "connection",
            "{} is new",
            name
        );
    }
    Ok(())
}

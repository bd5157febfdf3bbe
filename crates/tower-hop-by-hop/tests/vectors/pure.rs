//! Every vector, through the pure functions.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Version};
use tower_hop_by_hop::{
    Forwarding, Nominations, Policy, RejectReason, RequestContext, UpgradeOffer, Upgrades,
    ViaEntry, count_forward, strip_request, strip_response, strip_trailers,
};

use crate::cases::Case;

#[test]
fn every_vector() {
    for case in Case::all() {
        match case.direction() {
            "request" => request(&case),
            "response" => response(&case),
            "trailers" => trailers(&case),
            other => panic!("{other}"),
        }
    }
}

fn request(case: &Case) {
    let (mut headers, version) = (case.headers("input"), case.version("version"));
    if case.knob("max_forwards").is_some() {
        let max = case
            .knob("max_forwards_max")
            .and_then(serde_json::Value::as_u64);
        if count_forward(&mut headers, &case.method(), max) == Forwarding::Answer {
            assert_eq!(case.outcome(), "respond_local", "{}", case.name());
            return;
        }
    }
    let outcome = match strip_request(&mut headers, version, &case.policy()) {
        Ok(_) => "forward".to_owned(),
        Err(rejection) => {
            assert_eq!(headers, case.headers("input"), "{}: changed", case.name());
            match rejection.reason() {
                RejectReason::NotInHttp2 => "reject_malformed".to_owned(),
                _ => format!("reject_{}", rejection.status().as_u16()),
            }
        }
    };
    assert_eq!(outcome, case.outcome(), "{}", case.name());
    if outcome != "forward" {
        return;
    }
    if let Some(name) = case.knob_text("via") {
        ViaEntry::new(name)
            .expect("valid")
            .add_to(&mut headers, version);
    }
    for (name, value) in &case.headers("proxy_adds") {
        headers.insert(name, value.clone());
    }
    case.assert_fields(&headers);
}

/// What a request that offers this leaves to remember.
pub(crate) fn offer(protocol: Option<&str>) -> UpgradeOffer {
    let mut headers = HeaderMap::new();
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, HeaderValue::from_str(protocol).expect("a value"));
        headers.insert("connection", HeaderValue::from_static("upgrade"));
    }
    let policy = Policy::gateway().upgrades(Upgrades::Any);
    strip_request(&mut headers, Version::HTTP_11, &policy)
        .expect("forwarded")
        .offer
}

fn response(case: &Case) {
    let (mut headers, version) = (case.headers("input"), case.version("version"));
    let context = RequestContext::new(&case.method(), case.version("out_version"))
        .offer(offer(case.text("offered_upgrade")));
    let outcome = match strip_response(
        &mut headers,
        case.status(),
        version,
        &context,
        &case.policy(),
    ) {
        Ok(_) => "forward".to_owned(),
        Err(rejection) => {
            assert_eq!(headers, case.headers("input"), "{}: changed", case.name());
            match rejection.reason() {
                RejectReason::InterimToHttp10 => "discard".to_owned(),
                _ => format!("reject_{}", rejection.status().as_u16()),
            }
        }
    };
    assert_eq!(outcome, case.outcome(), "{}", case.name());
    if outcome == "forward" {
        if let Some(name) = case.knob_text("via") {
            ViaEntry::new(name)
                .expect("valid")
                .add_to(&mut headers, version);
        }
        case.assert_fields(&headers);
    }
}

fn trailers(case: &Case) {
    let mut fields = case.headers("input");
    let head = case.headers("head");
    let left = strip_trailers(
        &mut fields,
        &Nominations::of(&head),
        case.version("out_version"),
        &case.policy(),
    );
    assert_eq!(case.outcome(), "forward");
    assert_eq!(left, !fields.is_empty());
    case.assert_fields(&fields);
}

use proptest::prelude::*;

use super::*;
use crate::Backoff;

fn request(safety: ReplaySafety) -> RequestFacts {
    RequestFacts {
        safety,
        early_data: false,
        expects: false,
        max_attempts: 3,
        answered_408: 0,
    }
}

const fn attempt(evidence: Evidence) -> AttemptFacts<'static> {
    AttemptFacts {
        number: 1,
        evidence,
        reused: None,
        timed_out: false,
        response: None,
        body: true,
        remaining: None,
    }
}

fn status(code: u16) -> Evidence {
    Evidence::Responded(StatusCode::from_u16(code).expect("a status"))
}

fn longest(policy: Policy) -> Policy {
    let backoff = Backoff::full_jitter(Duration::from_millis(50), Duration::from_secs(1));
    Policy {
        backoff: backoff.rng(|| u64::MAX),
        ..policy
    }
}

fn retry(decision: Decision) -> Retry {
    match decision {
        Decision::Retry(retry) => retry,
        Decision::Stop(reason) => panic!("stopped: {reason}"),
    }
}

fn stop(decision: Decision) -> StopReason {
    match decision {
        Decision::Stop(reason) => reason,
        Decision::Retry(retry) => panic!("{retry:?}"),
    }
}

const ALL: [ReplaySafety; 5] = [
    ReplaySafety::Safe,
    ReplaySafety::Idempotent,
    ReplaySafety::Keyed,
    ReplaySafety::Marked,
    ReplaySafety::Unsafe,
];

#[test]
fn what_was_not_processed_is_repeated_whatever_the_method_and_uncharged() {
    for policy in [
        Policy::client(),
        Policy::proxy(),
        Policy::rfc_strict(),
        Policy::stale_only(),
    ] {
        for safety in ALL {
            for evidence in [Evidence::NotSent, Evidence::NotProcessed] {
                let decision = decide(&policy, &request(safety), &attempt(evidence), || false);
                assert!(!retry(decision).charged && retry(decision).fresh);
            }
        }
    }
}

#[test]
fn the_first_retry_of_a_stale_connection_does_not_wait_and_the_second_does() {
    let policy = longest(Policy::client());
    let mut facts = attempt(Evidence::Ambiguous);
    facts.reused = Some(true);
    let safe = request(ReplaySafety::Safe);
    let first = retry(decide(&policy, &safe, &facts, || true));
    assert_eq!(
        (first.reason, first.delay, first.fresh),
        (RetryReason::StaleConnection, Duration::ZERO, true)
    );
    facts.number = 2;
    let second = retry(decide(&policy, &safe, &facts, || true));
    assert_eq!(second.delay, Duration::from_millis(100));
    facts.number = 1;
    facts.reused = Some(false);
    let new = retry(decide(&policy, &safe, &facts, || true));
    assert_eq!(
        (new.reason, new.delay),
        (RetryReason::NoResponse, Duration::from_millis(50))
    );
}

#[test]
fn committed_and_permanent_failures_are_final() {
    for evidence in [Evidence::Committed, Evidence::Permanent] {
        let decision = decide(
            &Policy::client(),
            &request(ReplaySafety::Safe),
            &attempt(evidence),
            || true,
        );
        assert_eq!(stop(decision), StopReason::Permanent);
    }
}

#[test]
fn a_417_is_repeated_without_the_expectation_by_clients_only() {
    let mut facts = request(ReplaySafety::Unsafe);
    let (client, proxy) = (Policy::client(), Policy::proxy());
    let refused = attempt(status(417));
    assert_eq!(
        stop(decide(&client, &facts, &refused, || true)),
        StopReason::Accepted
    );
    facts.expects = true;
    let repeated = retry(decide(&client, &facts, &refused, || false));
    assert!(repeated.without_expect && !repeated.charged);
    assert_eq!(
        stop(decide(&proxy, &facts, &refused, || true)),
        StopReason::Accepted
    );
}

#[test]
fn a_425_goes_through_a_proxy_whose_client_sent_early_data() {
    let mut facts = request(ReplaySafety::Safe);
    let early = attempt(status(425));
    retry(decide(&Policy::proxy(), &facts, &early, || true));
    facts.early_data = true;
    assert_eq!(
        stop(decide(&Policy::proxy(), &facts, &early, || true)),
        StopReason::Accepted
    );
    retry(decide(&Policy::client(), &facts, &early, || true));
}

#[test]
fn a_status_can_be_declared_unprocessed() {
    let limited = attempt(status(429));
    let facts = request(ReplaySafety::Unsafe);
    let mut policy = Policy::client();
    assert_eq!(
        stop(decide(&policy, &facts, &limited, || true)),
        StopReason::Unsafe
    );
    policy.unprocessed = [StatusCode::TOO_MANY_REQUESTS].into_iter().collect();
    assert!(!retry(decide(&policy, &facts, &limited, || false)).charged);
}

#[test]
fn retry_after_is_added_to_the_backoff_and_capped() {
    let mut policy = longest(Policy::client());
    let mut headers = HeaderMap::new();
    headers.insert(http::header::RETRY_AFTER, "30".parse().expect("a value"));
    let facts = request(ReplaySafety::Safe);
    let decided = |policy: &Policy, headers: &HeaderMap| {
        let answered = AttemptFacts {
            response: Some(headers),
            ..attempt(status(503))
        };
        decide(policy, &facts, &answered, || true)
    };
    assert_eq!(
        retry(decided(&policy, &headers)).delay,
        Duration::from_millis(30_050)
    );
    headers.insert(http::header::RETRY_AFTER, "31".parse().expect("a value"));
    assert_eq!(stop(decided(&policy, &headers)), StopReason::RetryAfter);
    policy.over_cap = OverCap::Clamp;
    assert_eq!(
        retry(decided(&policy, &headers)).delay,
        Duration::from_millis(30_050)
    );
    policy.retry_after_cap = None;
    assert_eq!(
        retry(decided(&policy, &headers)).delay,
        Duration::from_millis(50)
    );
}

#[test]
fn each_bound_stops_in_its_own_name() {
    let policy = longest(Policy::client());
    let safe = request(ReplaySafety::Safe);
    let failed = attempt(status(503));
    let with = |change: fn(&mut AttemptFacts<'static>)| {
        let mut facts = failed;
        change(&mut facts);
        stop(decide(&policy, &safe, &facts, || true))
    };
    assert_eq!(with(|it| it.number = 3), StopReason::MaxAttempts);
    assert_eq!(with(|it| it.body = false), StopReason::Body);
    assert_eq!(
        with(|it| it.remaining = Some(Duration::from_millis(50))),
        StopReason::Deadline
    );
    assert_eq!(
        stop(decide(&policy, &safe, &failed, || false)),
        StopReason::Budget
    );
    let mut facts = failed;
    facts.remaining = Some(Duration::from_millis(51));
    retry(decide(&policy, &safe, &facts, || true));
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(Evidence::NotSent),
        Just(Evidence::NotProcessed),
        Just(Evidence::Ambiguous),
        Just(Evidence::Committed),
        Just(Evidence::Permanent),
        (100_u16..1000).prop_map(status),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let preset = prop_oneof![
        Just(Policy::client as fn() -> Policy),
        Just(Policy::proxy as fn() -> Policy),
        Just(Policy::rfc_strict as fn() -> Policy),
        Just(Policy::stale_only as fn() -> Policy),
    ];
    (preset, any::<bool>()).prop_map(|(preset, hint)| Policy {
        server_hint: hint.then(|| http::HeaderName::from_static("x-retry")),
        ..preset()
    })
}

proptest! {
    /// RFC 9110 section 9.2.2, whatever else is true of the attempt.
    #[test]
    fn an_unsafe_request_is_repeated_only_if_it_was_not_processed(
        policy in any_policy(),
        evidence in any_evidence(),
        reused in any::<Option<bool>>(),
        timed_out in any::<bool>(),
        expects in any::<bool>(),
        asked in any::<bool>(),
        number in 1_u32..3,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "0".parse().expect("a value"));
        if asked {
            headers.insert("x-retry", "true".parse().expect("a value"));
        }
        let response = matches!(evidence, Evidence::Responded(_)).then_some(&headers);
        let facts = AttemptFacts { number, reused, timed_out, response, ..attempt(evidence) };
        let unsafe_request = RequestFacts { expects, ..request(ReplaySafety::Unsafe) };
        if let Decision::Retry(_) = decide(&policy, &unsafe_request, &facts, || true) {
            let refused = matches!(evidence, Evidence::Responded(status) if matches!(status.as_u16(), 417 | 421 | 425));
            prop_assert!(evidence.proves_unprocessed() || refused, "{evidence:?}");
        }
    }

    /// No retry without a body to send, beyond the attempts, or past the deadline; and the budget
    /// is not asked for one that is not made.
    #[test]
    fn the_bounds_hold(
        policy in any_policy(),
        evidence in any_evidence(),
        number in 1_u32..6,
        body in any::<bool>(),
        millis in prop::option::of(0_u64..2000),
    ) {
        let remaining = millis.map(Duration::from_millis);
        let facts = AttemptFacts { number, body, remaining, ..attempt(evidence) };
        let mut withdrawn = false;
        let decision = decide(&policy, &request(ReplaySafety::Safe), &facts, || {
            withdrawn = true;
            true
        });
        match decision {
            Decision::Retry(retry) => {
                prop_assert!(body && number < 3);
                prop_assert!(remaining.is_none_or(|left| retry.delay < left));
                prop_assert_eq!(withdrawn, retry.charged);
            }
            Decision::Stop(_) => prop_assert!(!withdrawn),
        }
    }
}

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_policy_behind_a_balancer_does_not_race_it() {
    let policy = Policy::behind_proxy(60 * SECOND).expect("a usual idle time");
    assert_eq!(policy.idle, Some(75 * SECOND));
    assert_eq!(
        policy.clone().idle(30 * SECOND).expect_err("below"),
        ConfigError::IdleBelowBalancer {
            idle: 30 * SECOND,
            balancer: 60 * SECOND
        }
    );
    assert!(policy.clone().idle(None).is_ok(), "never closing is safe");
    assert!(policy.idle(61 * SECOND).is_ok());
    assert!(Policy::behind_proxy(Duration::ZERO).is_err());
    assert!(Policy::behind_proxy(100_000 * SECOND).is_err());
    assert!(Policy::safe().idle(SECOND).is_ok());
}

#[test]
fn the_tick_follows_the_shortest_limit_and_never_spins() {
    assert_eq!(Policy::unlimited().tick(), SECOND);
    assert_eq!(Policy::safe().tick(), Duration::from_millis(50));
    let tiny = Policy::unlimited()
        .idle(Duration::ZERO)
        .expect("no balancer");
    assert_eq!(tiny.tick(), Duration::from_millis(10));
    let long = Policy::unlimited().max_age(MaxAge::new(3600 * SECOND).grace(None));
    assert_eq!(long.tick(), SECOND);
}

#[test]
fn a_rate_is_missed_only_after_its_grace() {
    let rate = Rate::per_second(240);
    assert!(!rate.is_missed(0, 5 * SECOND));
    assert!(rate.is_missed(0, Duration::from_millis(5001)));
    assert!(!rate.is_missed(1440, 6 * SECOND));
    assert!(rate.is_missed(1439, 6 * SECOND));
    assert!(!Rate::per_second(0).is_missed(0, 9 * SECOND));
}

#[test]
fn a_thousand_connections_of_one_instant_close_all_over_the_jitter() {
    let age = MaxAge::new(60 * SECOND);
    let mut closings: Vec<_> = (1..=1000).map(|id| age.of(id)).collect();
    closings.sort_unstable();
    assert!(closings[0] >= 54 * SECOND && closings[999] <= 60 * SECOND);
    for tenth in 0..10u32 {
        let from = 54 * SECOND + tenth * SECOND * 6 / 10;
        let here = closings
            .iter()
            .filter(|&&at| at >= from && at < from + SECOND * 6 / 10)
            .count();
        assert!((60..=140).contains(&here), "{here} in tenth {tenth}");
    }
    assert_eq!(age.jitter(0).of(7), 60 * SECOND);
}

#[test]
fn a_short_linger_has_a_short_gap() {
    assert_eq!(Linger::new(2 * SECOND).gap, 2 * SECOND);
    assert_eq!(Linger::new(20 * SECOND).gap, 5 * SECOND);
}

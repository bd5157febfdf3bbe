use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Ticks of 50 ms.
fn limits() -> Limits {
    Limits::new(&Policy::safe().head_rate(Rate::per_second(100)))
}

fn facts(now: u32) -> Facts {
    Facts {
        now,
        opened: 1,
        active: 1,
        age_at: NEVER,
        ..Facts::default()
    }
}

#[test]
fn a_quiet_connection_is_never_due() {
    assert_eq!(limits().verdict(&facts(1_000_000)), (None, NEVER));
}

#[test]
fn each_phase_has_its_own_limit_and_is_never_early() {
    let cases = [
        (
            Phase::FirstByte,
            10,
            Action::Close(CloseReason::FirstByteTimeout),
        ),
        (Phase::Body, 30, Action::FailBody),
        (Phase::Linger, 5, Action::EndLinger),
    ];
    for (phase, seconds, action) in cases {
        let at = |now| Facts {
            phase,
            since: 100,
            waited: if phase == Phase::Linger { 100 } else { 0 },
            bytes: 1 << 40,
            ..facts(now)
        };
        let due = 100 + seconds * 20 + 1;
        assert_eq!(limits().verdict(&at(due - 1)).0, None, "{phase:?}");
        assert_eq!(limits().verdict(&at(due)).0, Some(action), "{phase:?}");
    }
}

#[test]
fn a_head_is_due_at_its_deadline_whatever_arrives() {
    let at = |now, bytes| Facts {
        phase: Phase::Head,
        since: 100,
        bytes,
        ..facts(now)
    };
    assert_eq!(limits().verdict(&at(400, 1 << 30)).0, None);
    assert_eq!(
        limits().verdict(&at(401, 1 << 30)).0,
        Some(Action::Cut(CloseReason::HeadTimeout))
    );
    // A hundred bytes a second, after five seconds.
    assert_eq!(limits().verdict(&at(200, 0)).0, None);
    assert_eq!(
        limits().verdict(&at(201, 504)).0,
        Some(Action::Cut(CloseReason::HeadTimeout))
    );
    assert_eq!(limits().verdict(&at(201, 506)).0, None);
}

#[test]
fn time_spent_waiting_for_a_body_adds_up() {
    let at = |waited, bytes| Facts {
        phase: Phase::Body,
        since: 1000,
        waited,
        bytes,
        ..facts(1001)
    };
    assert_eq!(limits().verdict(&at(99, 0)).0, None);
    assert_eq!(limits().verdict(&at(100, 0)).0, Some(Action::FailBody));
    assert_eq!(limits().verdict(&at(100, 1300)).0, None);
}

#[test]
fn a_peer_that_takes_nothing_and_one_that_takes_little_are_cut() {
    let at = |stalled, blocked, blocked_bytes| Facts {
        stalled,
        blocked,
        blocked_bytes,
        ..facts(1000)
    };
    let cut = Some(Action::Cut(CloseReason::WriteStall));
    assert_eq!(limits().verdict(&at(1000 - 600, 0, 0)).0, None);
    assert_eq!(limits().verdict(&at(1000 - 601, 0, 0)).0, cut);
    assert_eq!(limits().verdict(&at(999, 880, 1439)).0, cut);
    assert_eq!(limits().verdict(&at(999, 880, 1440)).0, None);
}

#[test]
fn age_asks_once_and_leaves_tunnels_alone() {
    let limits = Limits::new(
        &Policy::safe()
            .max_age(crate::MaxAge::new(SECOND * 60))
            .tunnel_age(SECOND * 3600)
            .tunnel_idle(SECOND * 600),
    );
    let old = Facts {
        age_at: 500,
        ..facts(500)
    };
    assert_eq!(
        limits.verdict(&old).0,
        Some(Action::Close(CloseReason::MaxAge))
    );
    let asked = Facts {
        closing: true,
        cut_at: limits.cut_after_age(500),
        ..old
    };
    assert_eq!(limits.verdict(&asked), (None, 500 + 30 * 20 + 1));
    let grace_over = Facts {
        now: 500 + 30 * 20 + 1,
        ..asked
    };
    assert_eq!(limits.verdict(&grace_over).0, Some(Action::Expire));

    let tunnel = Facts {
        upgraded: true,
        active: 400,
        ..old
    };
    assert_eq!(limits.verdict(&tunnel), (None, 400 + 600 * 20 + 1));
    let silent = Facts {
        now: 400 + 600 * 20 + 1,
        ..tunnel
    };
    assert_eq!(
        limits.verdict(&silent).0,
        Some(Action::Cut(CloseReason::Idle))
    );
    let old_tunnel = Facts {
        now: 3600 * 20 + 2,
        active: 3600 * 20,
        ..tunnel
    };
    assert_eq!(
        limits.verdict(&old_tunnel).0,
        Some(Action::Cut(CloseReason::MaxAge))
    );
}

#[test]
fn the_next_look_is_never_in_the_past() {
    let limits = limits();
    for now in [1, 100, 500, 100_000] {
        for phase in [Phase::Quiet, Phase::Head, Phase::Body, Phase::Linger] {
            for stamp in [0, 1, 50, 99, 100_000] {
                let facts = Facts {
                    phase,
                    since: stamp,
                    waited: stamp,
                    stalled: stamp,
                    blocked: stamp,
                    bytes: u64::MAX >> 1,
                    blocked_bytes: u64::MAX >> 1,
                    ..facts(now)
                };
                if let (None, due) = limits.verdict(&facts) {
                    assert!(due > now, "{facts:?}");
                }
            }
        }
    }
}

#[test]
fn durations_round_up_to_ticks() {
    let tick = Duration::from_millis(50);
    assert_eq!(ticks(Duration::ZERO, tick), 0);
    assert_eq!(ticks(Duration::from_millis(1), tick), 1);
    assert_eq!(ticks(Duration::from_millis(50), tick), 1);
    assert_eq!(ticks(Duration::MAX, tick), NEVER);
    assert_eq!(after(5, NEVER), NEVER);
}

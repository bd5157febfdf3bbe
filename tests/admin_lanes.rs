//! What the admin page remembers of each connection: a minute, in bounded memory.

#[path = "../examples/gateway/admin/lanes.rs"]
#[allow(dead_code, reason = "the page uses the rest")]
mod lanes;

use lanes::{Lane, Outcome, Shard};
use tower_conn_core::{CloseReason, Connection};

const MS: u64 = 1000;
const SECOND: u64 = 1000 * MS;

fn shard(most: usize) -> (Shard, Connection) {
    let connection = Connection::server();
    let mut shard = Shard::new(most);
    shard.open(&connection, 0);
    (shard, connection)
}

fn status(status: u16) -> impl FnOnce(&mut Outcome) {
    move |outcome| outcome.status = status
}

/// An exchange from one time to another, with this status.
fn exchange(shard: &mut Shard, on: &Connection, number: u32, from: u64, to: u64, code: u16) {
    shard.begun(on, number, from);
    shard.note(on.id(), number, status(code));
    shard.ended(on.id(), number, to);
}

/// Start, end and count of each bar of the one lane.
fn bars(shard: &mut Shard, now: u64) -> Vec<(u64, u64, u32)> {
    let lane = shard.lanes(now).next().expect("a lane");
    let each = lane.bars.iter().map(|bar| (bar.start, bar.end, bar.count));
    each.collect()
}

#[test]
fn exchanges_that_a_screen_could_not_show_apart_are_one_bar() {
    let (mut shard, on) = shard(1);
    for n in 0..10 {
        exchange(
            &mut shard,
            &on,
            n as u32 + 1,
            n * 20 * MS,
            n * 20 * MS + 5 * MS,
            200,
        );
    }
    exchange(&mut shard, &on, 11, 300 * MS, 301 * MS, 200);
    assert_eq!(
        bars(&mut shard, SECOND),
        [(0, 185 * MS, 10), (300 * MS, 301 * MS, 1)],
        "a gap is seen"
    );
    let lane = shard.lanes(SECOND).next().expect("a lane");
    assert_eq!((lane.bars[0].longest, lane.exchanges), (5 * MS, 11));
}

#[test]
fn what_went_wrong_is_a_bar_of_its_own() {
    let (mut shard, on) = shard(1);
    for (n, code) in (1..).zip([200, 404, 500, 500, 0, 204]) {
        let from = u64::from(n) * MS;
        exchange(&mut shard, &on, n, from, from + MS, code);
    }
    assert_eq!(bars(&mut shard, SECOND).len(), 6);
}

#[test]
fn a_head_that_is_known_late_is_noted_and_joined_all_the_same() {
    let (mut shard, on) = shard(1);
    for number in [1, 2] {
        shard.begun(&on, number, u64::from(number) * MS);
        shard.ended(on.id(), number, u64::from(number) * MS + 1);
        shard.note(on.id(), number, status(204));
    }
    assert_eq!(bars(&mut shard, SECOND), [(MS, 2 * MS + 1, 2)]);
    shard.note(on.id(), 7, status(500));
    let lane = shard.lanes(SECOND).next().expect("a lane");
    assert_eq!(lane.bars[0].outcome.status, 204, "that one is not here");
}

#[test]
fn exchanges_at_a_time_are_in_rows() {
    let (mut shard, on) = shard(1);
    for number in 1..=3 {
        shard.begun(&on, number, 0);
    }
    shard.ended(on.id(), 2, MS);
    shard.begun(&on, 4, 2 * MS);
    let lane = shard.lanes(SECOND).next().expect("a lane");
    let mut rows: Vec<_> = lane.open.iter().map(|open| open.row).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 2]);
}

#[test]
fn a_lane_is_bounded_and_says_what_it_dropped() {
    let (mut shard, on) = shard(1);
    for number in 1..=500 {
        let from = u64::from(number) * 100 * MS;
        exchange(&mut shard, &on, number, from, from + MS, 200);
    }
    let now = 51 * SECOND;
    assert_eq!(bars(&mut shard, now).len(), 128);
    let lane = shard.lanes(now).next().expect("a lane");
    assert_eq!((lane.exchanges, lane.dropped), (500, 500 - 128));

    // As many at a time as HTTP/2 allows, and more.
    let (mut shard, on) = self::shard(1);
    for number in 1..=1000 {
        shard.begun(&on, number, 0);
    }
    for number in 1..=1000 {
        shard.ended(on.id(), number, MS);
    }
    let lane = shard.lanes(SECOND).next().expect("a lane");
    assert!(lane.open.is_empty() && lane.bars.len() <= 128);
    let drawn: u64 = lane.bars.iter().map(|bar| u64::from(bar.count)).sum();
    assert_eq!((lane.exchanges, lane.dropped + drawn), (1000, 1000));
}

#[test]
fn what_is_older_than_a_minute_is_forgotten() {
    let (mut shard, on) = shard(1);
    exchange(&mut shard, &on, 1, SECOND, 2 * SECOND, 200);
    assert_eq!(bars(&mut shard, 61 * SECOND).len(), 1);
    assert_eq!(bars(&mut shard, 63 * SECOND).len(), 0);
    shard.close(on.id(), CloseReason::Idle, 64 * SECOND);
    let lane = shard.lanes(123 * SECOND).next().expect("in sight");
    assert_eq!(lane.closed, Some((64 * SECOND, CloseReason::Idle)));
    assert!(lane.connection.is_none(), "its handle is let go of");
    assert_eq!(shard.lanes(125 * SECOND).count(), 0);
}

#[test]
fn new_connections_take_the_lanes_of_closed_and_of_quiet_ones() {
    let ids = |shard: &mut Shard, now| {
        let mut ids: Vec<_> = shard.lanes(now).map(|lane: &Lane| lane.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut shard = Shard::new(2);
    let [a, b, c, d, e] = [(); 5].map(|()| Connection::server());
    shard.open(&a, 0);
    shard.open(&b, 0);
    assert!(shard.open(&c, SECOND).is_none(), "both are new themselves");
    assert_eq!(
        (ids(&mut shard, SECOND), shard.dropped),
        (vec![a.id(), b.id()], 1)
    );
    shard.close(b.id(), CloseReason::PeerClosed, 2 * SECOND);
    shard.open(&d, 3 * SECOND);
    assert_eq!(
        (ids(&mut shard, 3 * SECOND), shard.dropped),
        (vec![a.id(), d.id()], 2)
    );
    // One that has done nothing for a while makes room, and is back when it does something.
    shard.begun(&d, 1, 15 * SECOND);
    shard.open(&e, 15 * SECOND);
    assert_eq!(ids(&mut shard, 15 * SECOND), [d.id(), e.id()]);
    shard.begun(&a, 1, 40 * SECOND);
    shard.ended(a.id(), 1, 41 * SECOND);
    assert!(ids(&mut shard, 41 * SECOND).contains(&a.id()));
    // What is not known is not an error.
    shard.ended(c.id(), 1, 41 * SECOND);
    shard.close(c.id(), CloseReason::Idle, 41 * SECOND);
}

//! Page loads on a paused clock, where the times of the model come out exactly.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::ValueEnum;

use crate::args::Strategy;
use crate::browser::{Bounds, load};
use crate::network::{Conditions, Network};
use crate::page::Page;
use crate::record::Load;

/// Fit into one initial window each, the page that refers to them, too.
const SMALL: [(&str, usize); 3] = [("/a.png", 900), ("/b.png", 4_000), ("/c.png", 9_000)];

fn conditions() -> Conditions {
    Conditions {
        rtt: Duration::from_millis(50),
        bits_per_second: None,
        handshakes: 1,
    }
}

async fn load_over(
    conditions: Conditions,
    objects: &[(&'static str, usize)],
    strategy: Strategy,
) -> Load {
    let bounds = Bounds {
        connections: NonZeroUsize::new(6).expect("not zero"),
        depth: NonZeroUsize::new(16).expect("not zero"),
    };
    let network = Network::in_memory(conditions, Page::of(objects));
    load(network, strategy, bounds).await.expect("loads")
}

#[tokio::test(start_paused = true)]
async fn each_strategy_takes_the_round_trips_that_it_needs() {
    for (strategy, round_trips, connections) in [
        // The page and three objects, each with a handshake and a round trip.
        (Strategy::Serial, 8, 4),
        // The page; then three at once.
        (Strategy::Parallel, 4, 4),
        // One handshake and four round trips.
        (Strategy::Persistent, 5, 1),
        // The page; then one after the other on its connection, while others are being opened.
        (Strategy::ParallelPersistent, 4, 3),
        // One handshake, the page, and then all at once.
        (Strategy::Pipelined, 3, 1),
        (Strategy::Multiplexed, 3, 1),
    ] {
        let load = load_over(conditions(), &SMALL, strategy).await;
        assert_eq!(load.total(), conditions().rtt * round_trips, "{strategy:?}");
        assert_eq!(load.connections.len(), connections, "{strategy:?}");
        assert_eq!(load.objects.len(), 4, "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tls_takes_one_more_round_trip_for_each_connection() {
    let conditions = Conditions {
        handshakes: 2,
        ..conditions()
    };
    let serial = load_over(conditions, &SMALL, Strategy::Serial).await;
    assert_eq!(serial.total(), conditions.rtt * 12);
    let pipelined = load_over(conditions, &SMALL, Strategy::Pipelined).await;
    assert_eq!(pipelined.total(), conditions.rtt * 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_window_takes_more_round_trips_on_a_new_connection() {
    // 10 and 20 segments in the first two, 40 in the third.
    for (size, round_trips) in [(14_000, 1), (40_000, 2), (90_000, 3)] {
        let load = load_over(conditions(), &[("/a.jpg", size)], Strategy::Serial).await;
        assert_eq!(
            load.total(),
            conditions().rtt * (2 + 1 + round_trips),
            "{size}"
        );
        let shares = load.shares();
        assert_eq!(
            shares.slow_start > 0.0,
            round_trips > 1,
            "{size}: {shares:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_has_left_slow_start_behind() {
    let objects = [("/a.jpg", 90_000), ("/b.jpg", 90_000), ("/c.jpg", 90_000)];
    let kept = load_over(conditions(), &objects, Strategy::Persistent).await;
    let stalled: Vec<_> = kept
        .objects
        .iter()
        .map(|object| {
            let took = object.complete.saturating_sub(object.first_byte);
            took.as_millis() as u32 / 50
        })
        .collect();
    // The page fits into a window; what follows needs three flights, then one or none in addition.
    assert_eq!(stalled[0], 0);
    assert_eq!(stalled[1], 2);
    assert!(stalled[2] < 2 && stalled[3] <= stalled[2], "{stalled:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_faster_than_the_link() {
    let conditions = Conditions {
        bits_per_second: NonZeroU64::new(1_000_000),
        ..conditions()
    };
    for strategy in Strategy::value_variants() {
        let load = load_over(conditions, &[("/a.jpg", 50_000)], *strategy).await;
        // 50 kB at 1 Mbit/s.
        assert!(load.total() > Duration::from_millis(400), "{strategy:?}");
        assert!(load.shares().transfer > 0.5, "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shares_add_up_and_show_what_each_strategy_saves() {
    let mut handshakes = Vec::new();
    for strategy in Strategy::value_variants() {
        let load = load_over(conditions(), &SMALL, *strategy).await;
        let shares = load.shares();
        let sum = shares.transfer + shares.handshakes + shares.slow_start + shares.round_trips;
        assert!((sum - 1.0).abs() < 1e-9, "{strategy:?}: {shares:?}");
        handshakes.push(shares.handshakes);
    }
    // Serial: half of the time. One connection: one round trip of five.
    assert!((handshakes[0] - 0.5).abs() < 1e-9, "{handshakes:?}");
    assert!((handshakes[2] - 0.2).abs() < 1e-9, "{handshakes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_whole_page_loads_in_every_way() {
    let page = Page::new();
    let conditions = Conditions {
        bits_per_second: NonZeroU64::new(20_000_000),
        ..conditions()
    };
    let bounds = Bounds {
        connections: NonZeroUsize::new(6).expect("not zero"),
        depth: NonZeroUsize::new(16).expect("not zero"),
    };
    let mut totals = Vec::new();
    for strategy in Strategy::value_variants() {
        let network = Network::in_memory(conditions, Page::new());
        let load = load(network, *strategy, bounds).await.expect("loads");
        assert_eq!(load.objects.len(), page.len());
        for object in &load.objects {
            assert!(object.discovered <= object.sent, "{strategy:?}: {object:?}");
            assert!(object.sent < object.first_byte, "{strategy:?}: {object:?}");
            assert!(
                object.first_byte <= object.complete,
                "{strategy:?}: {object:?}"
            );
        }
        totals.push(load.total());
    }
    let [serial, parallel, persistent, both, pipelined, multiplexed] = totals[..] else {
        panic!("six strategies")
    };
    assert!(serial > persistent && serial > parallel, "{totals:?}");
    assert!(
        persistent > pipelined && persistent > multiplexed,
        "{totals:?}"
    );
    assert!(parallel > both, "{totals:?}");
}

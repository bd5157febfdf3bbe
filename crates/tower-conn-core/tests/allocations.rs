//! An exchange costs no allocation: not to begin, not to end, not to ask about.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use tower_conn_core::{CloseReason, Connection, Side, StampTable};

fn allocations(f: impl FnOnce()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn an_exchange_allocates_nothing() {
    let own = Connection::server();
    let table = Arc::new(StampTable::new(1, Duration::from_millis(100)));
    let slot = table.claim().expect("free");
    let stamped = Connection::builder(Side::Server).stamp(slot).build();
    table.advance_to(NonZeroU32::new(9).expect("a tick"));
    for connection in [own, stamped] {
        let spent = allocations(|| {
            for _ in 0..100 {
                assert!(connection.head_started());
                let exchange = connection.begin().expect("open");
                assert!(!connection.is_idle());
                drop(exchange);
                assert!(connection.idle_for().is_some());
            }
            assert!(connection.request_close(CloseReason::Draining));
        });
        assert_eq!(spent, 0);
    }
}

#[test]
fn beginning_the_exchange_of_a_request_allocates_nothing() {
    let connection = Connection::server();
    let mut extensions = Extensions::new();
    extensions.insert(connection.clone());
    let spent = allocations(|| {
        let exchange = Connection::begin_once(&mut extensions).expect("open");
        assert!(Connection::begin_once(&mut extensions).is_none());
        drop(exchange);
    });
    assert_eq!(spent, 0);
    assert_eq!(connection.exchanges_finished(), 1);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Connection::server())), 2);
    let table = Arc::new(StampTable::new(1, Duration::from_millis(100)));
    let slot = table.claim().expect("free");
    let spent = allocations(|| drop(Connection::builder(Side::Server).stamp(slot).build()));
    assert_eq!(spent, 1);
}

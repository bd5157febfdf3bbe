//! Model check of the connection handle:
//! `RUSTFLAGS="--cfg tower_conn_loom" cargo test -p tower-conn-core --release --test loom`.
#![cfg(tower_conn_loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use tower_conn_core::{CloseReason, Connection, Side, StampTable};

/// Waits as a driver does: woken, it looks again. A lost wake-up is a deadlock, which loom reports.
fn drained(connection: &Connection) -> CloseReason {
    block_on(std::future::poll_fn(|cx| connection.poll_drained(cx)))
}

#[test]
fn no_wake_up_is_lost_between_ask_to_close_and_exchange_ends() {
    // Three threads: all interleavings with at most three preemptions take seconds, without the
    // bound minutes (and pass as well).
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let connection = Connection::server();
        let exchange = connection.begin().expect("open");
        let ender = thread::spawn(move || drop(exchange));
        let closer = {
            let connection = connection.clone();
            thread::spawn(move || connection.request_close(CloseReason::Draining))
        };
        assert_eq!(drained(&connection), CloseReason::Draining);
        ender.join().unwrap();
        assert!(closer.join().unwrap());
        assert_eq!(connection.exchanges_finished(), 1);
    });
}

#[test]
fn the_driver_learns_of_a_close_asked_for_at_any_moment() {
    loom::model(|| {
        let connection = Connection::server();
        let closer = {
            let connection = connection.clone();
            thread::spawn(move || connection.request_close(CloseReason::MaxAge))
        };
        let reason = block_on(std::future::poll_fn(|cx| connection.poll_close(cx)));
        assert_eq!(reason, CloseReason::MaxAge);
        assert!(closer.join().unwrap());
    });
}

#[test]
fn no_exchange_is_counted_twice_or_lost() {
    loom::model(|| {
        let connection = Connection::server();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let connection = connection.clone();
                thread::spawn(move || {
                    let exchange = connection.begin().expect("open");
                    exchange.number()
                })
            })
            .collect();
        let mut numbers: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(connection.exchanges_begun(), 2);
        assert_eq!(connection.exchanges_finished(), 2);
        assert!(connection.is_idle());
    });
}

#[test]
fn of_a_reap_and_a_request_exactly_one_wins() {
    loom::model(|| {
        let connection = Connection::server();
        let reaper = {
            let connection = connection.clone();
            thread::spawn(move || connection.close_if_idle(Duration::ZERO, CloseReason::Idle))
        };
        // The guard stays open, so a reap that comes later must not win either.
        let exchange = connection.begin();
        let reaped = reaper.join().unwrap();
        assert_ne!(reaped, exchange.is_ok());
        assert_eq!(connection.is_closed(), reaped);
    });
}

#[test]
fn of_a_reap_and_a_first_byte_exactly_one_wins() {
    loom::model(|| {
        let connection = Connection::server();
        let reaper = {
            let connection = connection.clone();
            thread::spawn(move || connection.close_if_idle(Duration::ZERO, CloseReason::Idle))
        };
        let delivered = connection.head_started();
        assert_ne!(reaper.join().unwrap(), delivered);
    });
}

#[test]
fn a_request_that_comes_with_an_idle_limit_is_either_first_or_served_before_the_close() {
    loom::model(|| {
        let connection = Connection::server();
        let reaper = {
            let connection = connection.clone();
            thread::spawn(move || {
                connection.request_close_if_idle(Duration::ZERO, CloseReason::Idle)
            })
        };
        // The driver found bytes before it looked at the close, so nothing has claimed it yet.
        let exchange = connection.begin().expect("asked to close is not closed");
        let asked = reaper.join().unwrap();
        assert_eq!(connection.is_closing(), asked);
        drop(exchange);
        if asked {
            assert_eq!(drained(&connection), CloseReason::Idle);
        }
        assert_eq!(connection.exchanges_finished(), 1);
    });
}

#[test]
fn of_a_cut_and_a_drain_exactly_one_closes() {
    loom::model(|| {
        let connection = Connection::server();
        connection.request_close(CloseReason::Draining);
        let cutter = {
            let connection = connection.clone();
            thread::spawn(move || connection.cut(CloseReason::DrainDeadline))
        };
        drained(&connection);
        let stands = if cutter.join().unwrap() {
            CloseReason::DrainDeadline
        } else {
            CloseReason::Draining
        };
        assert_eq!(connection.close_reason(), Some(stands));
    });
}

#[test]
fn of_two_closers_one_gives_the_reason_and_one_counts() {
    loom::model(|| {
        let connection = Connection::server();
        let other = {
            let connection = connection.clone();
            thread::spawn(move || connection.close_once(CloseReason::PeerReset))
        };
        let mine = connection.close_once(CloseReason::Aborted);
        let theirs = other.join().unwrap();
        assert_ne!(mine.is_some(), theirs.is_some());
        assert_eq!(mine.or(theirs), connection.close_reason());
    });
}

#[test]
fn a_drained_connection_refuses_the_request_that_came_too_late() {
    loom::model(|| {
        let connection = Connection::server();
        connection.request_close(CloseReason::Draining);
        let late = {
            let connection = connection.clone();
            thread::spawn(move || connection.begin().is_ok())
        };
        let polled = block_on(std::future::poll_fn(|cx| {
            Poll::Ready(connection.poll_drained(cx).is_ready())
        }));
        let begun = late.join().unwrap();
        assert!(polled || begun, "neither the drain nor the request won");
        if begun {
            assert_eq!(connection.exchanges_finished(), 1);
        }
    });
}

#[test]
fn a_slot_is_taken_by_one_at_a_time_and_comes_back_clean() {
    loom::model(|| {
        let table = Arc::new(StampTable::new(1, Duration::from_secs(1)));
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || use_slot(&table))
        };
        let mine = use_slot(&table);
        let theirs = other.join().unwrap();
        assert!(mine || theirs, "a free slot was given to nobody");
        assert!(table.claim().is_some());
    });
}

/// Takes the slot, if it is free, for a connection that goes idle and ends.
fn use_slot(table: &Arc<StampTable>) -> bool {
    let Some(slot) = table.claim() else {
        return false;
    };
    let index = slot.index();
    assert_eq!(
        table.idle_since(index),
        None,
        "the last one's stamp is left"
    );
    table.set_idle(index);
    drop(slot);
    true
}

#[test]
fn a_sweep_that_found_the_stamp_of_a_connection_spares_the_next_one_in_its_slot() {
    loom::model(|| {
        let table = Arc::new(StampTable::new(1, Duration::from_secs(1)));
        let open = |table: &Arc<StampTable>| {
            let slot = table.claim()?;
            Some(Connection::builder(Side::Server).stamp(slot).build())
        };
        // As in a registry: connections stand in an array by slot, behind a lock.
        let entry = Arc::new(loom::sync::Mutex::new(open(&table)));
        let limit = Duration::from_secs(5);
        table.advance_to(NonZeroU32::new(9).expect("a tick"));
        let sweeper = {
            let (table, entry) = (Arc::clone(&table), Arc::clone(&entry));
            thread::spawn(move || {
                table.due(NonZeroU32::MIN).next()?;
                let found = entry.lock().unwrap().clone()?;
                Some(found.request_close_if_idle(limit, CloseReason::Idle))
            })
        };
        drop(entry.lock().unwrap().take());
        let next = open(&table);
        entry.lock().unwrap().clone_from(&next);
        sweeper.join().unwrap();
        assert!(next.is_none_or(|next| !next.is_closing()));
    });
}

#[test]
fn of_two_requests_and_a_close_all_that_are_let_in_are_counted() {
    loom::model(|| {
        let connection = Connection::server();
        let closer = {
            let connection = connection.clone();
            thread::spawn(move || connection.close(CloseReason::Aborted))
        };
        assert!(connection.head_started() || connection.is_closed());
        let begun = connection.begin().is_ok();
        closer.join().unwrap();
        assert_eq!(connection.exchanges_begun(), u32::from(begun));
        assert_eq!(connection.exchanges_open(), 0);
    });
}

//! The connection handle: counts, idleness, closing and wake-ups.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::{Request, Version};
use tower_conn_core::{
    CloseReason, Connection, Exchange, ExchangeEvent, Side, StampSlot, StampTable,
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

#[test]
fn a_new_connection_is_open_and_idle() {
    let connection = Connection::server();
    assert_eq!(connection.side(), Side::Server);
    assert!(connection.is_idle() && !connection.is_closing() && !connection.is_closed());
    assert_eq!(connection.version(), None);
    assert_eq!(connection.close_reason(), None);
    assert_ne!(connection.id(), Connection::server().id());
}

#[test]
fn exchanges_are_numbered_and_counted_once() {
    let connection = Connection::client();
    let first = connection.begin().expect("open");
    let second = connection.begin().expect("open");
    assert_eq!((first.number(), second.number()), (1, 2));
    drop(first);
    assert_eq!(connection.exchanges_open(), 1);
    assert_eq!(connection.exchanges_begun(), 2);
    assert_eq!(connection.exchanges_finished(), 1);
    assert!(!connection.is_idle());
    drop(second);
    assert!(connection.is_idle());
}

#[test]
fn stacked_layers_begin_the_exchange_of_a_request_once() {
    let connection = Connection::server();
    let mut request = Request::new(());
    assert!(
        Exchange::begin_once(request.extensions_mut()).is_none(),
        "no connection, no exchange"
    );

    request.extensions_mut().insert(connection.clone());
    let outer = Exchange::begin_once(request.extensions_mut()).expect("the outermost begins");
    assert!(Exchange::begin_once(request.extensions_mut()).is_none());
    let seen = Connection::of(request.extensions()).expect("still there");
    assert_eq!(seen.exchange_number(), NonZeroU32::new(1));
    assert_eq!(*seen, connection);
    assert_eq!(
        connection.exchange_number(),
        None,
        "the number belongs to the request's handle"
    );
    drop(outer);
    assert_eq!(connection.exchanges_finished(), 1);
}

#[tokio::test(start_paused = true)]
async fn idle_time_starts_when_the_last_exchange_ends() {
    let connection = Connection::server();
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(connection.idle_for(), Some(Duration::from_secs(3)));
    let exchange = connection.begin().expect("open");
    assert_eq!(connection.idle_for(), None);
    tokio::time::advance(Duration::from_secs(60)).await;
    drop(exchange);
    assert_eq!(connection.idle_for(), Some(Duration::ZERO));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(connection.idle_for(), Some(Duration::from_secs(5)));
    assert_eq!(connection.age(), Duration::from_secs(68));
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_idle_long_enough_is_claimed() {
    let connection = Connection::server();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(!connection.close_if_idle(Duration::from_secs(10), CloseReason::Idle));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(connection.head_started());
    assert!(
        !connection.close_if_idle(Duration::from_secs(10), CloseReason::Idle),
        "a head has begun"
    );
    connection.head_abandoned();
    assert!(connection.close_if_idle(Duration::from_secs(10), CloseReason::Idle));
    assert!(
        !connection.close_if_idle(Duration::ZERO, CloseReason::Idle),
        "closed once"
    );
    assert!(!connection.head_started());
    let closed = connection.begin().expect_err("closed");
    assert_eq!(closed.reason(), Some(CloseReason::Idle));
}

#[tokio::test(start_paused = true)]
async fn an_idle_limit_asks_only_an_idle_connection() {
    let limit = Duration::from_secs(10);
    let connection = Connection::server();
    let exchange = connection.begin().expect("open");
    tokio::time::advance(limit).await;
    assert!(!connection.request_close_if_idle(limit, CloseReason::Idle));
    drop(exchange);
    assert!(!connection.request_close_if_idle(limit, CloseReason::Idle));
    tokio::time::advance(limit).await;
    assert!(connection.request_close_if_idle(limit, CloseReason::Idle));
    assert!(connection.is_closing() && !connection.is_closed());
    assert!(
        !connection.request_close_if_idle(limit, CloseReason::Evicted),
        "asked once"
    );
    assert!(connection.begin().is_ok(), "what is here already is served");
}

#[test]
fn a_cut_replaces_a_reason_that_was_only_asked_for() {
    let connection = Connection::server();
    let exchange = connection.begin().expect("open");
    connection.request_close(CloseReason::Draining);
    assert!(connection.cut(CloseReason::DrainDeadline));
    assert!(!connection.cut(CloseReason::Aborted), "closed once");
    assert_eq!(connection.close_reason(), Some(CloseReason::DrainDeadline));
    assert_eq!(
        connection.close(CloseReason::PeerReset),
        CloseReason::DrainDeadline
    );
    drop(exchange);
    assert!(connection.begin().is_err());
}

#[test]
fn a_slot_of_a_table_follows_its_connection() {
    let table = Arc::new(StampTable::new(2, Duration::from_secs(1)));
    let at = |tick| NonZeroU32::new(tick).expect("a tick");
    let _other = table.claim().expect("both are free");
    let slot = table.claim().expect("one is free");
    let connection = Connection::builder(Side::Server).stamp(slot).build();
    assert_eq!(connection.stamp_slot().map(StampSlot::index), Some(1));
    assert_eq!(table.idle_since(1), Some(at(1)));
    let exchange = connection.begin().expect("open");
    assert_eq!(table.idle_since(1), None);
    table.advance_to(at(7));
    drop(exchange);
    assert_eq!(table.due(at(7)).collect::<Vec<_>>(), [1]);
    table.advance_to(at(9));
    assert_eq!(connection.idle_for(), Some(Duration::from_secs(2)));
    assert!(connection.close_if_idle(Duration::from_secs(2), CloseReason::Idle));
    drop(connection);
    assert_eq!(table.idle_since(1), None, "the slot is free again");
    assert!(table.claim().is_some());
}

#[test]
fn a_whole_head_stops_the_idle_clock_without_a_transition() {
    let table = Arc::new(StampTable::new(1, Duration::from_secs(1)));
    let slot = table.claim().expect("free");
    for connection in [
        Connection::server(),
        Connection::builder(Side::Server).stamp(slot).build(),
    ] {
        assert!(connection.head_delivered());
        assert_eq!(connection.idle_for(), None);
        assert!(!connection.request_close_if_idle(Duration::ZERO, CloseReason::Idle));
        drop(connection.begin().expect("open"));
        assert!(connection.idle_for().is_some());
        connection.close(CloseReason::Idle);
        assert!(!connection.head_delivered(), "too late");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_exchange_can_restart_the_idle_time() {
    let connection = Connection::server();
    tokio::time::advance(Duration::from_secs(3)).await;
    connection.restart_idle();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(connection.idle_for(), Some(Duration::from_secs(1)));
    let exchange = connection.begin().expect("open");
    connection.restart_idle();
    assert_eq!(connection.idle_for(), None, "an exchange is open");
    drop(exchange);
}

#[test]
fn an_attachment_of_the_table_is_found_unless_the_connection_has_its_own() {
    let table = Arc::new(StampTable::new(2, Duration::from_secs(1)).attach(Arc::new("table")));
    let builder = || Connection::builder(Side::Server).stamp(table.claim().expect("free"));
    let plain = builder().build();
    assert_eq!(plain.attachment::<&str>(), Some(&"table"));
    let local = "192.0.2.1:80".parse().expect("an address");
    let own = builder().local_addr(local).attach(Arc::new("own")).build();
    assert_eq!(own.attachment::<&str>(), Some(&"own"));
    assert_eq!((own.local_addr(), plain.local_addr()), (Some(local), None));
}

#[test]
fn the_first_reason_stands() {
    let connection = Connection::server();
    assert!(connection.request_close(CloseReason::MaxAge));
    assert!(!connection.request_close(CloseReason::Draining));
    assert!(connection.is_closing() && !connection.is_closed());
    let exchange = connection
        .begin()
        .expect("a request that is already here is served");
    assert_eq!(
        connection.close_once(CloseReason::PeerReset),
        Some(CloseReason::MaxAge)
    );
    assert_eq!(
        connection.close_once(CloseReason::PeerReset),
        None,
        "a close is counted once"
    );
    assert_eq!(
        connection.close(CloseReason::PeerReset),
        CloseReason::MaxAge
    );
    drop(exchange);
    assert_eq!(connection.exchanges_finished(), 1);
}

#[test]
fn the_driver_is_woken_by_the_request_and_by_the_end_of_the_last_exchange() {
    let connection = Connection::server();
    let (wakes, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    let exchange = connection.begin().expect("open");
    assert_eq!(connection.poll_close(&mut cx), Poll::Pending);

    connection.request_close(CloseReason::Draining);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(
        connection.poll_close(&mut cx),
        Poll::Ready(CloseReason::Draining)
    );
    assert_eq!(connection.poll_drained(&mut cx), Poll::Pending);

    drop(exchange);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(
        connection.poll_drained(&mut cx),
        Poll::Ready(CloseReason::Draining)
    );
    assert!(connection.begin().is_err(), "drained means closed");
}

#[test]
fn waiting_for_the_end_is_not_ended_by_a_request_to_close() {
    let connection = Connection::server();
    let (wakes, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    let _exchange = connection.begin().expect("open");
    connection.request_close(CloseReason::Draining);
    assert_eq!(connection.poll_closed(&mut cx), Poll::Pending);
    connection.wake();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(connection.poll_closed(&mut cx), Poll::Pending);
    connection.cut(CloseReason::Aborted);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(
        connection.poll_closed(&mut cx),
        Poll::Ready(CloseReason::Aborted)
    );
}

#[test]
fn an_open_connection_wakes_nobody() {
    let connection = Connection::server();
    let (wakes, waker) = waker();
    assert_eq!(
        connection.poll_drained(&mut Context::from_waker(&waker)),
        Poll::Pending
    );
    drop(connection.begin());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
}

#[test]
fn the_last_version_seen_is_kept() {
    let connection = Connection::client();
    for version in [Version::HTTP_11, Version::HTTP_10, Version::HTTP_2] {
        connection.saw_version(version);
        assert_eq!(connection.version(), Some(version));
    }
}

#[test]
fn what_the_driver_attached_is_found_by_its_type() {
    let connection = Connection::builder(Side::Server)
        .attach(Arc::new(7u32))
        .build();
    assert_eq!(connection.attachment::<u32>(), Some(&7));
    assert_eq!(connection.attachment::<u64>(), None);
    let kept = connection.shared_attachment::<u32>().expect("it is there");
    assert_eq!(connection.shared_attachment::<u64>(), None);
    drop(connection);
    assert_eq!(Arc::try_unwrap(kept), Ok(7), "nobody else holds it");
}

#[test]
fn an_observer_is_told_of_each_exchange_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let connection = Connection::builder(Side::Server)
        .on_exchange(Arc::new(
            move |connection: &Connection, event: ExchangeEvent| {
                let (what, number) = match event {
                    ExchangeEvent::Begun { number, .. } => ("begun", number),
                    ExchangeEvent::Ended { number, .. } => ("ended", number),
                    other => panic!("{other:?}"),
                };
                let open = connection.exchanges_open();
                log.lock()
                    .expect("no panic")
                    .push(format!("{what} {number}, {open} open"));
            },
        ))
        .build();
    let first = connection.begin().expect("open");
    let mut request = Request::new(());
    request.extensions_mut().insert(connection.clone());
    let second = Exchange::begin_once(request.extensions_mut());
    assert!(Exchange::begin_once(request.extensions_mut()).is_none());
    drop(first);
    connection.close(CloseReason::Aborted);
    assert!(connection.begin().is_err());
    drop(second);
    assert_eq!(
        *told.lock().expect("no panic"),
        [
            "begun 1, 1 open",
            "begun 2, 2 open",
            "ended 1, 1 open",
            "ended 2, 0 open"
        ]
    );
}

#[test]
fn the_handle_can_travel() {
    fn assert_traits<T: Clone + Send + Sync + Unpin + 'static>() {}
    assert_traits::<Connection>();
    fn assert_guard<T: Send + Sync + 'static>() {}
    assert_guard::<Exchange>();
    let text = format!("{:?}", Connection::server());
    assert!(text.contains("Server"), "{text}");
}

#[test]
fn a_snapshot_says_what_was_true_at_one_moment() {
    let connection = Connection::server();
    let before = connection.snapshot();
    assert!(before.is_idle() && !before.is_closing());
    assert!(connection.head_started());
    assert!(connection.snapshot().is_receiving_head() && !connection.snapshot().is_idle());
    let exchange = connection.begin().expect("open");
    let during = connection.snapshot();
    assert_eq!((during.exchanges_begun(), during.exchanges_open()), (1, 1));
    assert!(!during.is_receiving_head());
    connection.request_close(CloseReason::Draining);
    drop(exchange);
    let after = connection.snapshot();
    assert!(after.is_idle() && after.is_closing() && !after.is_closed());
    connection.close(CloseReason::Draining);
    assert!(connection.snapshot().is_closed());
    assert!(before.is_idle() && before.exchanges_begun() == 0);
}

#[test]
fn bytes_are_counted_for_every_handle() {
    let connection = Connection::server();
    let other = connection.clone();
    connection.count_received(3);
    connection.count_received(4);
    connection.count_sent(5);
    assert_eq!((other.bytes_received(), other.bytes_sent()), (7, 5));
}

#[test]
fn a_note_is_taken_once_and_changes_nothing_else() {
    let connection = Connection::server();
    assert!(connection.snapshot().is_quiet() && !connection.take_note());
    connection.leave_note();
    let noted = connection.snapshot();
    assert!(noted.is_noted() && noted.is_idle() && !noted.is_quiet());
    assert!(connection.take_note() && !connection.take_note());
    assert!(connection.snapshot().is_quiet());

    connection.leave_note();
    assert!(connection.close_if_idle(Duration::ZERO, CloseReason::Idle));
    assert_eq!(connection.close_reason(), Some(CloseReason::Idle));
    assert!(connection.take_note() && connection.is_closed());
}

#[test]
fn a_link_is_the_same_connection_without_the_number() {
    let connection = Connection::server();
    let link = connection.link().clone();
    let exchange = link.begin().expect("open");
    assert_eq!(exchange.connection(), &connection);
    assert_eq!(exchange.number(), 1);
    assert_eq!(link.connection().exchange_number(), None);
    drop(exchange);
    link.count_sent(2);
    assert_eq!(connection.bytes_sent(), 2);
    assert_eq!(link.snapshot(), connection.snapshot());
    assert_eq!(connection.clone().into_link().connection(), connection);
}

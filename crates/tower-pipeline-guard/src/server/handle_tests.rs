use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use super::*;

const A: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const B: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";

fn request(path: &str) -> Request<()> {
    let request = Request::get(path).header("host", "x").body(());
    request.expect("a request")
}

/// A call that never ends, and counts that it began and that it was dropped.
struct Pending(Arc<AtomicUsize>);

impl AheadCall for Pending {
    fn poll(&mut self, _: &mut Context<'_>) -> bool {
        false
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn handle(parallel: usize) -> (Handle, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    limited(parallel, None)
}

fn limited(
    parallel: usize,
    max_requests: Option<NonZeroU32>,
) -> (Handle, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    let handle = Handle::new(parallel, max_requests);
    let (started, dropped) = (
        Arc::<Mutex<Vec<_>>>::default(),
        Arc::<AtomicUsize>::default(),
    );
    let (log, drops) = (Arc::clone(&started), Arc::clone(&dropped));
    handle.provide_starter(Box::new(move |head| {
        let behind = head.extensions().get::<RunsAhead>().expect("it runs ahead");
        log.lock()
            .expect("no panic")
            .push(format!("{} {}", head.uri(), behind.behind()));
        Box::new(Pending(Arc::clone(&drops)))
    }));
    (handle, started, dropped)
}

fn drive(handle: &Handle) {
    handle.drive(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn a_running_call_is_taken_for_the_same_request() {
    let (handle, started, dropped) = handle(4);
    handle.receive(format!("{A}{B}{A}").as_bytes());
    assert!(handle.dispatch(&request("/a"), false).ahead.is_none());
    drive(&handle);
    assert_eq!(*started.lock().expect("no panic"), ["/b 1", "/a 2"]);
    handle.finished();
    let call = handle
        .dispatch(&request("/b"), false)
        .ahead
        .expect("it runs");
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop(call);
}

#[test]
fn the_server_is_right_when_the_parsers_disagree() {
    for (path, has_body) in [("/c", false), ("/b", true)] {
        let (handle, started, dropped) = handle(4);
        handle.receive(format!("{A}{B}{A}").as_bytes());
        assert!(handle.dispatch(&request("/a"), false).ahead.is_none());
        drive(&handle);
        handle.finished();
        assert!(
            handle.dispatch(&request(path), has_body).ahead.is_none(),
            "it runs anew"
        );
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            2,
            "what ran ahead is dropped"
        );
        // And looking ahead is over on this connection.
        handle.receive(format!("{A}{B}").as_bytes());
        drive(&handle);
        handle.finished();
        assert!(handle.dispatch(&request("/a"), false).ahead.is_none());
        drive(&handle);
        assert_eq!(started.lock().expect("no panic").len(), 2);
    }
}

#[test]
fn what_runs_ahead_is_told_with_what_became_of_it() {
    use super::super::AheadEvent::{self, Discarded, Started, Taken};

    let told = Arc::<Mutex<Vec<_>>>::default();
    let log = Arc::clone(&told);
    let (handle, _, _) = handle(4);
    handle.observe(Arc::new(move |event: AheadEvent| {
        log.lock().expect("no panic").push(event);
    }));
    let told = || std::mem::take(&mut *told.lock().expect("no panic"));
    handle.receive(format!("{A}{B}{A}{B}").as_bytes());
    handle.dispatch(&request("/a"), false);
    assert_eq!(told(), [], "the first is in its turn");
    drive(&handle);
    assert_eq!(told(), [1, 2, 3].map(|behind| Started { behind }));
    handle.finished();
    drop(
        handle
            .dispatch(&request("/b"), false)
            .ahead
            .expect("it runs"),
    );
    assert_eq!(told(), [Taken]);
    handle.finished();
    handle.dispatch(&request("/c"), false);
    assert_eq!(told(), [Discarded; 2], "the parsers disagree");
    drop(handle);
    assert_eq!(told(), []);
}

#[test]
fn what_runs_ahead_is_discarded_with_its_connection() {
    use super::super::AheadEvent;

    let discarded = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&discarded);
    let (handle, _, _) = handle(4);
    handle.observe(Arc::new(move |event: AheadEvent| {
        if event == AheadEvent::Discarded {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }));
    handle.receive(format!("{A}{B}{A}").as_bytes());
    handle.dispatch(&request("/a"), false);
    drive(&handle);
    handle.abandon();
    assert_eq!(discarded.load(Ordering::Relaxed), 2);
}

#[test]
fn nothing_starts_behind_a_barrier_or_beyond_the_bound() {
    let (handle, started, _) = handle(2);
    handle.receive(format!("{A}{B}{A}").as_bytes());
    handle.dispatch(&request("/a"), false);
    drive(&handle);
    drive(&handle);
    assert_eq!(*started.lock().expect("no panic"), ["/b 1"]);

    let (handle, started, _) = self::handle(4);
    let post = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    handle.receive(format!("{A}{post}{B}").as_bytes());
    handle.dispatch(&request("/a"), false);
    drive(&handle);
    assert_eq!(started.lock().expect("no panic").len(), 0);
}

#[test]
fn nothing_starts_beyond_the_last_request_of_the_connection() {
    let (handle, started, _) = limited(8, NonZeroU32::new(3));
    handle.receive(A.repeat(5).as_bytes());
    for last in [false, false, true] {
        assert_eq!(handle.dispatch(&request("/a"), false).last, last);
        drive(&handle);
        handle.finished();
    }
    assert_eq!(*started.lock().expect("no panic"), ["/a 1", "/a 2"]);
}

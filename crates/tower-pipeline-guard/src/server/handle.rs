//! What the transport and the service of one connection share.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{Extensions, Request};

use super::RunsAhead;
use super::observe::{Fate, Observer};
use super::window::{Window, same_head};

/// The state of one connection, shared by its transport and its service.
#[derive(Clone)]
pub(super) struct Handle(Arc<Inner>);

struct Inner {
    /// More than one call may run at once.
    runs_ahead: bool,
    has_starter: AtomicBool,
    shared: Mutex<Shared>,
}

struct Shared {
    window: Window,
    /// How many calls of the connection may run at once, the one that is due included.
    parallel: usize,
    /// How many requests may still be dispatched.
    left: Option<u32>,
    /// A request is dispatched, and the last byte of its response has not been produced.
    in_flight: bool,
    /// The request in flight allows others beside it.
    overlap: bool,
    /// Calls that run ahead of their turn, in the order of their requests.
    calls: VecDeque<Ahead>,
    starter: Option<Starter>,
    extensions: Option<Extensions>,
    /// Whoever drives the connection; woken when a head arrives that could run ahead.
    driver: Option<Waker>,
    /// Woken when the response in flight is finished: something was read that the server, which
    /// waits for the transport, has not been told about.
    resume: Option<Waker>,
    observer: Option<Observer>,
}

struct Ahead {
    head: Request<()>,
    done: bool,
    call: Box<dyn AheadCall>,
    fate: Fate,
}

/// A call whose type is known to the service only.
pub(super) trait AheadCall: Send {
    /// Advances the call; `true` once its response is there.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Makes a call of a request that has no body.
pub(super) type Starter = Box<dyn FnMut(Request<()>) -> Box<dyn AheadCall> + Send>;

/// What is known of a request when it is dispatched.
pub(super) struct Dispatched {
    /// The call that runs for it already.
    pub(super) ahead: Option<Box<dyn AheadCall>>,
    /// It is the last that the connection may carry.
    pub(super) last: bool,
}

impl Handle {
    pub(super) fn new(parallel: usize, max_requests: Option<NonZeroU32>) -> Self {
        Self(Arc::new(Inner {
            runs_ahead: parallel > 1,
            has_starter: AtomicBool::new(false),
            shared: Mutex::new(Shared {
                window: Window::default(),
                parallel,
                left: max_requests.map(NonZeroU32::get),
                in_flight: false,
                overlap: false,
                calls: VecDeque::new(),
                starter: None,
                extensions: None,
                resume: None,
                driver: None,
                observer: None,
            }),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ===== the transport's side =====

    pub(super) fn receive(&self, chunk: &[u8]) {
        let mut shared = self.lock();
        shared.window.receive(chunk);
        if shared.overlap && shared.calls.len() < shared.bound() {
            if let Some(driver) = shared.driver.take() {
                driver.wake();
            }
        }
    }

    pub(super) fn read_limit(&self, between: usize) -> usize {
        self.lock().window.read_limit(between)
    }

    /// Whether the server will produce more bytes without waiting for anything: the response in
    /// progress is complete, and the next head is here.
    pub(super) fn more_to_come(&self) -> bool {
        let mut shared = self.lock();
        !shared.in_flight && shared.window.has_next_head()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.lock().in_flight
    }

    /// Whether that many complete requests wait to be dispatched.
    pub(super) fn has_waiting(&self, requests: usize) -> bool {
        requests != usize::MAX && self.lock().window.waiting() >= requests
    }

    /// Has the server look again once the response in flight is finished.
    pub(super) fn resume_later(&self, waker: &Waker) {
        self.lock().resume = Some(waker.clone());
    }

    /// Whether an answer is due, and all of its request has been read.
    pub(super) fn is_answering(&self) -> bool {
        let mut shared = self.lock();
        // A head that was read and is not dispatched yet is about to be.
        shared.window.is_between_messages() && (shared.in_flight || shared.window.has_next_head())
    }

    /// Drops what runs ahead: the connection closes before its turn comes.
    pub(super) fn abandon(&self) {
        let (calls, starter) = {
            let mut shared = self.lock();
            shared.overlap = false;
            shared.parallel = 1;
            (
                std::mem::take(&mut shared.calls),
                std::mem::take(&mut shared.starter),
            )
        };
        drop((calls, starter));
    }

    // ===== the service's side =====

    pub(super) fn observe(&self, observer: Observer) {
        self.lock().observer = Some(observer);
    }

    pub(super) fn has_calls(&self) -> bool {
        self.0.runs_ahead && !self.lock().calls.is_empty()
    }

    pub(super) fn wants_starter(&self) -> bool {
        self.0.runs_ahead && !self.0.has_starter.load(Ordering::Relaxed)
    }

    pub(super) fn provide_starter(&self, starter: Starter) {
        self.0.has_starter.store(true, Ordering::Relaxed);
        self.lock().starter = Some(starter);
    }

    /// Notes that a request is dispatched.
    pub(super) fn dispatch<B>(&self, request: &Request<B>, has_body: bool) -> Dispatched {
        let mut shared = self.lock();
        shared.left = shared.left.map(|left| left.saturating_sub(1));
        let last = shared.left == Some(0);
        let may_overlap = shared.window.dispatched(request);
        shared.in_flight = true;
        shared.overlap = shared.parallel > 1 && !has_body && may_overlap;
        let Some(next) = shared.calls.pop_front() else {
            if shared.overlap && shared.extensions.is_none() {
                // What the layers outside put on the requests of the connection.
                shared.extensions = Some(request.extensions().clone());
            }
            return Dispatched { ahead: None, last };
        };
        if !has_body && same_head(&next.head, request) {
            drop(shared);
            next.fate.taken();
            let ahead = Some(next.call);
            return Dispatched { ahead, last };
        }
        // The two parsers disagree. The server's is the one that counts, and ours is not asked again.
        shared.window.go_blind();
        drop(shared);
        drop(next);
        self.abandon();
        Dispatched { ahead: None, last }
    }

    /// Starts and advances the calls that may run ahead of the one in flight.
    pub(super) fn drive(&self, cx: &mut Context<'_>) {
        let (mut calls, mut starter, heads, running, observer) = {
            let mut shared = self.lock();
            if !shared.overlap {
                return;
            }
            if !shared
                .driver
                .as_ref()
                .is_some_and(|old| old.will_wake(cx.waker()))
            {
                shared.driver = Some(cx.waker().clone());
            }
            let mut heads = Vec::new();
            if shared.starter.is_some() {
                let bound = shared.bound();
                while shared.calls.len() + heads.len() < bound {
                    let Some(mut head) = shared.window.read_ahead() else {
                        break;
                    };
                    *head.extensions_mut() = shared.extensions.clone().unwrap_or_default();
                    heads.push(head);
                }
            }
            if heads.is_empty() && shared.calls.iter().all(|ahead| ahead.done) {
                return;
            }
            let running = shared.calls.len();
            (
                std::mem::take(&mut shared.calls),
                shared.starter.take(),
                heads,
                running,
                shared.observer.clone(),
            )
        };
        // Nothing is locked while code of the application runs.
        if let Some(starter) = &mut starter {
            for (at, head) in heads.into_iter().enumerate() {
                let behind = running + at + 1;
                let mut request = head.clone();
                request.extensions_mut().insert(RunsAhead::new(behind));
                calls.push_back(Ahead {
                    head,
                    done: false,
                    fate: Fate::started(observer.as_ref(), behind),
                    call: starter(request),
                });
            }
        }
        for ahead in calls.iter_mut().filter(|ahead| !ahead.done) {
            ahead.done = ahead.call.poll(cx);
        }
        let mut shared = self.lock();
        if shared.parallel > 1 {
            shared.calls = calls;
            shared.starter = starter;
        }
    }

    pub(super) fn finished(&self) {
        let resume = {
            let mut shared = self.lock();
            shared.in_flight = false;
            shared.overlap = false;
            shared.resume.take()
        };
        if let Some(resume) = resume {
            resume.wake();
        }
    }

    /// HTTP/2 has order guards of its own.
    pub(super) fn not_http1(&self) {
        self.lock().window.go_blind();
        self.abandon();
    }
}

impl Shared {
    /// How many calls may run ahead of the one in flight.
    fn bound(&self) -> usize {
        let left = self.left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        (self.parallel - 1).min(left)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("Handle")
            .field("parallel", &shared.parallel)
            .field("in_flight", &shared.in_flight)
            .field("ahead", &shared.calls.len())
            .finish_non_exhaustive()
    }
}

/// The request in flight: ends when the response has been produced, or will not be.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) Handle);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.finished();
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;

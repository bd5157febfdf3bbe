//! Futures polled only when they have been woken, so that a lost wake shows.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{sync::Notify, task::yield_now, time::timeout};

/// How long a layer may take for anything. On a paused clock, this costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many turns the other tasks get before a pending future is taken to be waiting for the probe.
pub(super) const TURNS: usize = 32;

/// Counts wakes, and can be waited for.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    count: AtomicUsize,
    notify: Notify,
}

impl Wakes {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.notify.notify_one();
    }
}

/// A future that is polled once, and then only when it was woken.
#[derive(Debug)]
pub(super) struct Task<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    /// How many wakes there had been at the last poll; `None` before the first.
    seen: Option<usize>,
}

impl<F: Future> Task<F> {
    pub(super) fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            wakes: Arc::default(),
            seen: None,
        }
    }

    /// Panics if the future finishes while the other tasks get their turns.
    pub(super) async fn stays_pending(&mut self, otherwise: &str) {
        for _ in 0..TURNS {
            assert!(self.poll_woken().is_pending(), "{otherwise}");
            yield_now().await;
        }
    }

    /// The future's output, or a panic when no wake comes that leads to it.
    pub(super) async fn finish(mut self, otherwise: &str) -> F::Output {
        let finished = timeout(PATIENCE, async {
            loop {
                if let Poll::Ready(output) = self.poll_woken() {
                    return output;
                }
                self.wakes.notify.notified().await;
            }
        });
        match finished.await {
            Ok(output) => output,
            Err(_) => panic!("{otherwise}"),
        }
    }

    fn poll_woken(&mut self) -> Poll<F::Output> {
        let wakes = Some(self.wakes.count());
        if self.seen == wakes {
            return Poll::Pending;
        }
        self.seen = wakes;
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// The output of a future that should finish by itself.
pub(super) async fn patiently<F: Future>(future: F, otherwise: &str) -> F::Output {
    Task::new(future).finish(otherwise).await
}

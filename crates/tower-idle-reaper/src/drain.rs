//! Draining: no connection is left, and as little as possible is lost.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection};

use crate::IdleReaper;
use crate::limits::{after, ticks};
use crate::policy::fraction;
use crate::reaper::Inner;
use crate::shared::Shared;

/// How a server drains its connections; see [`IdleReaper::drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drain {
    deadline: Duration,
    lame_duck: Duration,
    last_request: Duration,
    spread: Duration,
}

impl Drain {
    /// Within this time, from the beginning of the drain; then what is left is cut.
    pub const fn within(deadline: Duration) -> Self {
        Self {
            deadline,
            lame_duck: Duration::ZERO,
            last_request: Duration::ZERO,
            spread: Duration::ZERO,
        }
    }

    /// Goes on accepting for this long, while a balancer notices that this instance is to be left
    /// alone. Every response closes its connection.
    pub const fn lame_duck(mut self, time: Duration) -> Self {
        self.lame_duck = time;
        self
    }

    /// Leaves idle connections open for this long after that, so that a request that is on its way
    /// is still answered. Every response closes its connection.
    pub const fn last_request(mut self, time: Duration) -> Self {
        self.last_request = time;
        self
    }

    /// Spreads the closing of idle connections over this time, so that the clients do not all
    /// reconnect at once.
    pub const fn spread(mut self, time: Duration) -> Self {
        self.spread = time;
        self
    }
}

impl From<Duration> for Drain {
    fn from(deadline: Duration) -> Self {
        Self::within(deadline)
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainSummary {
    /// Connections that were open when the drain began.
    pub open: usize,
    /// How many of those were idle.
    pub idle: usize,
    /// Connections that had to be cut at the deadline.
    pub cut: usize,
    /// How long it took.
    pub took: Duration,
}

/// Whether the reaper drains.
#[derive(Debug, Default)]
pub(crate) struct State {
    draining: AtomicBool,
    refusing: AtomicBool,
    began: Notify,
    refuses: Notify,
    /// When idle connections began to be closed, and over how many nanoseconds; 0 for not yet.
    closes_from: AtomicU32,
    spread: AtomicU64,
}

impl State {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether no connection is accepted any more.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// A connection is accepted, or begins an exchange, while the reaper may be draining.
    pub(crate) fn meet(&self, connection: &Connection) {
        if self.is_refusing() {
            connection.request_close(CloseReason::Draining);
        }
    }

    fn close_from(&self, tick: u32, spread: Duration) {
        let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        self.spread.store(nanos, Ordering::Relaxed);
        self.closes_from.store(tick, Ordering::Release);
    }

    /// The tick at which an idle connection is closed; 0 for not at present.
    pub(crate) fn close_at(&self, connection: &Connection, tick: Duration) -> u32 {
        match self.closes_from.load(Ordering::Acquire) {
            0 => 0,
            from => {
                let spread = Duration::from_nanos(self.spread.load(Ordering::Relaxed));
                after(from, ticks(spread.mul_f64(fraction(connection.id())), tick))
            }
        }
    }

    pub(crate) async fn started(&self) {
        set(&self.draining, &self.began).await;
    }

    /// Resolves when no connection is accepted any more.
    pub(crate) async fn refusing(&self) {
        set(&self.refusing, &self.refuses).await;
    }
}

async fn set(flag: &AtomicBool, notify: &Notify) {
    let notified = notify.notified();
    tokio::pin!(notified);
    notified.as_mut().enable();
    if !flag.load(Ordering::Acquire) {
        notified.await;
    }
}

impl IdleReaper {
    /// Closes all connections, and resolves when none is left.
    ///
    /// Idle connections close at once, those with an exchange open when it has ended, its response
    /// announcing the close if its head has not been written. A connection that has sent part of a
    /// first head may complete it. Upgraded connections learn of it by
    /// [`ReapHandle::draining`](crate::ReapHandle::draining). What is left at the deadline is cut and
    /// counted under [`CloseReason::DrainDeadline`]. Connections that are accepted meanwhile close
    /// after their first response; the listeners of the reaper stop accepting after the lame-duck
    /// time. A second drain joins the first, with a deadline of its own.
    ///
    /// ```
    /// # async fn stop(reaper: tower_idle_reaper::IdleReaper) {
    /// use std::time::Duration;
    /// use tower_idle_reaper::Drain;
    ///
    /// let drain = Drain::within(Duration::from_secs(30)).last_request(Duration::from_secs(1));
    /// let summary = reaper.drain(drain).await;
    /// println!("{} of {} connections had to be cut", summary.cut, summary.open);
    /// # }
    /// ```
    pub async fn drain(&self, drain: impl Into<Drain>) -> DrainSummary {
        let drain = drain.into();
        let began = Instant::now();
        let deadline = began + drain.deadline;
        let mut summary = DrainSummary {
            open: self.connections(),
            ..DrainSummary::default()
        };
        let reaper = &self.inner;
        reaper.registry.for_each(|connection| {
            summary.idle += usize::from(connection.is_idle());
        });
        reaper.drain.draining.store(true, Ordering::Release);
        reaper.drain.began.notify_waiters();

        if !drain.lame_duck.is_zero() {
            // Exchanges that are open now still answer with a close.
            reaper.close_busy();
            tokio::time::sleep_until(deadline.min(began + drain.lame_duck)).await;
        }
        reaper.drain.refusing.store(true, Ordering::Release);
        reaper.drain.refuses.notify_waiters();
        let window = drain.lame_duck + drain.last_request;
        if !drain.last_request.is_zero() {
            reaper.close_busy();
            let closes = deadline.min(began + window);
            let _ = tokio::time::timeout_at(closes, reaper.empty()).await;
        }
        reaper.close_all(drain.spread);
        if tokio::time::timeout_at(deadline, reaper.empty())
            .await
            .is_err()
        {
            reaper.registry.for_each(|connection| {
                if let Some(shared) = Shared::of(&connection) {
                    shared.cut(CloseReason::DrainDeadline);
                    summary.cut += 1;
                }
            });
        }
        summary.took = Instant::now().saturating_duration_since(began);
        summary
    }

    /// Resolves when, in a [drain](Self::drain), nothing is accepted any more: after its lame-duck time.
    pub async fn refusing(&self) {
        self.inner.drain.refusing().await;
    }

    /// Whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.drain.is_draining()
    }
}

impl Inner {
    /// Resolves when no connection is open.
    async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Asks those to close that are not idle.
    fn close_busy(&self) {
        self.registry.for_each(|connection| {
            let tunnel = Shared::of(&connection).is_some_and(|shared| shared.is_tunnel());
            if !connection.is_idle() && !tunnel {
                connection.request_close(CloseReason::Draining);
            }
        });
    }

    fn close_all(&self, spread: Duration) {
        self.drain.close_from(self.clock.refresh().get(), spread);
        self.registry.for_each(|connection| {
            let Some(shared) = Shared::of(&connection) else {
                return;
            };
            if spread.is_zero() || !connection.is_idle() {
                connection.request_close(CloseReason::Draining);
            } else {
                shared.look_at(self.drain.close_at(&connection, self.limits.tick()));
            }
        });
    }
}

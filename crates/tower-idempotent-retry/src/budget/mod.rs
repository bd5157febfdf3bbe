//! A bound on retries, so that a failing peer is not sent a multiple of its load.
//!
//! A limit on attempts bounds one request. It does not bound the load: when everything fails, three
//! attempts a request are three times the traffic, at the moment the peer can bear it least. A budget
//! ties the retries to the requests: each request deposits a share of a retry, each retry
//! withdraws a whole one.

mod destinations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

pub(crate) use self::destinations::{BudgetSource, Destinations};

/// The units of one retry: a hundred per cent, in thousandths so that a rate per second divides
/// into milliseconds.
const RETRY: u64 = 100_000;
const PERCENT: u64 = RETRY / 100;

/// How many retries are allowed: a percentage of the requests, on top of a small steady rate.
///
/// Percentages are whole numbers, so that 60 per cent of ten requests are exactly six retries.
///
/// ```
/// use tower_idempotent_retry::Budget;
///
/// let budget = Budget::percent(60).min_per_sec(0).build();
/// for _ in 0..10 {
///     budget.deposit();
/// }
/// assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Budget {
    percent: u32,
    min_per_sec: u32,
    burst: u32,
}

impl Budget {
    /// This many retries for each hundred requests, plus 10 a second, and never more than 100 saved up.
    pub const fn percent(percent: u32) -> Self {
        Self {
            percent,
            min_per_sec: 10,
            burst: 100,
        }
    }

    /// How many retries a second are allowed whatever the number of requests, so that a client with
    /// little traffic can retry at all. A new budget holds one second's worth. 0 for none.
    pub const fn min_per_sec(mut self, retries: u32) -> Self {
        self.min_per_sec = retries;
        self
    }

    /// How many retries can be saved up, which is what a peer that begins to fail can see at once
    /// on top of the percentage. At most 40000.
    pub const fn burst(mut self, retries: u32) -> Self {
        self.burst = if retries > 40_000 { 40_000 } else { retries };
        self
    }

    /// A budget to withdraw from.
    #[must_use]
    pub fn build(self) -> RetryBudget {
        RetryBudget {
            account: Arc::new(Account::new(self)),
        }
    }
}

impl Default for Budget {
    /// 20 per cent.
    fn default() -> Self {
        Self::percent(20)
    }
}

/// A budget in use. Clones share it.
///
/// Depositing and withdrawing are a few atomic operations: no lock, and no overdraft however many
/// withdraw at once. With the feature `tower` it is a `tower::retry::budget::Budget`, for use in a
/// policy of your own.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    account: Arc<Account>,
}

impl RetryBudget {
    /// Notes a request: once for each, not for each attempt.
    pub fn deposit(&self) {
        self.account.deposit(Instant::now());
    }

    /// Takes one retry out; `false` if there is none.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.account.withdraw(Instant::now())
    }

    /// How many retries could be withdrawn now.
    #[must_use]
    pub fn balance(&self) -> u32 {
        let account = &self.account;
        let tick = account.tick(Instant::now());
        let state = account.state.load(Ordering::Relaxed);
        (account.refilled(state, tick) / RETRY) as u32
    }
}

#[cfg(feature = "tower")]
impl tower::retry::budget::Budget for RetryBudget {
    fn deposit(&self) {
        Self::deposit(self);
    }

    fn withdraw(&self) -> bool {
        Self::withdraw(self)
    }
}

/// A balance and the tick it was last refilled at, in one word.
#[derive(Debug)]
struct Account {
    /// The balance in the upper half; milliseconds since `opened`, modulo 2^32, in the lower.
    state: AtomicU64,
    opened: Instant,
    config: Budget,
}

impl Account {
    fn new(config: Budget) -> Self {
        let balance = u64::from(config.min_per_sec.min(config.burst)) * RETRY;
        Self {
            state: AtomicU64::new(pack(balance, 0)),
            opened: Instant::now(),
            config,
        }
    }

    fn tick(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.opened).as_millis() as u32
    }

    const fn full(&self) -> u64 {
        self.config.burst as u64 * RETRY
    }

    /// The balance of a state at a tick. A thread whose clock is a little behind refills nothing.
    fn refilled(&self, state: u64, tick: u32) -> u64 {
        let (balance, last) = unpack(state);
        let passed = tick.wrapping_sub(last);
        if passed > u32::MAX / 2 {
            return balance;
        }
        let refill = u64::from(passed) * u64::from(self.config.min_per_sec) * (RETRY / 1000);
        balance.saturating_add(refill).min(self.full())
    }

    fn update(&self, now: Instant, change: impl Fn(u64) -> Option<u64>) -> bool {
        let tick = self.tick(now);
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                let (_, last) = unpack(state);
                let ahead = tick.wrapping_sub(last) <= u32::MAX / 2;
                let balance = change(self.refilled(state, tick))?;
                Some(pack(balance, if ahead { tick } else { last }))
            })
            .is_ok()
    }

    fn deposit(&self, now: Instant) {
        let share = u64::from(self.config.percent) * PERCENT;
        self.update(now, |balance| {
            Some(balance.saturating_add(share).min(self.full()))
        });
    }

    fn withdraw(&self, now: Instant) -> bool {
        self.update(now, |balance| balance.checked_sub(RETRY))
    }
}

const fn pack(balance: u64, tick: u32) -> u64 {
    (balance << 32) | tick as u64
}

const fn unpack(state: u64) -> (u64, u32) {
    (state >> 32, state as u32)
}

#[cfg(test)]
mod tests;

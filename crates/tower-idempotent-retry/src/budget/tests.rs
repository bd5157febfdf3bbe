use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use super::*;

fn withdrawals(budget: &RetryBudget, tries: usize) -> usize {
    (0..tries).filter(|_| budget.withdraw()).count()
}

/// tower-rs/tower#857: `TpsBudget` lets 100 of 100 through at 60 per cent.
#[test]
fn the_ratio_is_exact() {
    for (percent, expected) in [
        (0, 0),
        (10, 10),
        (20, 20),
        (30, 30),
        (60, 60),
        (75, 75),
        (90, 90),
    ] {
        let budget = Budget::percent(percent).min_per_sec(0).build();
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!(
            withdrawals(&budget, 200),
            expected,
            "{percent} per cent of 100"
        );
    }
    let budget = Budget::percent(60).min_per_sec(0).build();
    for _ in 0..10 {
        budget.deposit();
    }
    assert_eq!(withdrawals(&budget, 10), 6, "60 per cent of 10");
}

#[test]
fn nothing_is_saved_beyond_the_burst() {
    let budget = Budget::percent(150).min_per_sec(0).burst(7).build();
    for _ in 0..1000 {
        budget.deposit();
    }
    assert_eq!(withdrawals(&budget, 100), 7);
    assert_eq!(Budget::percent(100).burst(u32::MAX).build().balance(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_steady_rate_refills_with_time() {
    let budget = Budget::percent(0).min_per_sec(2).burst(5).build();
    assert_eq!(withdrawals(&budget, 10), 2, "one second's worth at first");
    tokio::time::advance(Duration::from_millis(499)).await;
    assert!(!budget.withdraw());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(budget.withdraw() && !budget.withdraw());
    // Deposits that add nothing do not hold the refill up.
    for _ in 0..10 {
        tokio::time::advance(Duration::from_millis(100)).await;
        budget.deposit();
    }
    assert_eq!(withdrawals(&budget, 10), 2);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(budget.balance(), 5);
    assert_eq!(withdrawals(&budget, 10), 5, "no more than the burst");
}

#[test]
fn a_clock_that_is_behind_refills_nothing() {
    let config = Budget::percent(0).min_per_sec(1000).burst(1000);
    let account = Account::new(config);
    let later = account.opened + Duration::from_secs(10);
    for _ in 0..1000 {
        assert!(account.withdraw(later));
    }
    assert!(!account.withdraw(later));
    assert!(!account.withdraw(later - Duration::from_secs(1)));
    assert!(!account.withdraw(later));
}

/// tower's `TpsBudget` grants 6 of 5 to eight threads.
#[test]
fn no_overdraft_under_concurrency() {
    const THREADS: usize = 8;
    for round in 0..200 {
        let budget = Budget::percent(100).min_per_sec(0).build();
        let start = Barrier::new(THREADS);
        let granted = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..5 {
                        budget.deposit();
                    }
                    let taken = withdrawals(&budget, 20);
                    granted.fetch_add(taken, Ordering::Relaxed);
                });
            }
        });
        // Every deposit is for one retry, and none is lost: what the threads left is still there.
        let granted = granted.into_inner() + withdrawals(&budget, 100);
        assert_eq!(granted, THREADS * 5, "round {round}");
    }
}

#[cfg(feature = "tower")]
#[test]
fn it_is_a_budget_of_tower() {
    let budget: Box<dyn tower::retry::budget::Budget + Send + Sync> =
        Box::new(Budget::percent(100).min_per_sec(0).build());
    assert!(!budget.withdraw());
    budget.deposit();
    assert!(budget.withdraw() && !budget.withdraw());
}

//! Counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The values of the labels of a counter.
pub(crate) type Labels<const N: usize> = [&'static str; N];

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by labels, each of which has few values.
pub(crate) struct Family<const N: usize>(Mutex<BTreeMap<Labels<N>, u64>>);

impl<const N: usize> Family<N> {
    /// With these at zero, so that the first of a kind shows as a change.
    pub(crate) fn with(labels: impl IntoIterator<Item = Labels<N>>) -> Self {
        Self(Mutex::new(
            labels.into_iter().map(|labels| (labels, 0)).collect(),
        ))
    }

    pub(crate) fn add(&self, labels: Labels<N>, n: u64) {
        if n > 0 {
            *lock(&self.0).entry(labels).or_default() += n;
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<Labels<N>, u64> {
        lock(&self.0).clone()
    }
}

/// How many values are up to each of some bounds.
#[derive(Clone)]
pub(crate) struct Histogram<const N: usize> {
    pub(crate) bounds: [f64; N],
    /// By bucket, not cumulated; the last one is for what is above all bounds.
    pub(crate) counts: [u64; N],
    pub(crate) above: u64,
    pub(crate) sum: f64,
}

impl<const N: usize> Histogram<N> {
    pub(crate) const fn new(bounds: [f64; N]) -> Self {
        Self {
            bounds,
            counts: [0; N],
            above: 0,
            sum: 0.0,
        }
    }

    pub(crate) fn record(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|&bound| value <= bound);
        match bucket.and_then(|bucket| self.counts.get_mut(bucket)) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
        self.sum += value;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.above += other.above;
        self.sum += other.sum;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

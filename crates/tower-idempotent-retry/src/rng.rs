//! Random numbers good enough for jitter and for keys that do not collide.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where jitter comes from: the operating system's seed, or a closure.
///
/// One state is shared by all clones, so that no two sessions see the same sequence.
#[derive(Clone)]
pub(crate) struct Rng(Source);

#[derive(Clone)]
enum Source {
    /// SplitMix64 over a shared counter: one atomic addition for each number.
    Counter(Arc<AtomicU64>),
    Closure(Arc<dyn Fn() -> u64 + Send + Sync>),
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rng {
    pub(crate) fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Source::Counter(Arc::new(AtomicU64::new(seed))))
    }

    pub(crate) fn closure(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Source::Closure(Arc::new(next)))
    }

    pub(crate) fn next(&self) -> u64 {
        match &self.0 {
            Source::Counter(counter) => mix(counter
                .fetch_add(GOLDEN_GAMMA, Ordering::Relaxed)
                .wrapping_add(GOLDEN_GAMMA)),
            Source::Closure(next) => next(),
        }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of SplitMix64 for the seed 1234567.
    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        let rng = Rng::seeded(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| rng.next()).collect();
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn clones_share_one_sequence_and_instances_do_not() {
        let rng = Rng::new();
        assert_ne!(rng.next(), rng.clone().next());
        assert_ne!(Rng::new().next(), Rng::new().next());
    }
}

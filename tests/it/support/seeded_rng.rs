//! Chance that can be had again: every test that uses it prints its seed, and
//! `AGENTHUB_SEED` gives it back.

/// A row of numbers that a seed decides (Steele, Lea and Flood's `SplitMix64`, 2014).
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `AGENTHUB_SEED` or by chance. Says which seed it is.
    pub(crate) fn new(what: &str) -> Self {
        let given = std::env::var("AGENTHUB_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(what) >> 32
        });
        super::say(&format!("{what}: AGENTHUB_SEED={seed}"));
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

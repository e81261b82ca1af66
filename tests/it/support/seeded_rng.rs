//! Reproducible random numbers: every test that uses them prints its seed, and `AGENTHUB_SEED`
//! repeats a run.

/// A random number generator with a seed (`SplitMix64` by Steele, Lea and Flood, 2014).
pub(crate) struct SeededRng(u64);

impl SeededRng {
    /// Takes the seed from `AGENTHUB_SEED`, or a random one, and prints it.
    pub(crate) fn new(test: &str) -> Self {
        let given = std::env::var("AGENTHUB_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(test) >> 32
        });
        super::print_line(&format!("{test}: AGENTHUB_SEED={seed}"));
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

//! How old rows are when they are handed to a client: commit to send.
//!
//! For: `/metrics`.
//! Not for: rows that a client catches up on; their age is that of its absence.
//!
//! A row's time is its own `created_at`, which the file sets when the INSERT runs, to the
//! millisecond.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];
/// An older row was not written now, whatever it says: it was imported, or a clock is wrong.
const PLAUSIBLE: i64 = 3_600_000;

/// A histogram.
#[derive(Debug, Default)]
pub(super) struct LatencyHistogram {
    buckets: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
    count: AtomicU64,
}

/// What a histogram holds at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// Upper bounds in milliseconds, and how many are within each.
    pub within: Vec<(u64, u64)>,
    /// All ages together, in milliseconds.
    pub sum: u64,
    /// How many there are.
    pub count: u64,
}

impl LatencyHistogram {
    /// Notes a row of the time `created_at`, handed on at `now`; both Unix milliseconds.
    pub(super) fn note(&self, created_at: i64, now: i64) {
        let age = now.saturating_sub(created_at);
        // A clock that was set back a little makes rows of the future; they are new.
        if !(-PLAUSIBLE..=PLAUSIBLE).contains(&age) {
            return;
        }
        let age = u64::try_from(age).unwrap_or(0);
        let first = BOUNDS.partition_point(|bound| *bound < age);
        if let Some(bucket) = self.buckets.get(first) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(age, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> LatencySnapshot {
        let count = self.count.load(Ordering::Relaxed);
        let mut so_far = 0;
        let within = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            so_far += bucket.load(Ordering::Relaxed);
            (*bound, so_far)
        });
        LatencySnapshot {
            within: within.collect(),
            sum: self.sum.load(Ordering::Relaxed),
            // Notes come in between: the whole is not less than its parts.
            count: count.max(so_far),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_age_is_in_every_bucket_that_holds_it() {
        let ages = LatencyHistogram::default();
        for (created_at, now) in [
            (1_000, 1_000),
            (1_000, 1_003),
            (1_005, 1_000),
            (0, 90_000),
            (0, i64::MAX),
        ] {
            ages.note(created_at, now);
        }
        let now = ages.now();
        assert_eq!(now.count, 4, "the implausible one is left out");
        assert_eq!(now.sum, 3 + 90_000);
        assert_eq!(now.within[0], (1, 2));
        assert_eq!(now.within[2], (5, 3));
        assert_eq!(now.within[13], (60_000, 3));
    }
}

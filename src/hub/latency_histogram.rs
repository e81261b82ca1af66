//! Delivery latency: the age of new rows when they are sent to a client, for `/metrics`.
//!
//! The age is measured from the row's `created_at`, which the database sets when the INSERT runs,
//! in milliseconds. Rows that a client reads from the database after a reconnect are not counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];
/// Largest plausible age, in milliseconds. An older row was imported, or a clock is wrong.
const MAX_PLAUSIBLE_AGE: i64 = 3_600_000;

/// A cumulative histogram, safe to share between threads.
#[derive(Debug, Default)]
pub(super) struct LatencyHistogram {
    buckets: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
    count: AtomicU64,
}

/// The content of a histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// Upper bounds in milliseconds, each with the number of ages up to it.
    pub within: Vec<(u64, u64)>,
    /// Sum of all ages, in milliseconds.
    pub sum: u64,
    /// Number of ages.
    pub count: u64,
}

impl LatencyHistogram {
    /// Records a row written at `created_at` and sent at `now`, both in Unix milliseconds.
    pub(super) fn record(&self, created_at: i64, now: i64) {
        let age = now.saturating_sub(created_at);
        // A clock that was set back makes rows of the near future: their age counts as 0.
        if !(-MAX_PLAUSIBLE_AGE..=MAX_PLAUSIBLE_AGE).contains(&age) {
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

    /// Returns the current content.
    pub(super) fn snapshot(&self) -> LatencySnapshot {
        let count = self.count.load(Ordering::Relaxed);
        let mut total = 0;
        let within = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            total += bucket.load(Ordering::Relaxed);
            (*bound, total)
        });
        LatencySnapshot {
            within: within.collect(),
            sum: self.sum.load(Ordering::Relaxed),
            // Other threads record meanwhile: the total must not be below the last bucket.
            count: count.max(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_age_in_every_bucket_above_it() {
        let histogram = LatencyHistogram::default();
        for (created_at, now) in [
            (1_000, 1_000),
            (1_000, 1_003),
            (1_005, 1_000),
            (0, 90_000),
            (0, i64::MAX),
        ] {
            histogram.record(created_at, now);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count, 4, "an implausible age is ignored");
        assert_eq!(snapshot.sum, 3 + 90_000);
        assert_eq!(snapshot.within[0], (1, 2));
        assert_eq!(snapshot.within[2], (5, 3));
        assert_eq!(snapshot.within[13], (60_000, 3));
    }
}

//! A counter with one label, for example refused requests by reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts by label.
#[derive(Debug, Default)]
pub(super) struct LabeledCounter(Mutex<BTreeMap<String, u64>>);

impl LabeledCounter {
    pub(super) fn increment(&self, label: impl Into<String>) {
        *self.lock().entry(label.into()).or_default() += 1;
    }

    /// Returns the sum over all labels.
    pub(super) fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    /// Returns the count of each label seen so far.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

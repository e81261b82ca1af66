//! Acknowledgements that are not in the database yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::Ack;

/// The highest pending acknowledgement of each instance and thread.
#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    pending: Mutex<HashMap<(String, String), i64>>,
    added: Notify,
}

impl PendingAcks {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), i64>> {
        // Nothing panics while the lock is held.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all acknowledgements: they belong to a database that was replaced.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Adds an acknowledgement. A lower number than the pending one changes nothing.
    pub(super) fn add(&self, ack: Ack) {
        let mut pending = self.lock();
        let seq = pending.entry((ack.instance, ack.thread_id)).or_default();
        *seq = ack.seq.max(*seq);
        self.added.notify_one();
    }

    /// Waits until there is an acknowledgement to store.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    /// Makes [`added`](Self::added) return once more, so that a failed write is retried.
    pub(super) fn retry(&self) {
        self.added.notify_one();
    }

    /// Returns the highest pending number of this instance and thread, or 0.
    pub(super) fn get(&self, instance: &str, thread_id: &str) -> i64 {
        let key = (instance.to_owned(), thread_id.to_owned());
        self.lock().get(&key).copied().unwrap_or(0)
    }

    /// Returns all pending acknowledgements.
    pub(super) fn all(&self) -> Vec<Ack> {
        let pending = self.lock();
        let acks = pending.iter().map(|((instance, thread_id), seq)| Ack {
            instance: instance.clone(),
            thread_id: thread_id.clone(),
            seq: *seq,
        });
        acks.collect()
    }

    /// Removes acknowledgements that are stored now. Higher ones that arrived meanwhile stay.
    pub(super) fn remove(&self, stored: Vec<Ack>) {
        let mut pending = self.lock();
        for ack in stored {
            let key = (ack.instance, ack.thread_id);
            if pending.get(&key).is_some_and(|seq| *seq <= ack.seq) {
                pending.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn ack(instance: &str, thread_id: &str, seq: i64) -> Ack {
        Ack {
            instance: instance.to_owned(),
            thread_id: thread_id.to_owned(),
            seq,
        }
    }

    #[test]
    fn highest_number_of_each_instance_and_thread_is_pending() {
        let acks = PendingAcks::default();
        for (instance, thread_id, seq) in [("a", "t", 3), ("a", "t", 2), ("a", "u", 1), ("b", "t", 4)] {
            acks.add(ack(instance, thread_id, seq));
        }
        assert_eq!((acks.get("a", "t"), acks.get("a", "u"), acks.get("b", "t")), (3, 1, 4));
        assert_eq!(acks.get("b", "u"), 0);
        assert_eq!(acks.all().len(), 3);
        acks.clear();
        assert!(acks.all().is_empty());
    }

    #[test]
    fn stored_numbers_are_removed_and_higher_ones_stay() {
        let acks = PendingAcks::default();
        acks.add(ack("a", "t", 3));
        acks.add(ack("a", "u", 3));
        acks.add(ack("a", "v", 3));
        acks.remove(vec![
            ack("a", "t", 2),
            ack("a", "u", 3),
            ack("a", "v", 4),
            ack("a", "w", 1),
        ]);
        assert_eq!((acks.get("a", "t"), acks.get("a", "u"), acks.get("a", "v")), (3, 0, 0));
    }

    #[test]
    fn added_returns_after_an_acknowledgement_and_after_a_failed_write() {
        let acks = PendingAcks::default();
        assert!(acks.added().now_or_never().is_none());
        acks.add(ack("a", "t", 1));
        assert!(acks.added().now_or_never().is_some());
        assert!(acks.added().now_or_never().is_none());
        acks.retry();
        assert!(acks.added().now_or_never().is_some());
    }
}

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

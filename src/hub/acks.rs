//! Acknowledgements on their way to the file.
//!
//! For: gathering what clients acknowledge and storing it a few times a second, in one
//! transaction for all of them.
//! Not for: flow control (`session`). An ack that is lost with the hub is made up for by
//! a message delivered twice to a client that asked for that (`from_seq` -1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::error::Result;
use crate::event::now_ms;
use crate::store::Ack;

/// Time in which acks are gathered before they are stored.
const INTERVAL: Duration = Duration::from_millis(100);

/// The highest ack of each instance and thread that is not in the file yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    pending: Mutex<HashMap<(String, String), i64>>,
    /// There is something to store.
    came: Notify,
}

impl Acks {
    fn pending(&self) -> MutexGuard<'_, HashMap<(String, String), i64>> {
        // Nothing panics while the lock is held.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what belongs to a file that is gone.
    pub(super) fn forget(&self) {
        self.pending().clear();
    }

    fn note(&self, ack: Ack) {
        let mut pending = self.pending();
        let seq = pending.entry((ack.instance, ack.thread_id)).or_default();
        *seq = ack.seq.max(*seq);
        self.came.notify_one();
    }

    /// The highest that this instance has acknowledged and that is not in the file yet.
    pub(super) fn of(&self, instance: &str, thread_id: &str) -> i64 {
        let key = (instance.to_owned(), thread_id.to_owned());
        self.pending().get(&key).copied().unwrap_or(0)
    }

    fn all(&self) -> Vec<Ack> {
        let pending = self.pending();
        let acks = pending.iter().map(|((instance, thread_id), seq)| Ack {
            instance: instance.clone(),
            thread_id: thread_id.clone(),
            seq: *seq,
        });
        acks.collect()
    }

    /// These are in the file. What has come since stays.
    fn stored(&self, acks: Vec<Ack>) {
        let mut pending = self.pending();
        for ack in acks {
            let key = (ack.instance, ack.thread_id);
            if pending.get(&key).is_some_and(|seq| *seq <= ack.seq) {
                pending.remove(&key);
            }
        }
    }
}

impl Hub {
    /// Takes an ack; it is in the file soon.
    pub fn acknowledge(&self, ack: Ack) {
        self.acks.note(ack);
    }

    /// Stores the acks taken so far.
    ///
    /// # Errors
    /// A `Store…` code; the acks are kept for the next try.
    pub async fn flush_acks(self: &Arc<Self>) -> Result<()> {
        let acks = self.acks.all();
        if acks.is_empty() {
            return Ok(());
        }
        let for_file = acks.clone();
        let write = self.write(move |writer| for_file.iter().try_for_each(|ack| writer.acknowledge(ack, now_ms())));
        match write.await {
            Ok(()) => self.acks.stored(acks),
            // They wait for the next ack, or for the next time around.
            Err(error) => {
                self.acks.came.notify_one();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Stores acks a moment after they come, until `stop`, and once more at the end.
    pub async fn keep_acks(self: Arc<Self>, stop: CancellationToken) {
        let gathered = || async {
            self.acks.came.notified().await;
            tokio::time::sleep(INTERVAL).await;
        };
        while stop.run_until_cancelled(gathered()).await.is_some() {
            // A failure was noted where it happened; the acks are kept for the next try.
            drop(self.flush_acks().await);
        }
        drop(self.flush_acks().await);
    }
}

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
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
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
    /// Takes an ack for the file of this `generation`; it is in that file soon, and in no other.
    pub fn acknowledge(&self, generation: u64, ack: Ack) {
        // Held while it is noted: a file that takes this one's place forgets it afterwards.
        let log = self.log();
        if log.generation == generation {
            self.acks.note(ack);
        }
    }

    /// Stores the acks taken so far.
    ///
    /// # Errors
    /// A `Store…` code; the acks are kept for the next try.
    pub async fn flush_acks(self: &Arc<Self>) -> Result<()> {
        // In one look: acks of one file must not meet the position of another.
        let (epoch, head, acks) = {
            let log = self.log();
            (Arc::clone(&log.epoch), log.tail.head(), self.acks.all())
        };
        if acks.is_empty() {
            return Ok(());
        }
        let for_file = acks.clone();
        let write = self.write(move |writer| {
            // The writer goes over to another file before the looker has said so.
            if !writer.has(&epoch, head)? {
                return Err(another_file());
            }
            for_file.iter().try_for_each(|ack| writer.acknowledge(ack, now_ms()))
        });
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

fn another_file() -> Error {
    Error::new(
        Code::StoreReplaced,
        "cannot store acknowledgements: they were given for the file that was here before; clients have to start anew",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Limits;
    use crate::store::{NetworkFs, Store, Writer};
    use crate::watcher::WatchMode;

    fn ack() -> Ack {
        Ack {
            instance: "worker".into(),
            thread_id: "t".into(),
            seq: 4,
        }
    }

    /// Without it a client of the file that took the place would miss four messages.
    #[tokio::test]
    async fn acks_for_one_file_are_not_stored_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("hub.db"), folder.path().join("other.db"));
        let store = Store::open(&path, NetworkFs::Refuse).unwrap();
        let (hub, looker) = Hub::start(store, Limits::default(), WatchMode::Auto).unwrap();
        // Nobody looks: the writer is the first to come upon the other file.
        looker.stop();
        hub.acknowledge(hub.generation() + 1, ack());
        assert_eq!(hub.acks.of("worker", "t"), 0, "given for another file");
        hub.acknowledge(hub.generation(), ack());
        drop(Writer::open(&other, NetworkFs::Refuse).unwrap());
        for name in ["hub.db-wal", "hub.db-shm"] {
            drop(std::fs::remove_file(folder.path().join(name)));
        }
        std::fs::rename(&other, &path).unwrap();
        hub.store.reopen().unwrap();
        let error = hub.flush_acks().await.unwrap_err();
        assert_eq!(error.code(), Code::StoreReplaced);
        assert_eq!(hub.store.reader().unwrap().last_ack("worker", "t").unwrap(), 0);
    }
}

//! Stores acknowledgements a few times a second, in one transaction for all clients.
//!
//! Acknowledgements in memory are lost with the process. A client that resumes from its last
//! acknowledgement (`from_seq` -1) is then sent those messages a second time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::Hub;
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::Ack;

/// Time during which acknowledgements are collected before they are stored.
const INTERVAL: Duration = Duration::from_millis(100);

impl Hub {
    /// Accepts an acknowledgement for the database of this `generation`. It is stored in that
    /// database soon, and never in another.
    pub fn acknowledge(&self, generation: u64, ack: Ack) {
        // The lock is held while the ack is added: a replacement of the database, which clears
        // the pending acks, comes either before or after both steps.
        let log = self.log();
        if log.generation == generation {
            self.acks.add(ack);
        }
    }

    /// Stores the acknowledgements accepted so far.
    ///
    /// # Errors
    /// A `Store…` code; the acknowledgements are kept for the next attempt.
    pub async fn flush_acks(self: &Arc<Self>) -> Result<()> {
        // Under one lock: acks of one database must not be paired with a position of another.
        let (epoch, head, acks) = {
            let log = self.log();
            (Arc::clone(&log.epoch), log.recent.head(), self.acks.all())
        };
        if acks.is_empty() {
            return Ok(());
        }
        let to_write = acks.clone();
        let write = self.write(move |writer| {
            // The writer may switch to another database before the change reader announces it.
            if !writer.has(&epoch, head)? {
                return Err(replaced());
            }
            to_write.iter().try_for_each(|ack| writer.acknowledge(ack, now_ms()))
        });
        match write.await {
            Ok(()) => self.acks.remove(acks),
            Err(error) => {
                self.acks.retry();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Stores acknowledgements shortly after they arrive until `stop`, and once more at the end.
    pub async fn write_acks(self: Arc<Self>, stop: CancellationToken) {
        let collected = || async {
            self.acks.added().await;
            tokio::time::sleep(INTERVAL).await;
        };
        while stop.run_until_cancelled(collected()).await.is_some() {
            // `write` reports failures; the acks are kept for the next attempt.
            drop(self.flush_acks().await);
        }
        drop(self.flush_acks().await);
    }
}

fn replaced() -> Error {
    Error::new(
        Code::StoreReplaced,
        "cannot store acknowledgements: the database they belong to was replaced; clients have to start over",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::store::{NetworkFs, Store, Writer};
    use crate::watcher::WatchMode;

    fn ack() -> Ack {
        Ack {
            instance: "worker".into(),
            thread_id: "t".into(),
            seq: 4,
        }
    }

    /// Otherwise a client of the new database would miss four messages.
    #[tokio::test]
    async fn does_not_store_acks_of_a_replaced_database() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("hub.db"), dir.path().join("other.db"));
        let store = Store::open(&path, NetworkFs::Refuse).unwrap();
        let (hub, change_reader) = Hub::start(store, Limits::default(), WatchMode::Auto).unwrap();
        // Without the change reader, the writer is the first to find the other file.
        change_reader.stop();
        hub.acknowledge(hub.generation() + 1, ack());
        assert_eq!(hub.acks.get("worker", "t"), 0, "acknowledged for another database");
        hub.acknowledge(hub.generation(), ack());
        drop(Writer::open(&other, NetworkFs::Refuse).unwrap());
        for name in ["hub.db-wal", "hub.db-shm"] {
            drop(std::fs::remove_file(dir.path().join(name)));
        }
        std::fs::rename(&other, &path).unwrap();
        hub.store().reopen().unwrap();
        let error = hub.flush_acks().await.unwrap_err();
        assert_eq!(error.code(), Code::StoreReplaced);
        assert_eq!(hub.store().reader().unwrap().last_ack("worker", "t").unwrap(), 0);
    }
}

//! The tasks that a server runs in addition to its connections.

use std::sync::Arc;

use super::credential_watch;
use super::state::Server;

impl Server {
    /// Starts the background tasks once: storing acks, retrying writes while the database cannot
    /// be written, and watching the secrets' files. They end on shutdown.
    pub(super) fn start_background_tasks(self: &Arc<Self>) {
        self.background_tasks_started.call_once(|| {
            self.tasks
                .spawn(Arc::clone(&self.hub).write_acks(self.shutdown.clone()));
            self.tasks
                .spawn(Arc::clone(&self.hub).probe_writing(self.shutdown.clone()));
            self.tasks
                .spawn(credential_watch::watch(Arc::downgrade(self), self.shutdown.clone()));
        });
    }
}

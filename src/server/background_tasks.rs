//! The tasks that a server runs in addition to its connections.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::credential_watch;
use super::state::Server;

/// Time between checks for refusals that have no log line of their own yet.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Server {
    /// Starts the background tasks once: storing acks, retrying writes while the database cannot
    /// be written, checking a damaged database, watching the secrets' files, and logging the numbers of refusals. They end on shutdown.
    pub(super) fn start_background_tasks(self: &Arc<Self>) {
        self.background_tasks_started.call_once(|| {
            self.tasks
                .spawn(Arc::clone(&self.hub).write_acks(self.shutdown.clone()));
            self.tasks
                .spawn(Arc::clone(&self.hub).probe_writing(self.shutdown.clone()));
            self.tasks
                .spawn(Arc::clone(&self.hub).check_damage(self.shutdown.clone()));
            self.tasks
                .spawn(credential_watch::watch(Arc::downgrade(self), self.shutdown.clone()));
            self.tasks
                .spawn(log_refusals(Arc::downgrade(self), self.shutdown.clone()));
        });
    }
}

/// Logs the numbers of refusals that have no log line of their own, every 10 s and on shutdown.
async fn log_refusals(server: Weak<Server>, shutdown: CancellationToken) {
    let pause = || tokio::time::sleep(REFUSAL_LOG_INTERVAL);
    while shutdown.run_until_cancelled(pause()).await.is_some() {
        // Between checks this task keeps no reference, so that the server can be dropped.
        let Some(server) = server.upgrade() else {
            return;
        };
        server.refusal_log.log_ended_windows();
    }
    if let Some(server) = server.upgrade() {
        server.refusal_log.log_all_windows();
    }
}

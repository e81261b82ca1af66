//! The tasks that a server runs in addition to its connections.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::credential_watch;
use super::state::Server;
use super::waking;
use crate::hub::Hub;
use crate::integrations::hook_spool;
use crate::store::Spool;

/// Time between checks for spooled events of hooks.
const SPOOL_INTERVAL: Duration = Duration::from_secs(1);
/// Time between checks for refusals that have no log line of their own yet.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Server {
    /// Starts the background tasks once: storing acks, retrying writes while the database cannot
    /// be written, checking a damaged database, taking in
    /// what hooks have spooled, watching the secrets' files, logging the numbers of refusals, and waking sessions. They end
    /// on shutdown.
    pub(super) fn start_background_tasks(self: &Arc<Self>) {
        self.background_tasks_started.call_once(|| {
            self.tasks
                .spawn(Arc::clone(&self.hub).write_acks(self.shutdown.clone()));
            self.tasks
                .spawn(Arc::clone(&self.hub).probe_writing(self.shutdown.clone()));
            self.tasks
                .spawn(Arc::clone(&self.hub).check_damage(self.shutdown.clone()));
            self.tasks
                .spawn(take_in_spool(Arc::clone(&self.hub), self.shutdown.clone()));
            self.tasks
                .spawn(credential_watch::watch(Arc::downgrade(self), self.shutdown.clone()));
            self.tasks
                .spawn(waking::run(Arc::clone(&self.hub), self.shutdown.clone()));
            self.tasks
                .spawn(log_refusals(Arc::downgrade(self), self.shutdown.clone()));
        });
    }
}

/// Takes in the events that hooks have spooled because another process kept the lock.
async fn take_in_spool(hub: Arc<Hub>, shutdown: CancellationToken) {
    let pause = || tokio::time::sleep(SPOOL_INTERVAL);
    while shutdown.run_until_cancelled(pause()).await.is_some() {
        let spool = Spool::of(hub.store().path());
        let status = tokio::task::spawn_blocking(move || spool.status()).await;
        if !matches!(status, Ok(Ok(status)) if status.waiting > 0) {
            continue;
        }
        // `write` reports a failure, and the next round tries again.
        if let Ok(taken) = hub.write(hook_spool::take_in).await {
            if taken.count > 0 {
                tracing::info!("took in {} spooled events of hooks", taken.count);
            }
            let _ = tokio::task::spawn_blocking(move || taken.delete()).await;
        }
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

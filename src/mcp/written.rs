//! Work that is done once the client has a call's result: marking mail as seen.
//!
//! The result of a call is first written to the client, then the mail in it is marked. A client that ends
//! before that, so that the result cannot be written, gets the mail again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::RwLock;

use crate::error::Result;

type Job = Box<dyn FnOnce() -> Result<()> + Send>;

/// The jobs of calls whose result is not written yet.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<HashMap<RequestId, Job>>>);

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs")
    }
}

impl Jobs {
    fn take(&self, id: &RequestId) -> Option<Job> {
        self.lock().remove(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, Job>> {
        // After a panic the map is usable: it is changed by single calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of one call, which is not written yet.
pub(super) struct PendingResult {
    id: RequestId,
    jobs: Jobs,
}

impl PendingResult {
    /// Returns the result of the call `id`.
    pub(super) fn new(id: RequestId, jobs: Jobs) -> Self {
        Self { id, jobs }
    }

    /// Runs `job` on a blocking thread after the result is written to the client. If it cannot be
    /// written, `job` does not run. An error of `job` is logged.
    pub(super) fn when_written(self, job: impl FnOnce() -> Result<()> + Send + 'static) {
        self.jobs.lock().insert(self.id, Box::new(job));
    }
}

/// A transport that runs the jobs of the results it has written. A message that arrives while a job runs is
/// handled after it.
pub(super) struct RunsJobs<T> {
    transport: T,
    jobs: Jobs,
    /// Read-locked by each job that runs or whose result is being written.
    running: Arc<RwLock<()>>,
    /// A message that waits for jobs: a call of `receive` may be cancelled.
    received: Option<RxJsonRpcMessage<RoleServer>>,
}

impl<T> RunsJobs<T> {
    pub(super) fn new(transport: T, jobs: Jobs) -> Self {
        Self {
            transport,
            jobs,
            running: Arc::default(),
            received: None,
        }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for RunsJobs<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let job = match &item {
            JsonRpcMessage::Response(response) => self.jobs.take(&response.id),
            _ => None,
        };
        let written = self.transport.send(item);
        let running = Arc::clone(&self.running);
        async move {
            let Some(job) = job else { return written.await };
            // Taken before the client can read the result and send its next message.
            let _running = running.read().await;
            if let Err(error) = written.await {
                tracing::warn!("a result could not be written to the client: {error}; its mail will be listed again");
                return Err(error);
            }
            match tokio::task::spawn_blocking(job).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("mail is not marked as seen and will be listed again: {error}"),
                Err(error) => tracing::error!("marking mail as seen failed: {error}"),
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        if self.received.is_none() {
            self.received = self.transport.receive().await;
        }
        drop(self.running.write().await);
        self.received.take()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.transport.close()
    }
}

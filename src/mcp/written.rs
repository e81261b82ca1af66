//! Work that is done once the client has a call's result: marking mail as seen.
//!
//! The result of a call is first written to the client, then the mail in it is marked. A client that ends
//! before that, so that the result cannot be written, gets the mail again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::RwLock;

use crate::error::Result;

/// Maximum time that a message waits for the jobs of the results before it. A client that does not read a result
/// before it has written its next message must not wait forever.
const MAX_JOB_WAIT: Duration = Duration::from_secs(5);

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

/// A transport that runs the jobs of the results it has written. A message that arrives after a result is handled
/// after its job: the client may have the result before this process notices that it is written.
pub(super) struct RunsJobs<T> {
    transport: T,
    jobs: Jobs,
    /// Read-locked from before a result with a job is written until the job has run.
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
        drop(tokio::time::timeout(MAX_JOB_WAIT, self.running.write()).await);
        self.received.take()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.transport.close()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;
    use tokio::sync::Notify;

    use super::{
        Arc, Jobs, PendingResult, RequestId, RoleServer, RunsJobs, RxJsonRpcMessage, Transport, TxJsonRpcMessage,
    };

    /// A transport whose client has a result before `send` has ended, and sends its next message at once.
    #[derive(Default)]
    struct FastClient {
        has_result: Arc<Notify>,
        send_may_end: Arc<Notify>,
    }

    impl Transport<RoleServer> for FastClient {
        type Error = Infallible;

        fn send(
            &mut self,
            _: TxJsonRpcMessage<RoleServer>,
        ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
            let (has_result, may_end) = (Arc::clone(&self.has_result), Arc::clone(&self.send_may_end));
            async move {
                has_result.notify_one();
                may_end.notified().await;
                Ok(())
            }
        }

        async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
            serde_json::from_value(json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).ok()
        }

        async fn close(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    #[test]
    fn message_after_a_result_is_handled_after_its_job() {
        let client = FastClient::default();
        let (has_result, may_end) = (Arc::clone(&client.has_result), Arc::clone(&client.send_may_end));
        let jobs = Jobs::default();
        let mut transport = RunsJobs::new(client, jobs.clone());
        let has_run = Arc::new(AtomicBool::new(false));
        let job_ran = Arc::clone(&has_run);
        PendingResult::new(RequestId::Number(1), jobs).when_written(move || {
            job_ran.store(true, Ordering::SeqCst);
            Ok(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = serde_json::from_value(json!({"jsonrpc": "2.0", "id": 1, "result": {}})).unwrap();
            let mut sending = tokio::task::JoinSet::new();
            sending.spawn(transport.send(response));
            has_result.notified().await;
            let mut receiving = pin!(transport.receive());
            tokio::select! {
                biased;
                message = &mut receiving => panic!("handled before the job has run: {message:?}"),
                () = std::future::ready(()) => may_end.notify_one(),
            }
            assert!(receiving.await.is_some());
            assert!(has_run.load(Ordering::SeqCst));
            assert!(sending.join_next().await.unwrap().unwrap().is_ok());
        });
    }
}

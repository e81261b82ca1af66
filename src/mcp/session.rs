//! The database as tool calls use it: one connection for all calls of the process, reopened when the
//! file at its path is replaced, and one [`AgentSession`] per call with the caller's name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Code, Error, Result};
use crate::integrations::hook_spool;
use crate::protocol::now_ms;
use crate::store::{AgentState, NetworkFs, ReadContext, Reader, Writer, with_busy_timeout};
use crate::watcher;

/// The `via` of receipts that tool calls write.
const VIA: &str = "mcp";
/// Maximum time to wait for the database's lock to write an agent's own row, which the call itself does
/// not need.
pub(super) const ANNOUNCE_TIMEOUT: Duration = Duration::from_millis(200);

/// The database, shared by all calls.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    network_fs: NetworkFs,
    /// The values written to each agent's own row: working directory and process.
    state: AgentState,
    /// Opened by the first call that needs it. The server must not fail to start because the database
    /// is locked at that moment: clients do not start it again.
    connection: Mutex<Option<Connection>>,
}

#[derive(Debug)]
struct Connection {
    writer: Writer,
    /// Agents whose own row was written through this connection.
    announced: HashSet<String>,
}

impl Database {
    pub(super) fn new(path: PathBuf, network_fs: NetworkFs, state: AgentState) -> Self {
        Self {
            path,
            network_fs,
            state,
            connection: Mutex::new(None),
        }
    }

    /// Opens the database, unless it is open. Blocks.
    pub(super) fn open(&self) -> Result<()> {
        self.with_connection(|_| Ok(()))
    }

    /// Runs `f` on a separate read connection, so that it does not wait for other calls. Blocks.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        f(&Reader::open(&self.path, self.network_fs)?)
    }

    /// Runs `f` with the connection, which is opened first if there is none or if the file at its path
    /// was replaced.
    fn with_connection<T>(&self, f: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        // After a panic the connection is usable: every write is a transaction.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match connection.take() {
            Some(current) if current.writer.is_at_its_path() => connection.insert(current),
            stale => {
                if let Some(stale) = stale {
                    stale.writer.abandon();
                }
                connection.insert(Connection::open(&self.path, self.network_fs)?)
            }
        };
        f(connection)
    }
}

impl Connection {
    fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        let writer = Writer::open(path, network_fs)?;
        hook_spool::take_in_first(&writer);
        Ok(Self {
            writer,
            announced: HashSet::new(),
        })
    }
}

/// The database for one call, with the name of the agent that makes the call.
#[derive(Debug, Clone)]
pub(super) struct AgentSession {
    database: Arc<Database>,
    agent: String,
    /// The task of the session that makes the call, if it is known.
    task: Option<String>,
}

impl AgentSession {
    pub(super) fn of(database: &Arc<Database>, agent: String) -> Self {
        Self {
            database: Arc::clone(database),
            agent,
            task: None,
        }
    }

    pub(super) fn in_task(self, task: Option<String>) -> Self {
        Self { task, ..self }
    }

    /// Returns the task to which the caller's status belongs: that of its session, or else one with its name.
    pub(super) fn task(&self) -> &str {
        self.task.as_deref().unwrap_or(&self.agent)
    }

    /// Returns the name of the calling agent.
    pub(super) fn agent(&self) -> &str {
        &self.agent
    }

    /// Returns the context of a read by the calling agent now.
    pub(super) fn read_context(&self) -> ReadContext<'_> {
        ReadContext {
            reader: &self.agent,
            via: VIA,
            now: now_ms(),
        }
    }

    /// Runs `f` with the connection. Blocks. Writes the agent's own row first, once per connection.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
        self.database.with_connection(|connection| {
            // Its row may have been pruned, or replaced with those of a backup.
            let is_known = connection.announced.contains(&self.agent)
                && matches!(connection.writer.agent_exists(&self.agent), Ok(true));
            if !is_known {
                let announced = with_busy_timeout(ANNOUNCE_TIMEOUT, || {
                    connection.writer.set_agent(&self.agent, &self.database.state)
                });
                // If the database is locked, the call itself reports it, and the next call tries again.
                if announced.is_ok() {
                    connection.announced.insert(self.agent.clone());
                }
            }
            f(&connection.writer)
        })
    }

    /// Runs `f` with the connection on a blocking thread.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Self, &Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let session = self.clone();
        blocking(move || session.with(|writer| f(&session, writer))).await
    }

    /// Runs `query` on a blocking thread after every commit until it returns a value; returns `None`
    /// after `timeout`. It uses its own read connection, so other calls do not wait.
    ///
    /// # Errors
    /// The errors of `query`; [`Code::Timeout`] as soon as one of `cancelled` is cancelled.
    pub(super) async fn wait_for<T: Send + 'static>(
        &self,
        timeout: Duration,
        cancelled: [CancellationToken; 2],
        mut query: impl FnMut(&Self, &Reader) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let session = self.clone();
        blocking(move || {
            session.with(|_| Ok(()))?;
            let reader = Reader::open(&session.database.path, session.database.network_fs)?;
            watcher::read_until(&reader, Some(timeout), || {
                if cancelled.iter().any(CancellationToken::is_cancelled) {
                    return Err(Error::new(Code::Timeout, "the call was cancelled"));
                }
                query(&session, &reader)
            })
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f)
        .await
        .unwrap_or_else(|e| Err(Error::new(Code::Internal, "a tool call failed").because(e)))
}

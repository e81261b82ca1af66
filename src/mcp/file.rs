//! The file as an MCP session holds it.
//!
//! For: one connection for all calls, which notices that the file is another one now; and
//! waiting for rows without holding it.
//! Not for: SQL (`store`).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::{AgentState, NetworkFs, ReadContext, Reader, Writer, with_busy_timeout};
use crate::watcher;

/// By which way receipts written here came.
const VIA: &str = "mcp";
/// How long what nobody waits for may wait for the file's lock.
pub(super) const GREETING: Duration = Duration::from_millis(200);

/// The file, for all calls.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    network_fs: NetworkFs,
    /// What an agent says about itself, once it can.
    state: AgentState,
    /// Opened by the first call that needs it: a client does not start a server again that
    /// ended because the file was locked just then.
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    writer: Writer,
    /// Those who have said here that they are there.
    announced: HashSet<String>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, network_fs: NetworkFs, state: AgentState) -> Self {
        Self {
            path,
            network_fs,
            state,
            opened: Mutex::new(None),
        }
    }

    /// Opens the file, unless it is open. Blocks.
    pub(super) fn open(&self) -> Result<()> {
        self.hold(|_| Ok(()))
    }

    fn hold<T>(&self, f: impl FnOnce(&mut Opened) -> Result<T>) -> Result<T> {
        // Nothing is left half-done by a panic: every write is a transaction.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match opened.take() {
            Some(same) if same.writer.is_at_its_path() => opened.insert(same),
            gone => {
                if let Some(gone) = gone {
                    gone.writer.abandon();
                }
                opened.insert(Opened::at(&self.path, self.network_fs)?)
            }
        };
        f(opened)
    }
}

/// The file, for one call: as the agent has it who makes the call.
#[derive(Debug, Clone)]
pub(super) struct File {
    shared: Arc<Shared>,
    me: String,
}

impl File {
    pub(super) fn of(shared: &Arc<Shared>, me: String) -> Self {
        Self {
            shared: Arc::clone(shared),
            me,
        }
    }

    /// Who speaks.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// The agent, reading now.
    pub(super) fn reading(&self) -> ReadContext<'_> {
        ReadContext {
            reader: &self.me,
            via: VIA,
            now: now_ms(),
        }
    }

    /// Runs `f` on the connection. Blocks.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
        self.shared.hold(|opened| {
            if !opened.announced.contains(&self.me) {
                // Whoever has the lock now keeps the call itself waiting, which says so.
                let told = with_busy_timeout(GREETING, || opened.writer.set_agent(&self.me, &self.shared.state));
                if told.is_ok() {
                    opened.announced.insert(self.me.clone());
                }
            }
            f(&opened.writer)
        })
    }

    /// Runs `f` on the connection, off the runtime's threads.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Self, &Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = self.clone();
        blocking(move || file.with(|writer| f(&file, writer))).await
    }

    /// Looks until there is something, at most for `patience`, off the runtime's threads.
    /// Ends as soon as one of `ends` says that nobody waits any more.
    pub(super) async fn look_until<T: Send + 'static>(
        &self,
        patience: Duration,
        ends: [CancellationToken; 2],
        mut look: impl FnMut(&Self, &Reader) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let file = self.clone();
        blocking(move || {
            file.with(|_| Ok(()))?;
            let reader = Reader::open(&file.shared.path, file.shared.network_fs)?;
            watcher::read_until(&reader, Some(patience), || {
                if ends.iter().any(CancellationToken::is_cancelled) {
                    return Err(Error::new(Code::Timeout, "nobody waits for this any more"));
                }
                look(&file, &reader)
            })
        })
        .await
    }
}

impl Opened {
    fn at(path: &std::path::Path, network_fs: NetworkFs) -> Result<Self> {
        let writer = Writer::open(path, network_fs)?;
        Ok(Self {
            writer,
            announced: HashSet::new(),
        })
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f)
        .await
        .unwrap_or_else(|e| Err(Error::new(Code::Internal, "a call broke off").because(e)))
}

//! The file as an MCP session holds it.
//!
//! For: one connection for all calls, which notices that the file is another one now; and
//! waiting for rows without holding it.
//! Not for: SQL (`store`).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Code, Error, Result};
use crate::event::now_ms;
use crate::store::{AgentState, Identity, NetworkFs, Reader, Reading, Writer, with_patience};
use crate::watch;

/// By which way receipts written here came.
const VIA: &str = "mcp";
/// How long what nobody waits for may wait for the file's lock.
pub(super) const GREETING: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    network_fs: NetworkFs,
    me: String,
    /// What the agent says about itself, once it can.
    state: AgentState,
    /// Opened by the first call that needs it: a client does not start a server again that
    /// ended because the file was locked just then.
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    identity: Option<Identity>,
    writer: Writer,
    is_announced: bool,
}

impl File {
    pub(super) fn new(path: PathBuf, network_fs: NetworkFs, me: String, state: AgentState) -> Self {
        Self {
            path,
            network_fs,
            me,
            state,
            opened: Mutex::new(None),
        }
    }

    /// Who speaks.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// The agent, reading now.
    pub(super) fn reading(&self) -> Reading<'_> {
        Reading {
            reader: &self.me,
            via: VIA,
            now: now_ms(),
        }
    }

    /// Runs `f` on the connection. Blocks.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
        // Nothing is left half-done by a panic: every write is a transaction.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match opened.take() {
            Some(same) if same.identity == Identity::of(&self.path) => opened.insert(same),
            // What is written to a file that was moved away is lost.
            _ => opened.insert(Opened::at(&self.path, self.network_fs)?),
        };
        if !opened.is_announced {
            // Whoever has the lock now keeps the call itself waiting, which says so.
            let told = with_patience(GREETING, || opened.writer.set_agent(&self.me, &self.state));
            opened.is_announced = told.is_ok();
        }
        f(&opened.writer)
    }

    /// Runs `f` on the connection, off the runtime's threads.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Self, &Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(self);
        blocking(move || file.with(|writer| f(&file, writer))).await
    }

    /// Looks until there is something, at most for `patience`, off the runtime's threads.
    /// Ends as soon as one of `ends` says that nobody waits any more.
    pub(super) async fn look_until<T: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        ends: [CancellationToken; 2],
        mut look: impl FnMut(&Self, &Reader) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let file = Arc::clone(self);
        blocking(move || {
            file.with(|_| Ok(()))?;
            let reader = Reader::open(&file.path, file.network_fs)?;
            watch::look_until(&reader, Some(patience), || {
                if ends.iter().any(CancellationToken::is_cancelled) {
                    return Err(Error::new(Code::WaitedInVain, "nobody waits for this any more"));
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
            identity: Identity::of(path),
            writer,
            is_announced: false,
        })
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f)
        .await
        .unwrap_or_else(|e| Err(Error::new(Code::Internal, "a call broke off").because(e)))
}

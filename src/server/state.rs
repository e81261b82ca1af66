//! The state that all requests and connections of one server share.
//!
//! This file uses no file that uses the state. The other methods of [`Server`] are in the files of
//! their subjects: `mod.rs` runs the server, `library_api.rs` writes rows.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::allowed_origin::AllowedOrigin;
use super::auth::AuthMode;
use super::credentials::Credentials;
use super::labeled_counter::LabeledCounter;
use super::refusal_log::RefusalLog;
use super::repositories::Repositories;
use super::response_budget::ResponseBudget;
use crate::config::Limits;
use crate::error::Result;
use crate::fs::private_file::Owner;
use crate::hub::{ChangeReaderHandle, Hub};
use crate::protocol::now_ms;
use crate::render;
use crate::store::{PageSessions, Record, Secret, SecretFile, Store};
use crate::watcher::WatchMode;

/// Maximum number of requests that render texts at the same time.
const MAX_RENDERING: usize = 2;

/// Options of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The protocol's constants.
    pub limits: Limits,
    /// How commits are detected.
    pub watch: WatchMode,
    /// Hosts that requests may name in addition to this machine's own names: `host` or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may send requests with the token, in addition to the hub's own page.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Directory whose files replace the dashboard's files compiled into the binary.
    pub assets: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            watch: WatchMode::Auto,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            assets: None,
        }
    }
}

/// The hub and its HTTP and WebSocket connections (AILANG's `Server`).
#[derive(Debug)]
pub struct Server {
    pub(super) hub: Arc<Hub>,
    change_reader: Mutex<Option<ChangeReaderHandle>>,
    pub(super) settings: Settings,
    pub(super) credentials: Credentials,
    /// The token in the database's token file, if the server was started with that token.
    pub(super) file_token: Option<Secret>,
    /// Open WebSocket connections.
    pub(super) websocket_count: AtomicUsize,
    /// Refused requests and connections, by reason.
    pub(super) refused: LabeledCounter,
    pub(super) refusal_log: RefusalLog,
    /// Ended WebSocket connections, by close code.
    pub(super) disconnects: LabeledCounter,
    pub(super) response_budget: ResponseBudget,
    /// The Git repositories of agents' working directories.
    pub(super) repositories: Repositories,
    /// Texts rendered last.
    pub(super) rendered: render::Cache,
    /// Places of requests that render at the same time.
    pub(super) rendering: Arc<Semaphore>,
    /// The connection limit is reached.
    pub(super) at_connection_limit: AtomicBool,
    pub(super) started_at: Instant,
    /// The record of this run, by which other processes find and check the hub.
    record: Mutex<Option<Record>>,
    /// The listener can be reached at 127.0.0.1: the dashboard redirects to that one origin.
    pub(super) reachable_at_loopback: AtomicBool,
    pub(super) background_tasks_started: Once,
    /// Cancelled when the server shuts down.
    pub(super) shutdown: CancellationToken,
    /// All tasks of this server; `run` waits for them on shutdown.
    pub(super) tasks: TaskTracker,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that never ran, or whose `run` was dropped, must stop its threads too.
        self.shutdown.cancel();
        if let Some(change_reader) = self.take_change_reader() {
            change_reader.stop();
        }
    }
}

impl Server {
    /// Returns a server for `store` that requires the token of the database's token file
    /// (AILANG's `NewServer`).
    ///
    /// # Errors
    /// A `Store…` code if the database or its token cannot be read, or the database cannot be watched.
    pub fn new(store: Store) -> Result<Arc<Self>> {
        let token = SecretFile::Token.load_or_create(store.path())?;
        Self::with(store, Settings::default(), AuthMode::Token(token))
    }

    /// As [`Server::new`], with the given settings and authentication mode.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn with(store: Store, settings: Settings, auth_mode: AuthMode) -> Result<Arc<Self>> {
        let db = store.path();
        let person = SecretFile::Person.load_or_create(db)?;
        let sessions = PageSessions::load(db, now_ms())?.sessions;
        let file_token = SecretFile::Token
            .load(db)?
            .filter(|token| matches!(&auth_mode, AuthMode::Token(given) if given == token));
        let repositories = Repositories::new(Owner::of(db));
        let (hub, change_reader) = Hub::start(store, settings.limits.clone(), settings.watch)?;
        Ok(Arc::new(Self {
            hub,
            change_reader: Mutex::new(Some(change_reader)),
            settings,
            credentials: Credentials::new(auth_mode, person, sessions),
            file_token,
            websocket_count: AtomicUsize::new(0),
            refused: LabeledCounter::default(),
            refusal_log: RefusalLog::default(),
            disconnects: LabeledCounter::default(),
            response_budget: ResponseBudget::default(),
            repositories,
            rendered: render::Cache::default(),
            rendering: Arc::new(Semaphore::new(MAX_RENDERING)),
            at_connection_limit: AtomicBool::new(false),
            started_at: Instant::now(),
            record: Mutex::default(),
            reachable_at_loopback: AtomicBool::new(false),
            background_tasks_started: Once::new(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Replaces the required token (AILANG's `SetToken`). Open connections stay open.
    pub fn set_token(&self, token: &str) {
        self.credentials.set_token(Secret::new(token));
    }

    /// Returns the number of open WebSocket connections (AILANG's `GetConnectionCount`).
    pub fn connection_count(&self) -> usize {
        self.websocket_count.load(Ordering::Relaxed)
    }

    /// Returns the hub that this server serves.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Sets the record of this run, with whose key the hub proves itself to commands.
    pub fn set_record(&self, record: &Record) {
        *lock(&self.record) = Some(record.clone());
    }

    pub(super) fn record(&self) -> Option<Record> {
        lock(&self.record).clone()
    }

    /// Returns the id of this run; empty for a server without a record.
    pub(super) fn run_id(&self) -> String {
        self.record().map(|record| record.run).unwrap_or_default()
    }

    /// Takes the handle of the thread that reads the change log, to stop it.
    pub(super) fn take_change_reader(&self) -> Option<ChangeReaderHandle> {
        lock(&self.change_reader).take()
    }

    /// Counts a refused request or connection, and logs it unless one with the same reason was logged
    /// recently. `subject` must not contain a secret: a path is passed without its query.
    pub(super) fn record_refusal(&self, reason: &str, subject: impl Display, why: impl Display) {
        self.refused.increment(reason);
        self.refusal_log.record(reason, subject, why);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

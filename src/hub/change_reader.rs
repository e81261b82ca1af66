//! The change reader: the one thread that reads the change log and fills the recent changes.
//!
//! It reads when [`Watch`] wakes it, in pages, and detects that the database at the path was
//! replaced, overwritten, or cannot be read. Clients are woken by the hub's signal and fetch the
//! changes they need themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::health::Operation;
use super::state::Hub;
use crate::config::Limits;
use crate::error::{Code, Error, Result};
use crate::store::{FileIdentity, Position, Reader, Store, Table, WalState, set_aside_wal};
use crate::watcher::{Wake, WakeHandle, Watch, WatchMode};

/// Maximum number of changes read before waiting clients are woken.
const PAGE_ROWS: usize = 256;
/// Maximum number of bytes of rows read before waiting clients are woken.
const PAGE_BYTES: usize = 1 << 20;
/// Minimum time between two checks which file is at the path. They run after a wake.
const IDENTITY_INTERVAL: Duration = Duration::from_millis(250);
/// Time during which there may be no file at the path before a new one is created: another
/// process may be moving a file there.
const MISSING_WAIT: Duration = Duration::from_secs(2);

/// Stops the change reader of a hub.
#[derive(Debug)]
pub struct ChangeReaderHandle {
    thread: JoinHandle<()>,
    wake_handle: WakeHandle,
}

impl ChangeReaderHandle {
    /// Ends the thread and waits for it.
    pub fn stop(self) {
        self.wake_handle.stop();
        // A panic of the thread was reported when it happened.
        drop(self.thread.join());
    }
}

impl Hub {
    /// Starts a hub for the database of `store`, and its change reader thread.
    ///
    /// # Errors
    /// A `Store…` code if the database cannot be read or watched.
    pub fn start(store: Store, limits: Limits, mode: WatchMode) -> Result<(Arc<Self>, ChangeReaderHandle)> {
        let listeners = Arc::new(AtomicUsize::new(0));
        let reader = store.reader()?;
        // Watching begins before the first read: no commit is missed in between.
        let (watch, wake_handle) = Watch::start(store.path(), mode, limits.poll_interval, Arc::clone(&listeners))?;
        let (head, epoch) = (reader.head()?, reader.epoch()?);
        let hub = Arc::new(Self::new(store, limits, (head, epoch), wake_handle.clone(), listeners));
        hub.observe_damage();
        let change_reader = ChangeReader::new(Arc::clone(&hub), reader, watch, head);
        let thread = std::thread::Builder::new()
            .name("agenthub-reader".into())
            .spawn({
                let report = PanicReport(Arc::clone(&hub));
                move || {
                    change_reader.run();
                    drop(report);
                }
            })
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the change reader thread: {e}")))?;
        Ok((hub, ChangeReaderHandle { thread, wake_handle }))
    }
}

/// Marks the hub as failed if the change reader panics: a hub that shows no new rows must not
/// report itself ready.
struct PanicReport(Arc<Hub>);

impl Drop for PanicReport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the thread that reads changes has panicked; restart the hub, and report this bug";
            self.0.fail(Operation::Read, &Error::new(Code::Internal, message));
        }
    }
}

/// The state of the change reader's thread.
struct ChangeReader {
    hub: Arc<Hub>,
    path: PathBuf,
    /// `None` after the database was closed and could not be opened again.
    reader: Option<Reader>,
    watch: Watch,
    cursor: Position,
    /// The last `data_version`.
    version: i64,
    identity: Option<FileIdentity>,
    next_identity_check: Instant,
    missing_since: Option<Instant>,
    /// Whether the last check of the content failed.
    broken: bool,
    /// Whether the write-ahead log was missing at the last check.
    wal_missing: bool,
    log_check: LogCheck,
}

/// The state of the check whether rows are in the change log.
struct LogCheck {
    /// Minimum time between two checks.
    interval: Duration,
    next: Instant,
    /// The `data_version` at the last check.
    version: Option<i64>,
    /// The rows found that are not in the log.
    unlogged: Vec<(Table, i64)>,
    /// The newest row of each table that is in the log.
    checked: [i64; Table::COUNT],
}

impl LogCheck {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: Instant::now(),
            version: None,
            unlogged: Vec::new(),
            checked: [0; Table::COUNT],
        }
    }
}

impl ChangeReader {
    fn new(hub: Arc<Hub>, reader: Reader, watch: Watch, cursor: Position) -> Self {
        let path = reader.path().to_owned();
        let identity = identity_of(&reader);
        hub.wake_stats.set_method(watch.using());
        let log_check = LogCheck::new(hub.limits().poll_interval);
        Self {
            hub,
            path,
            reader: Some(reader),
            watch,
            cursor,
            version: 0,
            identity,
            next_identity_check: Instant::now(),
            missing_since: None,
            broken: false,
            wal_missing: false,
            log_check,
        }
    }

    /// Reads changes until the thread is stopped.
    fn run(mut self) {
        loop {
            let (reader, version) = (&self.reader, &mut self.version);
            let wake = self.watch.wait(|| {
                let now = reader.as_ref().and_then(|reader| reader.data_version().ok());
                now.is_none_or(|now| std::mem::replace(version, now) != now)
            });
            if wake == Wake::Stop {
                return;
            }
            let attempt = self.hub.begin();
            let outcome = self.check_identity().and_then(|()| self.read_page());
            let found = *outcome.as_ref().unwrap_or(&0);
            self.hub.wake_stats.count(wake, found);
            self.watch.learn(wake, found > 0);
            self.hub.wake_stats.set_method(self.watch.using());
            match outcome {
                Ok(_) => {
                    self.hub.read_succeeded(attempt);
                    self.check_log();
                }
                Err(error) if error.code() == Code::PositionLost => self.start_over("its change log was replaced"),
                Err(error) => self.hub.fail(Operation::Read, &error),
            }
        }
    }

    /// Reads and publishes one page of new changes. Returns their number.
    fn read_page(&mut self) -> Result<usize> {
        let (reader, epoch) = (self.reader()?, self.hub.head().0);
        let page = match reader.log_after(&epoch, self.cursor, PAGE_ROWS, PAGE_BYTES) {
            Err(error) if matches!(error.code(), Code::StoreCorrupt | Code::StoreForeign) => {
                reader.drop_cached_pages();
                // The file was a database when it was opened.
                let is_database = error.code() == Code::StoreCorrupt;
                return Err(if is_database {
                    error
                } else {
                    damaged(&self.path, "overwritten")
                });
            }
            page => page?,
        };
        let found = page.changes.len();
        if let Some(last) = page.changes.last() {
            self.cursor = last.pos;
            self.hub.publish(page.changes);
        }
        if page.has_more {
            // The next page is read in the next iteration, so that a stop or a replaced database is
            // detected even while writers are faster than this thread.
            self.watch.more();
        }
        Ok(found)
    }

    /// Compares the newest row of each table with the change log, at most once per interval and only if the
    /// database was written.
    fn check_log(&mut self) {
        let now = Instant::now();
        if now < self.log_check.next {
            return;
        }
        self.log_check.next = now + self.log_check.interval;
        let Self {
            reader: Some(reader),
            log_check,
            ..
        } = self
        else {
            return;
        };
        let Ok(version) = reader.data_version() else { return };
        if log_check.version == Some(version) {
            return;
        }
        // A failure to read is reported by the next read of the log.
        let found = reader.newest_unlogged(self.cursor, &log_check.unlogged, &mut log_check.checked);
        if let Ok(Some(unlogged)) = found {
            log_check.version = Some(version);
            self.hub.unlogged_rows.set(&unlogged);
            log_check.unlogged = unlogged;
        }
    }

    /// Detects that the path leads to another file or to other content, and switches to it.
    fn check_identity(&mut self) -> Result<()> {
        let now = Instant::now();
        // While the path has no file, every wake checks it: the open file can still be read.
        if now < self.next_identity_check && self.missing_since.is_none() {
            return Ok(());
        }
        self.next_identity_check = now + IDENTITY_INTERVAL;
        let found = FileIdentity::of(&self.path);
        let known = self.identity;
        if let Some((found, known)) = found.zip(known)
            && found.identity == known.identity
        {
            self.missing_since = None;
            if found.is_empty() {
                self.broken = true;
                return Err(damaged(&self.path, "emptied"));
            }
            match found.wal_since(&known) {
                WalState::Same => self.wal_missing = false,
                // Another process may be moving the log together with the database: check once more.
                WalState::Missing if !std::mem::replace(&mut self.wal_missing, true) => return Ok(()),
                WalState::Missing | WalState::Other => return self.leave_dead_wal(),
            }
            if self.broken || found.is_rewritten_since(&known) {
                self.confirm_content()?;
            }
            self.identity = Some(found);
            return Ok(());
        }
        if found.is_none() && now.duration_since(*self.missing_since.get_or_insert(now)) < MISSING_WAIT {
            return Err(Error::new(
                Code::StoreReplaced,
                format!(
                    "{} is gone; put it back, or a new database is created in {} s",
                    self.path.display(),
                    MISSING_WAIT.as_secs()
                ),
            ));
        }
        if let Some(found) = found {
            // The -wal and -shm at the path belong to the new file from now on. A connection to the
            // old file would write into them, and crash when the new one truncates the -shm.
            self.close_all()?;
            if known.is_some_and(|known| found.has_wal_of(&known)) {
                set_aside_wal(&self.path);
            }
        }
        self.reopen()?;
        self.start_over("the file was replaced");
        Ok(())
    }

    /// Checks that the database still contains the last position read. This runs after every
    /// checkpoint, and after a file was overwritten or truncated by other means than SQLite, which a
    /// connection with cached pages would not detect.
    fn confirm_content(&mut self) -> Result<()> {
        let epoch = self.hub.head().0;
        let confirmed = if self.broken {
            // A connection of this thread may stay broken although the database works again.
            self.hub.store().reader()?.confirms(&epoch, self.cursor)
        } else {
            self.reader()?.confirms(&epoch, self.cursor)
        };
        match confirmed {
            Ok(true) if !self.broken => Ok(()),
            Ok(same) => {
                self.reopen()?;
                if !same {
                    self.start_over("its content was replaced");
                }
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Closes the connections to a write-ahead log that was removed or replaced. They are closed
    /// without a checkpoint: rows that are only in the old log are lost with it, and moving them into
    /// the database now would undo a restore.
    fn leave_dead_wal(&mut self) -> Result<()> {
        self.close_all()?;
        self.reopen()?;
        self.start_over("its write-ahead log was removed by other means than SQLite");
        Ok(())
    }

    /// Closes all connections without a checkpoint.
    fn close_all(&mut self) -> Result<()> {
        self.reader = None;
        if self.hub.store().abandon() {
            return Ok(());
        }
        Err(Error::new(
            Code::StoreReplaced,
            format!(
                "{} was replaced, and a read of the previous file is still in progress; retrying when it ends",
                self.path.display()
            ),
        ))
    }

    fn reader(&self) -> Result<&Reader> {
        self.reader.as_ref().ok_or_else(|| {
            Error::new(
                Code::StoreUnavailable,
                format!("{} could not be opened again; retrying", self.path.display()),
            )
        })
    }

    /// Closes all connections and opens the file at the path.
    fn reopen(&mut self) -> Result<()> {
        self.hub.store().reopen()?;
        let reader = self.hub.store().reader()?;
        self.identity = identity_of(&reader);
        self.reader = Some(reader);
        self.watch.renew(&self.path);
        (self.missing_since, self.broken, self.wal_missing) = (None, false, false);
        self.hub.reopened();
        Ok(())
    }

    /// Continues at the end of the current change log; the positions of all clients are lost.
    fn start_over(&mut self, why: &str) {
        let found = self.reader().and_then(|reader| Ok((reader.head()?, reader.epoch()?)));
        match found {
            Ok((head, epoch)) => {
                tracing::warn!("{}: {why}; clients have to start over", self.path.display());
                self.cursor = head;
                self.log_check = LogCheck::new(self.log_check.interval);
                self.hub.replaced(head, &epoch);
            }
            Err(error) => self.hub.fail(Operation::Read, &error),
        }
    }
}

/// Returns the identity of the file `reader` has open; `None` if another file is at its path meanwhile:
/// the next check then switches to that file.
fn identity_of(reader: &Reader) -> Option<FileIdentity> {
    FileIdentity::of(reader.path()).filter(|found| Some(found.identity) == reader.identity())
}

/// Returns the error for a database that was emptied or overwritten. The schema cannot be created again in
/// a file that other processes have open.
fn damaged(path: &Path, how: &str) -> Error {
    Error::new(
        Code::StoreCorrupt,
        format!(
            "{} was {how} by other means than SQLite; copy a backup there, or stop the agents and remove it",
            path.display()
        ),
    )
}

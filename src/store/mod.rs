//! The database: opens it, reads it and writes it. No other module contains SQL.
//!
//! A [`Reader`] is a read-only connection. A [`Writer`] is a connection that reads and writes. A
//! [`Store`] is the database as a running hub holds it: a writer thread, a maintenance thread, and a
//! pool of readers; or the readers alone, for a process that only follows the database. There is one file per table or subject.
//!
//! Every call blocks. Callers on an async runtime must use its blocking threads.

mod agents;
mod busy_retry;
mod change_check;
mod changes;
mod connect;
mod connection;
mod costs;
mod damage;
mod disk_space;
mod excluded_directories;
mod file_identity;
mod hook_sessions;
mod hub_record;
mod inbox;
mod lock_holders;
mod lock_wait;
mod logged_table;
mod maintenance;
mod messages;
mod migration_backup;
mod online_copy;
mod page_sessions;
mod pagination;
mod position;
mod proof;
mod row_reader;
mod schema;
mod search;
mod secrets;
mod sender_field;
mod sessions;
mod spool;
mod subscriptions;
mod task_events;
mod telemetry;
#[cfg(test)]
mod test_support;
mod threads;
mod totals;
mod transcripts;
mod wake_rules;
mod wakes;
mod writer_thread;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Code, Error, Result};

pub use agents::{AgentRow, AgentState, Labels};
pub use busy_retry::with_busy_timeout;
pub use changes::{Change, LogPage, Op, Row};
pub use connection::{NetworkFs, Reader, Writer, set_aside_wal};
pub use costs::{Costs, CostsBy};
pub use disk_space::free_bytes;
pub use file_identity::{FileIdentity, Identity, WalState};
pub use hook_sessions::{ContinuationLimits, ContinuationRow, Continuations, TaskProgress};
pub use hub_record::{Record, ServeLock, hub_proof};
pub use inbox::addressing::{ALL_INBOXES, ReadContext};
pub use inbox::claims::{Claim, MAX_LEASE};
pub use inbox::deliveries::{MailToDeliver, Repeat};
pub use inbox::list::{InboxFilter, InboxOrder, InboxSummary};
pub use inbox::messages::{InboxMessageRow, NewInboxMessage, ShownQuestion, message_id};
pub use inbox::receipts::{Receipt, ReceiptRow, Trace};
pub use lock_holders::{Holder, LockKind, holders, processes_with_deleted_file};
pub use logged_table::Table;
pub use maintenance::backup::{BackupDone, Existing};
pub use maintenance::file_status::{Counts, FileStatus};
pub use maintenance::growth::Growth;
pub use maintenance::integrity::{FileMode, TimesInSeconds};
pub use maintenance::prune::{AGENTS_AGE, Pruned, Retention, Unread};
pub use maintenance::restore::{Restore, RestoreDone};
pub use maintenance::thread::{Blocker, MaintenanceFailure, MaintenanceStatus, SessionCheck};
pub use maintenance::unlogged_rows::{Repaired, UnloggedRows};
pub use messages::{MessageRow, NewMessage, Start, ThreadOpening, ThreadPage};
pub use page_sessions::{PageCode, PageSession, PageSessionSummary, PageSessions, write_redirect};
pub use pagination::Page;
pub use position::Position;
pub use proof::Author;
pub use row_reader::UnreadableRow;
pub use schema::{SCHEMA_SQL, SCHEMA_VERSION};
pub use search::SearchHit;
pub use secrets::{Secret, SecretFile, Stamp, random_hex};
pub use sessions::{SessionEvent, SessionRow, run_process_key, session_key};
pub use spool::{FailedCalls, Spool, SpoolStatus, TakenEntries};
pub use subscriptions::{Ack, SubscriberRow};
pub use task_events::{NewTaskEvent, TaskEventRow, TaskSummary, ToolCall};
pub use telemetry::{NewTelemetry, TelemetryRow};
pub use threads::{NewThread, ThreadRow};
pub use totals::{TaskTotals, Totals};
pub use transcripts::TranscriptRow;
pub use wake_rules::{WakeMode, WakeRules};
pub use wakes::{NewWake, WakeRow};

/// Returns the version of the SQLite library in this program.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Maximum time [`Store::abandon`] waits for reads in flight.
const ABANDON_WAIT: Duration = Duration::from_secs(1);
/// Maximum number of idle readers in the pool. More can be open at a time; they close after use.
const MAX_IDLE_READERS: usize = 4;

/// Start of SQLite's message for a table that does not exist.
const MISSING_TABLE: &str = "no such table: ";

/// The result of writing a row with an id chosen by the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<T> {
    /// The row is new.
    Created(T),
    /// The database already had a row with this id and the same content.
    Existed(T),
}

impl<T> Written<T> {
    /// Returns the row as it is in the database.
    pub fn into_row(self) -> T {
        match self {
            Self::Created(row) | Self::Existed(row) => row,
        }
    }
}

/// The database as a running hub holds it: a writer thread, a maintenance thread, and readers.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    network_fs: NetworkFs,
    /// Declared before the threads so that the readers close first: the last connection to close
    /// checkpoints the WAL, and a read-only connection cannot.
    readers: Mutex<ReaderPool>,
    /// Signalled when a read ends.
    read_ended: Condvar,
    threads: Option<Threads>,
    damage: Arc<damage::DamageObserver>,
    check: damage::RunningCheck,
}

/// The threads that write.
#[derive(Debug)]
struct Threads {
    maintenance: maintenance::thread::MaintenanceThread,
    writer: writer_thread::WriterThread,
}

/// Idle readers of the file that is open now.
#[derive(Debug, Default)]
struct ReaderPool {
    /// Counts how often the file was opened. A reader of an earlier generation is not reused.
    generation: u64,
    /// The file that is open.
    identity: Option<Identity>,
    idle: Vec<Reader>,
    /// Number of readers in use.
    in_use: usize,
}

impl Store {
    /// Opens the database at `path`. Creates it if it does not exist.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        let (writer, maintenance) = open_connections(path, network_fs)?;
        let (identity, damage) = (writer.identity(), Arc::<damage::DamageObserver>::default());
        let threads = Threads {
            writer: writer_thread::WriterThread::start(writer)?,
            maintenance: maintenance::thread::MaintenanceThread::start(maintenance, Arc::clone(&damage))?,
        };
        Ok(Self::new(path, network_fs, identity, Some(threads), damage))
    }

    /// Opens the database at `path` for a process that only reads it: without the threads that write and
    /// maintain it. Every write fails.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn follow(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        let identity = Reader::open(path, network_fs)?.identity();
        Ok(Self::new(path, network_fs, identity, None, Arc::default()))
    }

    fn new(
        path: &Path,
        network_fs: NetworkFs,
        identity: Option<Identity>,
        threads: Option<Threads>,
        damage: Arc<damage::DamageObserver>,
    ) -> Self {
        let pool = ReaderPool {
            identity,
            ..ReaderPool::default()
        };
        Self {
            path: path.to_owned(),
            network_fs,
            readers: Mutex::new(pool),
            read_ended: Condvar::new(),
            threads,
            damage,
            check: damage::RunningCheck::default(),
        }
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `observer` with each error of a read, a write or maintenance that shows damage of the
    /// database, on the thread that found it.
    pub fn on_damage(&self, observer: impl Fn(&Error) + Send + Sync + 'static) {
        self.damage.set(Box::new(observer));
    }

    /// Checks the structure of the database on a connection of its own, whose page cache is empty. Reads
    /// the whole database. Blocks.
    ///
    /// # Errors
    /// [`Code::StoreCorrupt`] if the database is damaged; [`Code::Internal`] after
    /// [`Store::interrupt_check`]; a `Store…` code.
    pub fn check_structure(&self) -> Result<()> {
        self.pool().in_use += 1;
        let _active = ActiveRead(self);
        let result = self.reader().and_then(|reader| self.check.run(&reader));
        self.damage.report(&result);
        result
    }

    /// Ends the check that runs, if any.
    pub fn interrupt_check(&self) {
        self.check.interrupt();
    }

    /// Opens a reader outside the pool. The caller can keep it.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn reader(&self) -> Result<Reader> {
        let identity = self.pool().identity;
        Reader::open_same(&self.path, self.network_fs, identity)
    }

    /// Runs `f` on a reader of the pool. Blocks.
    ///
    /// # Errors
    /// The error of `f`, or a `Store…` code if no reader can be opened.
    pub fn read<T>(&self, f: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        let (generation, idle) = {
            let mut pool = self.pool();
            pool.in_use += 1;
            (pool.generation, pool.idle.pop())
        };
        let _active = ActiveRead(self);
        let reader = idle.map_or_else(|| self.reader(), Ok);
        let result = reader.as_ref().map_err(Error::again).and_then(f);
        self.damage.report(&result);
        if let (Ok(reader), Err(error)) = (&reader, &result)
            && error.code() == Code::StoreCorrupt
        {
            reader.drop_cached_pages();
        }
        let mut pool = self.pool();
        if let Ok(reader) = reader
            && pool.generation == generation
            && pool.idle.len() < MAX_IDLE_READERS
        {
            pool.idle.push(reader);
        }
        result
    }

    /// Runs `f` on the writer thread, in one transaction with the other waiting jobs (group
    /// commit), and calls `done` with the result after the commit. Does not block.
    pub fn write_then<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let Some(threads) = &self.threads else {
            return done(Err(Error::new(
                Code::Internal,
                "cannot write: this process only reads the database",
            )));
        };
        let damage = Arc::clone(&self.damage);
        threads.writer.submit(f, move |result| {
            damage.report(&result);
            done(result);
        });
    }

    /// Runs `f` as [`Store::write_then`] does and waits for the result. Blocks.
    ///
    /// # Errors
    /// The error of `f`, or of the commit.
    pub fn write<T: Send + 'static>(&self, f: impl FnOnce(&Writer) -> Result<T> + Send + 'static) -> Result<T> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        // The receiver outlives the call below, so the send cannot fail.
        self.write_then(f, move |result| drop(tx.send(result)));
        rx.recv().unwrap_or_else(|_| {
            Err(Error::new(
                Code::Internal,
                "the writer thread has stopped; restart the hub",
            ))
        })
    }

    /// Deletes rows older than `age` milliseconds from now on, in the background: as `agenthub prune` does, once per
    /// hour.
    pub fn keep(&self, age: i64) {
        if let Some(threads) = &self.threads {
            threads.maintenance.keep(age);
        }
    }

    /// Runs `check` in the background every two seconds from now on: it records the ends of sessions that no hook
    /// reports.
    pub fn check_sessions(&self, check: SessionCheck) {
        if let Some(threads) = &self.threads {
            threads.maintenance.check_sessions(check);
        }
    }

    /// Returns the status of the maintenance thread.
    pub fn maintenance_status(&self) -> MaintenanceStatus {
        let threads = self.threads.as_ref();
        threads.map_or_else(MaintenanceStatus::default, |threads| threads.maintenance.status())
    }

    /// Returns the longest time in milliseconds that a transaction of the writer thread held the
    /// write lock.
    pub fn longest_write_ms(&self) -> u64 {
        self.threads
            .as_ref()
            .map_or(0, |threads| threads.writer.longest_hold_ms())
    }

    /// Closes the open file and opens the file that is at the path now. Creates it if there is
    /// none, unless this process only reads.
    ///
    /// # Errors
    /// One of the `Store…` codes. The old file then stays open.
    pub fn reopen(&self) -> Result<()> {
        let identity = match &self.threads {
            Some(threads) => {
                let (writer, maintenance) = open_connections(&self.path, self.network_fs)?;
                let identity = writer.identity();
                threads.writer.reopen(writer);
                threads.maintenance.reopen(maintenance);
                identity
            }
            None => Reader::open(&self.path, self.network_fs)?.identity(),
        };
        let mut pool = self.pool();
        pool.identity = identity;
        pool.generation += 1;
        pool.idle.clear();
        Ok(())
    }

    /// Closes all pooled and thread connections without a checkpoint, because the database or its
    /// WAL was replaced. Call [`Store::reopen`] next.
    ///
    /// All connections of a process to one path share one WAL index. While one of them has the old
    /// index, every new connection would use it, too; so the caller must first close the readers it
    /// holds itself. Returns `false` if a read is still in flight after `ABANDON_WAIT`: call it again
    /// in that case.
    #[must_use]
    pub fn abandon(&self) -> bool {
        if let Some(threads) = &self.threads {
            threads.writer.abandon();
            threads.maintenance.abandon();
        }
        self.interrupt_check();
        let mut pool = self.pool();
        pool.generation += 1;
        pool.idle.clear();
        let (pool, _) = self
            .read_ended
            .wait_timeout_while(pool, ABANDON_WAIT, |pool| pool.in_use > 0)
            .unwrap_or_else(PoisonError::into_inner);
        pool.in_use == 0
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, ReaderPool> {
        // Nothing panics while the lock is held, so a poisoned pool is still consistent.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read in flight. Ends when dropped, also by a panic.
struct ActiveRead<'a>(&'a Store);

impl Drop for ActiveRead<'_> {
    fn drop(&mut self) {
        self.0.pool().in_use -= 1;
        self.0.read_ended.notify_all();
    }
}

/// Opens the connections of the writer thread and of the maintenance thread to the same file.
fn open_connections(path: &Path, network_fs: NetworkFs) -> Result<(Writer, Writer)> {
    let writer = Writer::open(path, network_fs)?;
    let maintenance = Writer::open(path, network_fs)?;
    if writer.identity() == maintenance.identity() {
        return Ok((writer, maintenance));
    }
    writer.abandon();
    Err(Error::new(
        Code::StoreReplaced,
        format!("{} was replaced while it was being opened; try again", path.display()),
    ))
}

impl From<rusqlite::Error> for Error {
    /// Maps SQLite's result code to a [`Code`]. The message of a failed constraint is the text of
    /// the trigger that raised it.
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sql;
        let (Some(kind), detail) = (e.sqlite_error_code(), sqlite_message(&e)) else {
            return match e {
                rusqlite::Error::QueryReturnedNoRows => Error::new(Code::NotFound, "no such row"),
                e => Error::new(Code::Internal, format!("cannot read the database: {e}")).because(e),
            };
        };
        let (code, message) = match kind {
            Sql::DatabaseBusy | Sql::DatabaseLocked | Sql::FileLockingProtocolFailed => (
                Code::StoreLocked,
                format!("cannot lock the database: {detail}; {}", lock_wait::reason()),
            ),
            Sql::DiskFull => (Code::StoreFull, format!("cannot write: {detail}; free some disk space")),
            Sql::ReadOnly | Sql::PermissionDenied => (
                Code::StoreReadOnly,
                format!("cannot write: {detail}; give this user write permission for the file and its directory"),
            ),
            Sql::DatabaseCorrupt => (
                Code::StoreCorrupt,
                format!(
                    "the database is damaged: {detail}; restore a backup with agenthub restore (agenthub doctor checks a file)"
                ),
            ),
            Sql::NotADatabase => (
                Code::StoreForeign,
                "not a SQLite database; the file was left untouched, choose another path with --db".to_owned(),
            ),
            Sql::ConstraintViolation | Sql::TooBig | Sql::TypeMismatch => (Code::Invalid, detail),
            Sql::CannotOpen | Sql::SystemIoFailure => (
                Code::StoreUnavailable,
                format!("cannot access the database: {detail}; check that the file, its directory and the disk exist"),
            ),
            Sql::Unknown if detail.starts_with(MISSING_TABLE) => (
                Code::StoreCorrupt,
                format!(
                    "the database is damaged: {detail}; restore a backup with agenthub restore (agenthub doctor checks a file)"
                ),
            ),
            _ => (Code::Internal, format!("cannot use the database: {detail}")),
        };
        Error::new(code, message).because(e)
    }
}

/// Returns SQLite's message for the error.
fn sqlite_message(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        // Without the statement: the user does not know it.
        rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with(MISSING_TABLE) => msg.clone(),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first read of the new file would truncate the WAL index that the connections of the
    /// writer and the maintenance thread still have mapped.
    #[test]
    fn refuses_readers_of_a_replaced_file_until_reopened() {
        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["hub.db", "other.db"].map(|name| dir.path().join(name));
        let store = Store::open(&path, NetworkFs::Refuse).unwrap();
        drop(Writer::open(&other, NetworkFs::Refuse).unwrap());
        store.reader().unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(store.reader().unwrap_err().code(), Code::StoreReplaced);
        assert!(store.abandon());
        store.reopen().unwrap();
        store.reader().unwrap();
    }

    /// A hub continues to read when a newer program migrates its database.
    #[test]
    fn opens_further_readers_after_another_program_has_migrated_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let store = Store::open(&path, NetworkFs::Refuse).unwrap();
        let newer = SCHEMA_VERSION + 1;
        store
            .write(move |writer| Ok(writer.conn.pragma_update(None, "user_version", newer)?))
            .unwrap();
        assert_eq!(store.read(Reader::counts).unwrap(), Counts::default());
        let refused = Reader::open(&path, NetworkFs::Refuse).unwrap_err();
        assert!(
            refused.message().contains("install a newer agenthub"),
            "{}",
            refused.message()
        );
    }
}

//! The file: the only place that knows SQL.
//!
//! For: opening the database, and everything that is read from it or written to it, one
//! file per subject. A [`Reader`] can only read; a [`Writer`] is a reader that can also
//! write; a [`Store`] is what a long-running hub holds: one writer thread and a few
//! readers.
//! Not for: noticing that somebody else wrote (`watch`), or telling anybody (`hub`).
//!
//! Nothing here knows of tokio: every call blocks, and callers on a runtime say so.

mod agents;
mod changes;
mod connection;
mod costs;
mod default_sender;
mod file_identity;
mod hook_sessions;
mod inbox;
mod lock_holders;
mod maintenance;
mod messages;
mod pagination;
mod row_reader;
mod schema;
mod search;
mod sidecar_files;
mod subscriptions;
mod task_events;
mod telemetry;
mod threads;
mod writer_thread;

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Code, Error, Result};

pub use agents::{AgentRow, AgentState};
pub use changes::{Change, LogPage, Op, Position, Row, Table};
pub use connection::{NetworkFs, Reader, Writer, set_aside_log, with_patience};
pub use costs::{Costs, CostsBy};
pub use file_identity::{FileIdentity, Identity, WalState};
pub use hook_sessions::TaskProgress;
pub use inbox::claims::{Claim, MAX_LEASE};
pub use inbox::list::{InboxFilter, MailboxRow};
pub use inbox::messages::{EVERYBODY, InboxRow, NewInbox, message_id};
pub use inbox::receipts::{ReadContext, Receipt, ReceiptRow, Trace};
pub use lock_holders::{Holder, LockKind, holders, strays};
pub use maintenance::backup::{BackupDone, Existing};
pub use maintenance::file_status::{Counts, FileStatus};
pub use maintenance::integrity::{FileMode, room};
pub use maintenance::prune::{Pruned, Retention, Unread};
pub use maintenance::thread::{Blocker, MaintenanceFailure, MaintenanceStatus};
pub use messages::{MessageRow, NewMessage, Start, ThreadOpening, ThreadPage};
pub use pagination::Page;
pub use row_reader::UnreadableRow;
pub use schema::{SCHEMA_SQL, SCHEMA_VERSION};
pub use search::Hit;
pub use sidecar_files::{Record, ServeLock, Token};
pub use subscriptions::{Ack, SubscriberRow};
pub use task_events::{NewTask, TaskRow, TaskSummary};
pub use telemetry::{NewTelemetry, TelemetryRow};
pub use threads::{NewThread, ThreadRow};

/// The SQLite library in this program.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// How long those who read are waited for when the file is let go.
const ABANDON_WAIT: Duration = Duration::from_secs(1);
/// Readers kept open when idle. More may be open at a time; the rest close after use.
const IDLE_READERS: usize = 4;

/// What came of writing something that has an id of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<T> {
    /// It is new.
    Created(T),
    /// The same thing was there already.
    Existed(T),
}

impl<T> Written<T> {
    /// The row as it stands in the file.
    pub fn into_row(self) -> T {
        match self {
            Self::Created(row) | Self::Existed(row) => row,
        }
    }
}

/// The file as a hub holds it: one writer thread, readers on demand.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    network_fs: NetworkFs,
    /// Before the writer, so that they are closed before it: the last connection to close
    /// moves the log into the database, and one that only reads cannot.
    readers: Mutex<Idle>,
    /// Nobody reads any more.
    quiet: Condvar,
    keeper: maintenance::thread::MaintenanceThread,
    writer: writer_thread::WriterThread,
}

/// Readers not in use, all of the same opening of the file.
#[derive(Debug, Default)]
struct Idle {
    /// Counts the openings, so that a reader of a replaced file is not kept.
    opening: u64,
    /// Which file was opened.
    identity: Option<Identity>,
    readers: Vec<Reader>,
    /// Readers in use.
    busy: usize,
}

impl Store {
    /// Opens the file at `path`, making it if it is not there.
    ///
    /// # Errors
    /// One of the `Store…` codes, saying what to do about it.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        let (writer, keeper) = open_both(path, network_fs)?;
        let idle = Idle {
            identity: writer.identity(),
            ..Idle::default()
        };
        Ok(Self {
            path: path.to_owned(),
            network_fs,
            writer: writer_thread::WriterThread::start(writer)?,
            keeper: maintenance::thread::MaintenanceThread::start(keeper)?,
            readers: Mutex::new(idle),
            quiet: Condvar::new(),
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of one's own, for as long as one likes.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn reader(&self) -> Result<Reader> {
        let identity = self.idle().identity;
        Reader::open_same(&self.path, self.network_fs, identity)
    }

    /// Runs `f` on a reader. Blocks.
    ///
    /// # Errors
    /// What `f` returns, or a `Store…` code if no reader can be had.
    pub fn read<T>(&self, f: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        let (opening, idle) = {
            let mut idle = self.idle();
            idle.busy += 1;
            (idle.opening, idle.readers.pop())
        };
        let _busy = Busy(self);
        let reader = idle.map_or_else(|| self.reader(), Ok);
        let result = reader.as_ref().map_err(Error::again).and_then(f);
        let mut idle = self.idle();
        if let Ok(reader) = reader
            && idle.opening == opening
            && idle.readers.len() < IDLE_READERS
        {
            idle.readers.push(reader);
        }
        result
    }

    /// Runs `f` on the writer thread, within a transaction shared with whatever else is
    /// waiting there, and hands the outcome to `done` once that transaction is committed.
    /// Does not block.
    pub fn write_then<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        self.writer.submit(f, done);
    }

    /// Runs `f` as [`Store::write_then`] does and waits for the outcome. Blocks.
    ///
    /// # Errors
    /// What `f` returns, or why the transaction could not be committed.
    pub fn write<T: Send + 'static>(&self, f: impl FnOnce(&Writer) -> Result<T> + Send + 'static) -> Result<T> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        // The receiver outlives the call below, so the send cannot fail.
        self.writer.submit(f, move |outcome| drop(tx.send(outcome)));
        rx.recv()
            .unwrap_or_else(|_| Err(Error::new(Code::Internal, "the writer thread is gone; restart the hub")))
    }

    /// What the keeper has done and seen.
    pub fn keeper(&self) -> MaintenanceStatus {
        self.keeper.status()
    }

    /// The longest that one of this hub's own writes kept others from writing, in milliseconds.
    pub fn longest_write_ms(&self) -> u64 {
        self.writer.longest_hold_ms()
    }

    /// Lets go of the file that was opened and opens the one now at the path, making it
    /// if there is none.
    ///
    /// # Errors
    /// One of the `Store…` codes; the old file stays open then.
    pub fn reopen(&self) -> Result<()> {
        let (writer, keeper) = open_both(&self.path, self.network_fs)?;
        let identity = writer.identity();
        self.writer.reopen(writer);
        self.keeper.reopen(keeper);
        let mut idle = self.idle();
        idle.identity = identity;
        idle.opening += 1;
        idle.readers.clear();
        Ok(())
    }

    /// Closes everything that is open and moves nothing: the file or its write-ahead log was
    /// replaced, and what is left of the old log belongs to nobody. As long as one connection of
    /// this process is open, all others would share the dead log's index with it; so whoever
    /// calls this has closed its own readers, and goes on with [`Store::reopen`]. False: a read
    /// that takes longer keeps the dead log open; to be called again.
    #[must_use]
    pub fn abandon(&self) -> bool {
        self.writer.abandon();
        self.keeper.abandon();
        let mut idle = self.idle();
        idle.opening += 1;
        idle.readers.clear();
        let (idle, _) = self
            .quiet
            .wait_timeout_while(idle, ABANDON_WAIT, |idle| idle.busy > 0)
            .unwrap_or_else(PoisonError::into_inner);
        idle.busy == 0
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        // Nothing panics while the lock is held; a poisoned list of readers is still a list.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read under way; over when dropped, also by a panic.
struct Busy<'a>(&'a Store);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.idle().busy -= 1;
        self.0.quiet.notify_all();
    }
}

/// The writer's connection and the keeper's, of one and the same file.
fn open_both(path: &Path, network_fs: NetworkFs) -> Result<(Writer, Writer)> {
    let writer = Writer::open(path, network_fs)?;
    let keeper = Writer::open(path, network_fs)?;
    if writer.identity() == keeper.identity() {
        return Ok((writer, keeper));
    }
    writer.abandon();
    Err(Error::new(
        Code::StoreReplaced,
        format!("{} became another file while it was opened; try again", path.display()),
    ))
}

impl From<rusqlite::Error> for Error {
    /// Names the failure. Where SQLite's own words are a trigger's, they are the message.
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sql;
        let (Some(kind), detail) = (e.sqlite_error_code(), text_of(&e)) else {
            return match e {
                rusqlite::Error::QueryReturnedNoRows => Error::new(Code::NotFound, "there is no such row"),
                e => Error::new(Code::Internal, format!("cannot read the database: {e}")).because(e),
            };
        };
        let (code, message) = match kind {
            Sql::DatabaseBusy | Sql::DatabaseLocked | Sql::FileLockingProtocolFailed => (
                Code::StoreLocked,
                format!(
                    "cannot get the database's lock: {detail}; another process holds a transaction open (agenthub doctor names it)"
                ),
            ),
            Sql::DiskFull => (
                Code::StoreFull,
                format!("cannot write: {detail}; free some room on the disk"),
            ),
            Sql::ReadOnly | Sql::PermissionDenied => (
                Code::StoreReadOnly,
                format!("cannot write: {detail}; give this user write permission to the file and its folder"),
            ),
            Sql::DatabaseCorrupt => (
                Code::StoreCorrupt,
                format!("the database is damaged: {detail}; restore a backup (agenthub doctor checks a file)"),
            ),
            Sql::NotADatabase => (
                Code::StoreForeign,
                "the file is no SQLite database; it was left untouched: give another path with --db".to_owned(),
            ),
            Sql::ConstraintViolation | Sql::TooBig | Sql::TypeMismatch => (Code::Invalid, detail),
            Sql::CannotOpen | Sql::SystemIoFailure => (
                Code::StoreUnavailable,
                format!("cannot reach the database: {detail}; check that the file, its folder and the disk are there"),
            ),
            _ => (Code::Internal, format!("cannot use the database: {detail}")),
        };
        Error::new(code, message).because(e)
    }
}

/// SQLite's words for the failure.
fn text_of(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first read of another file at the path would cut short the index that the writer and
    /// the keeper still have in their memory.
    #[test]
    fn nothing_of_another_file_is_read_before_the_old_one_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["hub.db", "other.db"].map(|name| folder.path().join(name));
        let store = Store::open(&path, NetworkFs::Refuse).unwrap();
        drop(Writer::open(&other, NetworkFs::Refuse).unwrap());
        store.reader().unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(store.reader().unwrap_err().code(), Code::StoreReplaced);
        assert!(store.abandon());
        store.reopen().unwrap();
        store.reader().unwrap();
    }
}

//! Copies a database while other processes use it, with SQLite's backup API: for `agenthub backup`,
//! and before a migration.
//!
//! A byte-by-byte copy would drop SQLite's locks and miss the rows in the WAL.
//!
//! 1. [`create`] a new file beside the target.
//! 2. [`copy`] the state that a connection reads, and [`sync`] it to disk.
//! 3. Rename it to the target, or [`remove`] it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connect::connect;
use crate::error::Result;
use crate::fs::beside::beside;

/// Pages copied per step: 4 MiB.
const STEP_PAGES: i32 = 1024;

/// Creates an empty file at `part` with mode 0600. Follows no symbolic link.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if anything is at `part`; otherwise the error of the operating
/// system.
pub(super) fn create(part: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)
}

/// Copies the database that `source` reads to the empty file `part`. Unless `source` is in a read
/// transaction, each commit of another process starts the copy again.
///
/// # Errors
/// A `Store…` code.
pub(super) fn copy(source: &Connection, part: &Path) -> Result<()> {
    let mut target = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The caller syncs the complete copy or deletes it.
    target.pragma_update(None, "synchronous", "OFF")?;
    target.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    let backup = Backup::new(source, &mut target)?;
    while backup.step(STEP_PAGES)? == StepResult::More {}
    Ok(())
}

/// Waits until the content of `part` is on disk.
///
/// # Errors
/// The error of the operating system.
pub(super) fn sync(part: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()
}

/// Removes an incomplete copy and the files that SQLite creates beside it. Errors are ignored: a
/// leftover file has no effect.
pub(super) fn remove(part: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        drop(fs::remove_file(beside(part, suffix)));
    }
}

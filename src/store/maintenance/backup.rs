//! Online backup (`agenthub backup`): copies the database while other processes write.
//!
//! 1. Reserve the target name, or refuse it, before anything is copied.
//! 2. Copy one snapshot of the database to a temporary file beside the target. Writers do not wait;
//!    the WAL grows until the copy is complete.
//! 3. Check the copy, sync it to disk, and rename it to the target.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::OpenFlags;
use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::store::connect::connect;
use crate::store::connection::Reader;
use crate::store::file_identity::Identity;
use crate::store::online_copy;

/// Whether an existing target is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Fail if the target exists.
    Refuse,
    /// Replace an existing target.
    Replace,
}

/// A completed backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupDone {
    /// Path of the copy.
    pub path: String,
    /// Size of the copy in bytes.
    pub size: u64,
    /// Number of the newest change in the copy.
    pub changes: i64,
}

impl Reader {
    /// Copies the current state of the database to `to`, with mode 0600.
    ///
    /// # Errors
    /// [`Code::Conflict`] if `to` exists and must not be replaced, [`Code::StoreUnavailable`] if it
    /// cannot be written, [`Code::StoreCorrupt`] if the copy fails its integrity check.
    pub fn backup(&self, to: &Path, existing: Existing) -> Result<BackupDone> {
        self.refuse_target(to, existing)?;
        let reserved = reserve(to, existing)?;
        let part = beside(to, &format!(".{}.part", std::process::id()));
        let done = self.copy_to(&part).and_then(|changes| {
            // Another program may have opened the target as a database during the copy.
            self.refuse_target(to, existing)?;
            fs::rename(&part, to).map_err(|e| cannot("rename the copy to", to, e))?;
            let size = fs::metadata(to).map_or(0, |m| m.len());
            let path = to.display().to_string();
            Ok(BackupDone { path, size, changes })
        });
        if done.is_err() {
            online_copy::remove(&part);
            if reserved {
                drop(fs::remove_file(to));
            }
        }
        done
    }

    /// Refuses a target that is a database in use, or a file that belongs to a database: the copy
    /// would damage it.
    fn refuse_target(&self, to: &Path, existing: Existing) -> Result<()> {
        let name = to.to_string_lossy();
        let database = [
            "-wal",
            "-shm",
            "-journal",
            ".token",
            ".person",
            ".sessions",
            ".serve",
            ".search",
        ]
        .iter()
        .find_map(|ending| name.strip_suffix(ending));
        if let Some(database) = database.filter(|database| Path::new(database).exists()) {
            let message = format!("{name} belongs to the database {database}; choose another name");
            return Err(Error::new(Code::Conflict, message));
        }
        if existing == Existing::Refuse {
            return Ok(());
        }
        if fs::metadata(to).is_ok_and(|meta| !meta.is_file()) {
            let message = format!("{name} is not a regular file; choose another name");
            return Err(Error::new(Code::Conflict, message));
        }
        let is_this_database = Identity::of(to).is_some_and(|target| Some(target) == Identity::of(self.path()));
        if is_this_database || beside(to, "-wal").exists() {
            return Err(Error::new(
                Code::Conflict,
                format!("{} is a database in use; choose another name", to.display()),
            ));
        }
        Ok(())
    }

    fn copy_to(&self, part: &Path) -> Result<i64> {
        drop(online_copy::create(part).map_err(|e| cannot("write", part, e))?);
        let changes = self.snapshot(|| {
            // This read begins the snapshot. Without it, each step would see newer commits and
            // start again.
            let changes = self.head()?.seq;
            online_copy::copy(&self.conn, part)?;
            Ok(changes)
        })?;
        check(part)?;
        online_copy::sync(part).map_err(|e| cannot("write", part, e))?;
        Ok(changes)
    }
}

/// Reserves the target name with an empty file. Returns `false` if the target exists and will be
/// replaced.
fn reserve(to: &Path, existing: Existing) -> Result<bool> {
    match online_copy::create(to) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && existing == Existing::Replace => Ok(false),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(Error::new(
            Code::Conflict,
            format!(
                "{} exists; choose another name, or replace it with --force",
                to.display()
            ),
        )),
        Err(e) => Err(cannot("write", to, e)),
    }
}

/// Checks the integrity of the copy.
fn check(part: &Path) -> Result<()> {
    let conn = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let result: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if result == "ok" {
        return Ok(());
    }
    Err(Error::new(
        Code::StoreCorrupt,
        format!("the copy of the database is damaged: {result}; run agenthub doctor to check the database"),
    ))
}

fn cannot(verb: &str, path: &Path, e: std::io::Error) -> Error {
    Error::new(
        Code::StoreUnavailable,
        format!("cannot {verb} {}: {e}; choose another name", path.display()),
    )
    .because(e)
}

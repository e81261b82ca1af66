//! Copies the database before a migration, `hub.db` to `hub.db.before-2` before version 2, before a
//! repair, to `hub.db.before-repair`, and before a restore, to `hub.db.before-restore-TIME`.
//!
//! 1. The caller holds the write lock, so no process commits between the copy and the change, and
//!    no other process makes this copy at the same time.
//! 2. A second connection reads the last commit, and SQLite's backup API copies it to
//!    `hub.db.before-2.part`.
//! 3. The copy is synced to disk and renamed to `hub.db.before-2`. The rename replaces a file, a
//!    symbolic link or a FIFO of that name without opening it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::connect::connect;
use super::online_copy;
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;

/// Start of the suffix of the copies before a restore.
pub(super) const BEFORE_RESTORE: &str = ".before-restore-";

/// Copies the last committed state of the database at `path`, and returns the path of the copy.
/// `version` is the version of the schema after the migration.
///
/// # Errors
/// [`Code::Conflict`] if the name is taken by a directory or by a database in use; a `Store…` code if
/// the copy cannot be made.
pub(super) fn copy_before_migration(path: &Path, version: i64) -> Result<PathBuf> {
    copy_aside(path, &format!(".before-{version}"))
}

/// As [`copy_before_migration`], to `hub.db.before-repair`.
///
/// # Errors
/// As [`copy_before_migration`].
pub(super) fn copy_before_repair(path: &Path) -> Result<PathBuf> {
    copy_aside(path, ".before-repair")
}

/// As [`copy_before_migration`], to `hub.db.before-restore-TIME`. TIME is the current time in UTC, in
/// milliseconds: each restore keeps a separate copy.
///
/// # Errors
/// As [`copy_before_migration`]; [`Code::Conflict`] if there is a file of that name.
pub(super) fn copy_before_restore(path: &Path) -> Result<PathBuf> {
    let suffix = format!(
        "{BEFORE_RESTORE}{}",
        jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ")
    );
    let to = beside(path, &suffix);
    if fs::symlink_metadata(&to).is_ok() {
        let message = format!("{} exists; try again", to.display());
        return Err(Error::new(Code::Conflict, message));
    }
    copy_aside(path, &suffix)
}

fn copy_aside(path: &Path, suffix: &str) -> Result<PathBuf> {
    let to = beside(path, suffix);
    refuse_target(&to)?;
    let part = beside(&to, ".part");
    // A copy that was interrupted, for instance by a kill.
    online_copy::remove(&part);
    let done = copy_to(path, &part).and_then(|()| fs::rename(&part, &to).map_err(|e| cannot("write", &to, e)));
    if let Err(e) = done {
        online_copy::remove(&part);
        return Err(e);
    }
    // Some file systems cannot sync a directory. The copy itself is on disk.
    if let Some(Ok(directory)) = path.parent().map(File::open) {
        drop(directory.sync_all());
    }
    Ok(to)
}

/// Refuses a directory, which cannot be replaced, and a database in use: its WAL or journal would be
/// applied to the new copy.
fn refuse_target(to: &Path) -> Result<()> {
    let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
    let is_in_use = ["-wal", "-journal"].iter().any(|suffix| exists(&beside(to, suffix)));
    let reason = if fs::symlink_metadata(to).is_ok_and(|file| file.is_dir()) {
        "is a directory"
    } else if is_in_use {
        "is a database in use"
    } else {
        return Ok(());
    };
    let message = format!(
        "{} {reason}; rename it (with its -wal and -journal, if any) and try again",
        to.display()
    );
    Err(Error::new(Code::Conflict, message))
}

fn copy_to(path: &Path, part: &Path) -> Result<()> {
    let file = online_copy::create(part).map_err(|e| cannot("write", part, e))?;
    if let Ok(owner) = fs::metadata(path) {
        // The copy belongs to the owner of the database. Only root can change the owner, and only
        // root creates files that belong to another user.
        drop(fchown(&file, Some(owner.uid()), Some(owner.gid())));
    }
    drop(file);
    let source = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    online_copy::copy(&source, part)?;
    online_copy::sync(part).map_err(|e| cannot("write", part, e))
}

fn cannot(verb: &str, path: &Path, e: io::Error) -> Error {
    Error::new(
        Code::StoreUnavailable,
        format!(
            "cannot {verb} {}: {e}; make sure that this user can write to the directory",
            path.display()
        ),
    )
    .because(e)
}

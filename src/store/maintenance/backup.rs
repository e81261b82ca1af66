//! A copy of the file, made while everybody goes on writing.
//!
//! For: `agenthub backup`.
//! Not for: anything that opens the database by other means than SQLite: copying it byte
//! by byte would drop SQLite's locks and miss what is in the write-ahead log.
//!
//! 1. The name is claimed, or the command refused, before anything is copied.
//! 2. SQLite's own backup copies one view of the file into a new one beside the name.
//!    Writers do not wait; the write-ahead log grows until the copy is done.
//! 3. The copy is checked, made durable, and only then gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::OpenFlags;
use rusqlite::backup::{Backup, StepResult};
use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::store::connection::{Reader, connect};
use crate::store::file_identity::Identity;
use crate::store::sidecar_files::beside;

/// Pages copied at a time: 4 MiB.
const STEP_PAGES: i32 = 1024;

/// What to do if there is a file of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Refuse,
    /// Put the copy in its place.
    Replace,
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupDone {
    /// Where it is.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Where the log stood.
    pub changes: i64,
}

impl Reader {
    /// Copies the file as it is now to `to`, for its owner's eyes only.
    ///
    /// # Errors
    /// [`Code::Conflict`] if `to` exists and may not be replaced, [`Code::StoreUnavailable`]
    /// if it cannot be written, [`Code::StoreCorrupt`] if the copy does not pass its check.
    pub fn backup(&self, to: &Path, existing: Existing) -> Result<BackupDone> {
        self.refuse_target(to, existing)?;
        let claimed = claim(to, existing)?;
        let part = beside(to, &format!(".{}.part", std::process::id()));
        let done = self.copy_to(&part).and_then(|changes| {
            // It may have taken long, and somebody may have opened what is there meanwhile.
            self.refuse_target(to, existing)?;
            fs::rename(&part, to).map_err(|e| cannot("put the copy at", to, e))?;
            let size = fs::metadata(to).map_or(0, |m| m.len());
            let path = to.display().to_string();
            Ok(BackupDone { path, size, changes })
        });
        if done.is_err() {
            // What is half done is worth nothing; what cannot be removed is in nobody's way.
            for suffix in ["", "-journal", "-wal", "-shm"] {
                drop(fs::remove_file(beside(&part, suffix)));
            }
            if claimed {
                drop(fs::remove_file(to));
            }
        }
        done
    }

    /// A copy in the place of a database that is in use would be taken for damaged, and one in
    /// the place of what lies beside a database would damage that.
    fn refuse_target(&self, to: &Path, existing: Existing) -> Result<()> {
        let name = to.to_string_lossy();
        let belongs = ["-wal", "-shm", "-journal", ".token", ".serve", ".search"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        if let Some(database) = belongs.filter(|database| Path::new(database).exists()) {
            let message = format!("{name} belongs to the database {database}; give another name");
            return Err(Error::new(Code::Conflict, message));
        }
        if existing == Existing::Refuse {
            return Ok(());
        }
        if fs::metadata(to).is_ok_and(|there| !there.is_file()) {
            let message = format!("{name} is no regular file; give another name");
            return Err(Error::new(Code::Conflict, message));
        }
        let itself = Identity::of(to).is_some_and(|there| Some(there) == Identity::of(self.path()));
        if itself || beside(to, "-wal").exists() {
            return Err(Error::new(
                Code::Conflict,
                format!("{} is a database in use; give another name", to.display()),
            ));
        }
        Ok(())
    }

    fn copy_to(&self, part: &Path) -> Result<i64> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
        drop(made.map_err(|e| cannot("write", part, e))?);
        let changes = self.snapshot(|| {
            // The first read fixes the view: without it each step would see a newer one,
            // and start over.
            let changes = self.head()?.seq;
            let mut target = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            // It is made durable as a whole, or thrown away.
            target.pragma_update(None, "synchronous", "OFF")?;
            target.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
            let backup = Backup::new(&self.conn, &mut target)?;
            while backup.step(STEP_PAGES)? == StepResult::More {}
            Ok(changes)
        })?;
        check(part)?;
        let durable = File::open(part).and_then(|file| file.sync_all());
        durable.map_err(|e| cannot("write", part, e))?;
        Ok(changes)
    }
}

/// Makes sure of the name. Returns whether an empty file holds it until the copy comes.
fn claim(to: &Path, existing: Existing) -> Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && existing == Existing::Replace => Ok(false),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(Error::new(
            Code::Conflict,
            format!("{} exists; give another name, or --force to replace it", to.display()),
        )),
        Err(e) => Err(cannot("write", to, e)),
    }
}

/// A copy nobody has read is none.
fn check(part: &Path) -> Result<()> {
    let conn = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Error::new(
        Code::StoreCorrupt,
        format!("the database is damaged and so would be its copy: {verdict}; run agenthub doctor"),
    ))
}

fn cannot(verb: &str, path: &Path, e: std::io::Error) -> Error {
    Error::new(
        Code::StoreUnavailable,
        format!("cannot {verb} {}: {e}; give another name", path.display()),
    )
    .because(e)
}

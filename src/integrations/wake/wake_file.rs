//! The files that tools watch: `hub.db.wake/SESSION/agenthub-wake`. A change of the file makes the tool run the hook
//! that asks whether the session is to be woken. Nothing reads the content.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::Result;
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};
use crate::protocol::now_ms;
use crate::store::Reader;

/// The name of each file: Claude Code selects hooks by it.
pub const FILE_NAME: &str = "agenthub-wake";
/// Maximum length of a session's key in a path.
const MAX_KEY: usize = 128;
/// Milliseconds in which the hook that has created a file records its session.
const NEW: i64 = 60_000;

/// Returns the file of a session. `None` if its key is no simple file name.
fn path(db: &Path, session: &str) -> Option<PathBuf> {
    let is_simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = !session.starts_with('.') && session.len() <= MAX_KEY && session.chars().all(is_simple);
    (is_name && !session.is_empty()).then(|| beside(db, ".wake").join(session).join(FILE_NAME))
}

/// Creates the file of a session for its tool to watch, and returns its path. `None` if it cannot be created: then
/// mail does not wake the session.
pub fn create(db: &Path, session: &str) -> Option<PathBuf> {
    let path = path(db, session)?;
    let folder = path.parent()?;
    Owner::create_directory(folder).ok()?;
    match private_file::create(&path, b"", Owner::of(db)) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => None,
        _ => Some(path),
    }
}

/// Returns whether a tool was told to watch the file of a session.
pub(super) fn exists(db: &Path, session: &str) -> bool {
    path(db, session).is_some_and(|path| path.exists())
}

/// Changes the file of a session.
///
/// # Errors
/// The error of the file system.
pub(super) fn touch(db: &Path, session: &str) -> io::Result<()> {
    let path = path(db, session).ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(now_ms().to_string().as_bytes())
}

/// Removes the files of sessions that are not open.
///
/// # Errors
/// A `Store…` code.
pub(super) fn remove_stale(reader: &Reader) -> Result<()> {
    // Without the directory there is nothing to remove.
    let folders = fs::read_dir(beside(reader.path(), ".wake")).into_iter().flatten();
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let is_open = reader.session(&name)?.is_some_and(|session| session.ended_at.is_none());
        if !is_open && !is_new(&folder) {
            remove(reader.path(), &name);
        }
    }
    Ok(())
}

/// Returns whether a hook may still be about to record the session of this folder.
fn is_new(folder: &fs::DirEntry) -> bool {
    let changed = folder.metadata().and_then(|metadata| metadata.modified()).ok();
    let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    changed.is_some_and(|at| i128::from(now_ms()) - at.as_millis().cast_signed() < i128::from(NEW))
}

/// Removes the file of a session that has ended.
pub fn remove(db: &Path, session: &str) {
    if let Some(path) = path(db, session) {
        // Without the file there is nothing to remove.
        let _ = fs::remove_file(&path);
        let _ = path.parent().map(fs::remove_dir);
    }
}

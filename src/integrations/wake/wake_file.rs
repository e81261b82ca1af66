//! The files that tools watch: `hub.db.wake/SESSION/agenthub-wake`. A change of the file makes the tool run the hook
//! that asks whether the session is to be woken. Nothing reads the content.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};
use crate::protocol::now_ms;

/// The name of each file: Claude Code selects hooks by it.
pub const FILE_NAME: &str = "agenthub-wake";
/// Maximum length of a session's key in a path.
const MAX_KEY: usize = 128;

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

/// Removes the file of a session that has ended.
pub fn remove(db: &Path, session: &str) {
    if let Some(path) = path(db, session) {
        // Without the file there is nothing to remove.
        let _ = fs::remove_file(&path);
        let _ = path.parent().map(fs::remove_dir);
    }
}

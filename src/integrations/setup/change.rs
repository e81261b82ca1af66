//! Reads and replaces configuration files. A file is replaced as a whole, and a change by another
//! program is never overwritten.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Code, Error, Result};
use crate::fs::atomic_file;

/// The mode of a new file. Users may put secrets into it later.
const NEW_FILE_MODE: u32 = 0o600;

/// The change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// The text before; `None` if there is no file.
    pub before: Option<String>,
    /// The text after; `None` to remove the file.
    pub after: Option<String>,
    /// What to do with the backup of the text before.
    pub backup: Backup,
}

/// What to do with the backup of a file, which is in the same directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// Create it, with the text before.
    Create,
    /// Keep it: it has the text from before the first installation.
    Keep,
    /// Remove it: the file is restored.
    Remove,
}

/// A lock that is held while files are changed. It is on the directory, so that no lock file remains.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    dir: PathBuf,
}

impl Lock {
    /// Locks the directory `dir`. Waits while another process has locked it.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no such directory.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let file = File::open(dir).map_err(|e| cannot("open", dir, &e))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| cannot("lock", dir, &e.into()))?;
        Ok(Self {
            _file: file,
            dir: dir.to_owned(),
        })
    }
}

/// Returns the file's text, or `None` without a file.
///
/// # Errors
/// [`Code::Invalid`] if it cannot be read or is not UTF-8.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(cannot("read", path, &e)),
    }
}

/// Returns the file's text as a parser reads it: without a byte order mark; empty without a file.
///
/// # Errors
/// As [`read`].
pub(super) fn read_unmarked(path: &Path) -> Result<String> {
    let text = read(path)?.unwrap_or_default();
    Ok(split_mark(&text).1.to_owned())
}

/// Splits a text into its byte order mark, which is empty in most files, and the rest. Some editors write the
/// mark. It is not part of JSON or TOML, and stays in the file.
pub(super) fn split_mark(text: &str) -> (&str, &str) {
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split_at(text.len() - rest.len())
}

/// Returns the path of a file's backup.
pub(super) fn backup_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".agenthub.bak");
    name.into()
}

/// Applies a change. `lock` proves that no other process does so at the same time.
///
/// # Errors
/// [`Code::Conflict`] if the file's text has changed since the plan; [`Code::Invalid`] if it
/// cannot be written. In both cases the file is unchanged.
pub fn apply(change: &Change, lock: &Lock) -> Result<()> {
    // A symbolic link stays a link: users keep their configuration elsewhere.
    let path = fs::canonicalize(&change.path).unwrap_or_else(|_| change.path.clone());
    let now = read(&path)?;
    if now != change.before {
        return Err(Error::new(
            Code::Conflict,
            format!(
                "cannot change {}: another program has changed it; run this again",
                path.display()
            ),
        ));
    }
    if let (Backup::Create, Some(before)) = (change.backup, &change.before) {
        write(&backup_path(&change.path), before, mode(&path))?;
    }
    match &change.after {
        Some(text) => {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir).map_err(|e| cannot("create", dir, &e))?;
            }
            write(&path, text, mode(&path))?;
        }
        None => {
            fs::remove_file(&path).map_err(|e| cannot("remove", &path, &e))?;
            // An empty directory would look like an installed tool. The system refuses to remove a
            // directory that is not empty. A tool's files are at most two directories deep.
            let dirs = change.path.ancestors().skip(1).take(2);
            let mut removed = dirs.take_while(|dir| *dir != lock.dir).map(fs::remove_dir);
            while removed.next().is_some_and(|removed| removed.is_ok()) {}
        }
    }
    if change.backup == Backup::Remove {
        let backup = backup_path(&change.path);
        fs::remove_file(&backup).map_err(|e| cannot("remove", &backup, &e))?;
    }
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(NEW_FILE_MODE, |meta| meta.permissions().mode() & 0o777)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    atomic_file::replace(path, text.as_bytes(), mode).map_err(|e| cannot("write", path, &e))
}

fn cannot(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(Code::Invalid, format!("cannot {verb} {}: {e}", path.display()))
}

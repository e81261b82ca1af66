//! Configuration files: read, replaced whole, one writer at a time.
//!
//! For: never leaving half a file, and never writing over what somebody else has just
//! written.
//! Not for: what is in them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Backup, Change};
use crate::error::{Code, Error, Result};
use crate::fs::atomic_file;

/// Mode of a file that was not there: what is in it may be secret one day.
const MODE: u32 = 0o600;

/// Held while files are changed. On the folder, so that no file is left behind.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    folder: PathBuf,
}

impl Lock {
    /// Waits until nobody else connects tools in `folder`.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no such folder.
    pub fn take(folder: &Path) -> Result<Self> {
        let file = File::open(folder).map_err(|e| cannot("open", folder, &e))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| cannot("lock", folder, &e.into()))?;
        Ok(Self {
            _file: file,
            folder: folder.to_owned(),
        })
    }
}

/// The file's text, or `None` if there is none.
///
/// # Errors
/// [`Code::Invalid`] if it cannot be read or is no text.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(cannot("read", path, &e)),
    }
}

/// The copy of what a file said before.
pub(super) fn backup(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".agenthub.bak");
    name.into()
}

/// Carries a change out. The lock shows that nobody else does.
///
/// # Errors
/// [`Code::Conflict`] if the file says something else by now; [`Code::Invalid`] if it cannot
/// be written. It is as it was then.
pub fn apply(change: &Change, lock: &Lock) -> Result<()> {
    // A link, as those who keep their configuration elsewhere have it, stays one.
    let path = fs::canonicalize(&change.path).unwrap_or_else(|_| change.path.clone());
    let now = read(&path)?;
    if now != change.before {
        return Err(Error::new(
            Code::Conflict,
            format!(
                "cannot change {}: somebody has just done so; run this again",
                path.display()
            ),
        ));
    }
    if let (Backup::Make, Some(before)) = (change.backup, &change.before) {
        write(&backup(&change.path), before, mode(&path))?;
    }
    match &change.after {
        Some(text) => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|e| cannot("make", folder, &e))?;
            }
            write(&path, text, mode(&path))?;
        }
        None => {
            fs::remove_file(&path).map_err(|e| cannot("remove", &path, &e))?;
            // A folder with nothing in it would pass for a tool that is installed. One that
            // holds something stays: the system refuses.
            if let Some(folder) = change.path.parent().filter(|folder| *folder != lock.folder) {
                drop(fs::remove_dir(folder));
            }
        }
    }
    if change.backup == Backup::Drop {
        let backup = backup(&change.path);
        fs::remove_file(&backup).map_err(|e| cannot("remove", &backup, &e))?;
    }
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(MODE, |meta| meta.permissions().mode() & 0o777)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    atomic_file::replace(path, text.as_bytes(), mode).map_err(|e| cannot("write", path, &e))
}

fn cannot(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(Code::Invalid, format!("cannot {verb} {}: {e}", path.display()))
}

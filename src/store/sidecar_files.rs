//! The files beside the database: the access token (`hub.db.token`) and the record of the hub that
//! serves the database (`hub.db.serve`).
//!
//! Both are plain files with mode 0600. (Only SQLite opens the database itself.)

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::fs::atomic_file;
use crate::protocol::now_ms;

/// The access token: 256 random bits as 64 hex digits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Mode of these files: readable and writable by their owner only.
const PRIVATE: u32 = 0o600;

/// Maximum resolution of a file system's timestamps, in seconds.
const TIMESTAMP_RESOLUTION: i64 = 2;

/// A version of a file: its inode and change time (seconds, nanoseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, i64, i64);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Makes a token from a secret that the user chose.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret, to compare it or to show it to the user.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns the token of the database at `db`. Creates it if there is none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file can be neither read nor created.
    pub fn of(db: &Path) -> Result<Self> {
        let path = beside(db, ".token");
        if let Some(token) = Self::read(&path)? {
            return Ok(token);
        }
        let token = Self::random()?;
        match atomic_file::create(&path, format!("{}\n", token.0).as_bytes(), PRIVATE) {
            Ok(()) => Ok(token),
            // Another process created the token first.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                Self::read(&path)?.ok_or_else(|| cannot("read", &path, &e))
            }
            Err(e) => Err(cannot("write", &path, &e)),
        }
    }

    /// Returns the token of the database at `db`, or `None` if there is none that can be read.
    pub fn at(db: &Path) -> Option<Self> {
        Self::existing(db).ok().flatten()
    }

    /// Returns the token of the database at `db`, or `None` if there is none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be read or is too short for a token.
    pub fn existing(db: &Path) -> Result<Option<Self>> {
        Self::read(&beside(db, ".token"))
    }

    /// Returns a stamp that differs after the token of the database at `db` was written again. Does
    /// not read the file. Returns `None` without a token, or if the file changed so recently that
    /// another write could have the same timestamp.
    pub fn stamp(db: &Path) -> Option<Stamp> {
        let meta = fs::metadata(beside(db, ".token")).ok()?;
        let age = now_ms() / 1000 - meta.ctime();
        (age > TIMESTAMP_RESOLUTION).then(|| Stamp(meta.ino(), meta.ctime(), meta.ctime_nsec()))
    }

    /// Replaces the token of the database at `db` with a new one.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be written.
    pub fn rotate(db: &Path) -> Result<Self> {
        let token = Self::random()?;
        let path = beside(db, ".token");
        let text = format!("{}\n", token.0);
        if path.exists() {
            // Overwrites the file in place: a running hub holds its lock on this inode.
            let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
                file.set_permissions(Permissions::from_mode(PRIVATE))?;
                file.write_all(text.as_bytes())?;
                file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
                file.sync_all()
            });
            written.map_err(|e| cannot("write", &path, &e))?;
        } else {
            atomic_file::replace(&path, text.as_bytes(), PRIVATE).map_err(|e| cannot("write", &path, &e))?;
        }
        Ok(token)
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().len() >= 32 => Ok(Some(Self(text.trim().to_owned()))),
            Ok(_) => Err(Error::new(
                Code::StoreUnavailable,
                format!(
                    "the token in {} is too short; run agenthub token --rotate",
                    path.display()
                ),
            )),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(cannot("read", path, &e)),
        }
    }

    fn random() -> Result<Self> {
        Ok(Self(random_hex::<32>()?))
    }
}

/// The hub that serves a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The URL it listens on: `http://127.0.0.1:4820`.
    pub url: String,
    /// Its process id.
    pub pid: u32,
    /// Random id of this run. `/healthz` returns it, so that clients can detect a stale record.
    pub run: String,
}

impl Record {
    /// Makes a record of this process.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system returns no random bytes.
    pub fn new(url: String) -> Result<Self> {
        Ok(Self {
            url,
            pid: std::process::id(),
            run: random_hex::<8>()?,
        })
    }

    /// Returns the record of the database at `db`, or `None` if there is none that can be read.
    pub fn read(db: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(beside(db, ".serve")).ok()?).ok()
    }

    /// Writes the record beside the database at `db`.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be written.
    pub fn write(&self, db: &Path) -> Result<()> {
        let json =
            serde_json::to_vec(self).map_err(|e| Error::new(Code::Internal, "cannot encode the record").because(e))?;
        let path = beside(db, ".serve");
        atomic_file::replace(&path, &json, PRIVATE).map_err(|e| cannot("write", &path, &e))
    }

    /// Deletes the record of the database at `db` if it is still this one.
    pub fn remove(&self, db: &Path) {
        if Self::read(db).as_ref() == Some(self) {
            // If this fails, readers ignore the stale record.
            drop(fs::remove_file(beside(db, ".serve")));
        }
    }
}

/// The lock of the hub that serves a database. The system releases it when the process ends.
#[derive(Debug)]
pub struct ServeLock {
    /// Closing the file releases the lock.
    _file: fs::File,
}

impl ServeLock {
    /// Takes the lock for the database at `db`. Returns `None` if another process holds it. The
    /// lock is on the token's file, which must exist.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the token's file cannot be opened or locked.
    pub fn take(db: &Path) -> Result<Option<Self>> {
        let path = beside(db, ".token");
        let file = fs::File::open(&path).map_err(|e| cannot("open", &path, &e))?;
        let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        match locked {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(cannot("lock", &path, &e.into())),
        }
    }
}

/// Returns `N` random bytes as hex digits.
fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Internal, format!("the system returned no random bytes: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Returns the path with `suffix` appended to its name.
pub(super) fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn cannot(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(
        Code::StoreUnavailable,
        format!(
            "cannot {verb} {}: {e}; it must belong to this user, with mode 0600",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_one_private_token_and_rotates_it() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let token = Token::of(&db).unwrap();
        assert_eq!(token.secret().len(), 64);
        assert_eq!(Token::of(&db).unwrap(), token);
        assert_eq!(fs::metadata(beside(&db, ".token")).unwrap().mode() & 0o777, 0o600);
        let other = Token::rotate(&db).unwrap();
        assert_ne!(other, token);
        assert_eq!(Token::of(&db).unwrap(), other);
        assert!(!format!("{other:?}").contains(other.secret()));
    }

    #[test]
    fn removes_only_its_own_record() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let mine = Record::new("http://127.0.0.1:1".into()).unwrap();
        mine.write(&db).unwrap();
        let other = Record::new("http://127.0.0.1:2".into()).unwrap();
        other.write(&db).unwrap();
        mine.remove(&db);
        assert_eq!(Record::read(&db), Some(other.clone()));
        other.remove(&db);
        assert_eq!(Record::read(&db), None);
    }
}

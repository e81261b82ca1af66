//! What lies beside the database: the token, and the record of the hub that serves it.
//!
//! For: `hub.db.token` and `hub.db.serve`, both 0600. These are plain files; the database
//! itself is opened by SQLite alone.
//! Not for: checking a token (`server::auth`).

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::fs::atomic_file;
use crate::protocol::now_ms;

/// What lets a program in: 256 random bits, as 64 hex digits. Does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Mode of the files beside the database: readable by their owner only.
const PRIVATE: u32 = 0o600;

/// Seconds that a file system's clock may stand still.
const TICK: i64 = 2;

/// A state of a file, without what is in it: its inode, and when it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, i64, i64);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token of the owner's own choosing.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for the owner's eyes and for comparing.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The token of the database at `db`, made if there is none yet.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file can neither be read nor made.
    pub fn of(db: &Path) -> Result<Self> {
        let path = beside(db, ".token");
        if let Some(token) = Self::read(&path)? {
            return Ok(token);
        }
        let token = Self::random()?;
        match atomic_file::create(&path, format!("{}\n", token.0).as_bytes(), PRIVATE) {
            Ok(()) => Ok(token),
            // Another process was faster: its token is the token.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                Self::read(&path)?.ok_or_else(|| cannot("read", &path, &e))
            }
            Err(e) => Err(cannot("write", &path, &e)),
        }
    }

    /// The token beside the database at `db`, if there is one that can be read.
    pub fn at(db: &Path) -> Option<Self> {
        Self::existing(db).ok().flatten()
    }

    /// The token beside the database at `db`, if there is one.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if it cannot be read, or is none.
    pub fn existing(db: &Path) -> Result<Option<Self>> {
        Self::read(&beside(db, ".token"))
    }

    /// What is another one once the token beside the database at `db` has been written again:
    /// a look that reads nothing. `None` without a token, or if it was written so lately that
    /// the file system's clock may not tell a second time from the first.
    pub fn stamp(db: &Path) -> Option<Stamp> {
        let meta = fs::metadata(beside(db, ".token")).ok()?;
        let age = now_ms() / 1000 - meta.ctime();
        (age > TICK).then(|| Stamp(meta.ino(), meta.ctime(), meta.ctime_nsec()))
    }

    /// Replaces the token of the database at `db` by a new one.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if it cannot be written.
    pub fn rotate(db: &Path) -> Result<Self> {
        let token = Self::random()?;
        let path = beside(db, ".token");
        let text = format!("{}\n", token.0);
        if path.exists() {
            // In place: a hub that serves holds its lock on this very file.
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

/// Which hub serves a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it listens: `http://127.0.0.1:4820`.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// Made anew at each start; `/healthz` tells it, so that a stale record is noticed.
    pub run: String,
}

impl Record {
    /// A record of this process.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system gives no random bytes.
    pub fn new(url: String) -> Result<Self> {
        Ok(Self {
            url,
            pid: std::process::id(),
            run: random_hex::<8>()?,
        })
    }

    /// The record beside the database at `db`, if there is one that can be read.
    pub fn read(db: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(beside(db, ".serve")).ok()?).ok()
    }

    /// Leaves the record beside the database at `db`.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if it cannot be written.
    pub fn write(&self, db: &Path) -> Result<()> {
        let json =
            serde_json::to_vec(self).map_err(|e| Error::new(Code::Internal, "cannot encode the record").because(e))?;
        let path = beside(db, ".serve");
        atomic_file::replace(&path, &json, PRIVATE).map_err(|e| cannot("write", &path, &e))
    }

    /// Takes the record away, if it is still this one.
    pub fn remove(&self, db: &Path) {
        if Self::read(db).as_ref() == Some(self) {
            // A record that stays behind is stale and will be ignored.
            drop(fs::remove_file(beside(db, ".serve")));
        }
    }
}

/// The right to serve a database. Ends with this process, however that ends.
#[derive(Debug)]
pub struct ServeLock {
    /// Closing it gives the lock back.
    _file: fs::File,
}

impl ServeLock {
    /// Takes the right to serve the database at `db`, whose token must be there; `None` if
    /// another process has it.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the token's file, which carries the lock, cannot be opened.
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

/// `N` random bytes as hex digits.
fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Internal, format!("the system gives no random bytes: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The path with `suffix` behind its name.
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
    fn a_token_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hub.db");
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
    fn only_ones_own_record_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hub.db");
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

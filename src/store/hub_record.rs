//! The record of the hub that serves a database (`hub.db.serve`), and the lock of that hub.
//!
//! The record is a private file with the key of this run of the hub. A client sends a nonce; only the
//! process that wrote the record can answer with the HMAC of nonce, address and run. So a client detects
//! a stale record, and a program of another user that listens on the port of a hub that has ended.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::secrets::{Secret, SecretFile, random_hex};
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};

/// Purpose of the HMAC with which a hub proves that it holds a key.
const HUB_PROOF: &str = "agenthub hub 1";

/// The hub that serves a database.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The URL it listens on: `http://127.0.0.1:4820`.
    pub url: String,
    /// Its process id.
    pub pid: u32,
    /// Random id of this run.
    pub run: String,
    /// The key of this run. Empty in a record of an older version.
    #[serde(default)]
    key: String,
}

/// Returns the HMAC with which a hub proves to a client that it holds `key`. The client chose `nonce` and
/// connected to `host` (`127.0.0.1:4820`).
pub fn hub_proof(key: &Secret, nonce: &str, host: &str, run: &str) -> String {
    key.mac(HUB_PROOF, &[nonce, host, run])
}

impl std::fmt::Debug for Record {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("url", &self.url)
            .field("pid", &self.pid)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
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
            key: random_hex::<32>()?,
        })
    }

    /// Returns the record of the database at `db`, or `None` if there is none that can be read.
    pub fn read(db: &Path) -> Option<Self> {
        Self::load(db).ok().flatten()
    }

    /// Returns the record of the database at `db`, or `None` if there is none.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the file cannot be read, or if other users have access to it.
    pub fn load(db: &Path) -> Result<Option<Self>> {
        let path = beside(db, ".serve");
        let Some(text) = private_file::read(&path, Owner::of(db), ADVICE)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::new(
                Code::StoreUnavailable,
                format!("cannot read {}: {e}; {ADVICE}", path.display()),
            )
        })
    }

    /// Returns whether the process that wrote the record still runs, as far as its process id tells.
    pub fn is_of_a_running_process(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        // EPERM: the process runs as another user, such as root.
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }

    /// Returns the key of this run, or `None` if an older version wrote the record.
    pub fn key(&self) -> Option<Secret> {
        (!self.key.is_empty()).then(|| Secret::new(self.key.clone()))
    }

    /// Writes the record beside the database at `db`. On a full disk, a record of an earlier run is
    /// overwritten in place: a reader that sees partial content finds no hub, and tries again.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`], [`Code::StoreFull`] or [`Code::StoreReadOnly`] if the file cannot be
    /// written.
    pub fn write(&self, db: &Path) -> Result<()> {
        let json =
            serde_json::to_vec(self).map_err(|e| Error::new(Code::Internal, "cannot encode the record").because(e))?;
        let (path, owner) = (beside(db, ".serve"), Owner::of(db));
        match private_file::replace(&path, &json, owner) {
            Err(error) if error.code() == Code::StoreFull => match private_file::open(&path, owner, ADVICE) {
                Ok(Some(mut file)) => private_file::overwrite(&mut file, &json).map_err(|_| error),
                Ok(None) | Err(_) => Err(error),
            },
            written => written,
        }
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
    _file: File,
}

impl ServeLock {
    /// Takes the lock for the database at `db`. Returns `None` if another process holds it. The
    /// lock is on the token's file, which must exist.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if the token's file cannot be opened or locked.
    pub fn take(db: &Path) -> Result<Option<Self>> {
        let (path, owner) = (SecretFile::Token.path(db), Owner::of(db));
        let file = private_file::open(&path, owner, SecretFile::Token.advice())?.ok_or_else(|| {
            Error::new(
                Code::StoreUnavailable,
                format!("{} was deleted; start agenthub serve again", path.display()),
            )
        })?;
        let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        match locked {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(private_file::cannot("lock", &path, &e.into(), owner)),
        }
    }
}

/// What the user does if the record is refused.
const ADVICE: &str = "delete it and start agenthub serve again";

#[cfg(test)]
mod tests {
    use super::*;

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

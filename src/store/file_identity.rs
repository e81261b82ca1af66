//! Identifies the database and its WAL by `stat`: device and inode, size, modification time.
//!
//! Detects that the database or its WAL was moved, replaced, overwritten or deleted. It opens no file,
//! so it affects no lock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::fs::beside::beside;

/// Identifies a file by device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns the identity of the file at `path`, or `None` if there is none.
    pub fn of(path: &Path) -> Option<Self> {
        Some(Self::from_metadata(&fs::metadata(path).ok()?))
    }

    fn from_metadata(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// The state of the database and its WAL as `stat` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The database file.
    pub identity: Identity,
    bytes: u64,
    modified: (i64, i64),
    wal_bytes: u64,
    wal: WalFiles,
}

/// The state of a database's WAL compared with an earlier check. Unless it is [`WalState::Same`], open
/// connections use the old WAL, which no new connection sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalState {
    /// The same `-wal` and `-shm` exist.
    Same,
    /// The `-wal` or the `-shm` does not exist: it was deleted, or is being moved.
    Missing,
    /// There is another `-wal` or `-shm`.
    Other,
}

/// Identifies the `-wal` and the `-shm`. They stay the same files while any connection is open:
/// SQLite deletes them when the last one closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalFiles {
    wal: Option<Identity>,
    shm: Option<Identity>,
}

impl WalFiles {
    /// Identifies the files beside the database at `path`.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            wal: Identity::of(&beside(path, "-wal")),
            shm: Identity::of(&beside(path, "-shm")),
        }
    }
}

impl FileIdentity {
    /// Returns the state of the database at `path`, or `None` if there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let wal_bytes = fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len());
        Some(Self {
            identity: Identity::from_metadata(&meta),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            wal_bytes,
            wal: WalFiles::of(path),
        })
    }

    /// Returns the state of the WAL and its index compared with `earlier`.
    pub fn wal_since(&self, earlier: &Self) -> WalState {
        if self.wal == earlier.wal {
            WalState::Same
        } else if self.wal.wal.is_none() || self.wal.shm.is_none() {
            WalState::Missing
        } else {
            WalState::Other
        }
    }

    /// Returns whether the `-wal` beside this file is the one of `earlier`. If `earlier` is another
    /// database, SQLite would add the rows of that WAL to this one.
    pub fn has_wal_of(&self, earlier: &Self) -> bool {
        self.wal.wal.is_some() && self.wal.wal == earlier.wal.wal
    }

    /// Returns whether the database and its WAL have no content.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.wal_bytes == 0
    }

    /// Returns whether the database was written since `earlier`, or its WAL was truncated. Both a
    /// checkpoint and a copy over the file change it.
    pub fn is_rewritten_since(&self, earlier: &Self) -> bool {
        (self.bytes, self.modified) != (earlier.bytes, earlier.modified) || self.wal_bytes < earlier.wal_bytes
    }
}

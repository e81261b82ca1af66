//! What `stat` tells of the file and its companions: which files they are, how long, changed
//! when.
//!
//! For: noticing that somebody moved, replaced, copied over or took away the file or its log.
//! Not for: opening anything: it touches no lock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::sidecar_files::beside;

/// Which file a path leads to. Two files are the same if both numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file at `path`, if there is one. A `stat`, which touches no lock.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

/// What `stat` tells of the database and its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// Which file it is.
    pub identity: Identity,
    bytes: u64,
    modified: (i64, i64),
    wal_bytes: u64,
    log: Log,
}

/// What has become of a database's write-ahead log. Whoever has it open goes on in the old
/// one, which nobody else sees if it is not [`WalState::Same`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalState {
    /// It is as it was.
    Same,
    /// It or its index is not there: taken away, or on its way from one place to another.
    Missing,
    /// There is another one.
    Other,
}

/// Which files the write-ahead log and its index are. As long as anybody has the database
/// open they stay the same: SQLite takes them away with the last one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    wal: Option<Identity>,
    shm: Option<Identity>,
}

impl Log {
    /// Beside the database at `path`. Touches no lock.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            wal: Identity::of(&beside(path, "-wal")),
            shm: Identity::of(&beside(path, "-shm")),
        }
    }
}

impl FileIdentity {
    /// Of the database at `path`, if there is one. Touches no lock.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let wal_bytes = fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len());
        Some(Self {
            identity: Identity {
                device: meta.dev(),
                inode: meta.ino(),
            },
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            wal_bytes,
            log: Log::of(path),
        })
    }

    /// What has become of the write-ahead log and its index since `earlier`.
    pub fn log_since(&self, earlier: &Self) -> WalState {
        if self.log == earlier.log {
            WalState::Same
        } else if self.log.wal.is_none() || self.log.shm.is_none() {
            WalState::Missing
        } else {
            WalState::Other
        }
    }

    /// Whether beside this file lies the write-ahead log of `earlier`, which is another one:
    /// whoever opens this file takes that log for its own, and its rows with it.
    pub fn has_the_log_of(&self, earlier: &Self) -> bool {
        self.log.wal.is_some() && self.log.wal == earlier.log.wal
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.wal_bytes == 0
    }

    /// Whether the database was written since `earlier`, or its log cut short. A checkpoint
    /// does that, and so does whoever copies another file over it.
    pub fn is_rewritten_since(&self, earlier: &Self) -> bool {
        (self.bytes, self.modified) != (earlier.bytes, earlier.modified) || self.wal_bytes < earlier.wal_bytes
    }
}

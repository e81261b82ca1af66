//! Size, row counts and checkpoints of the database.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::store::busy_retry::with_busy_timeout;
use crate::store::connection::{Reader, Writer};
use crate::store::disk_space::require_disk_space;

/// Maximum time a RESTART or TRUNCATE checkpoint waits for readers while it blocks writers.
const RESTART_TIMEOUT: Duration = Duration::from_millis(20);

/// Number of rows per table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Threads.
    pub threads: i64,
    /// Messages in threads.
    pub messages: i64,
    /// Inbox messages.
    pub inbox_messages: i64,
    /// Telemetry rows.
    pub telemetry: i64,
    /// Task events.
    pub task_stream: i64,
    /// Agents.
    pub agents: i64,
}

/// Path and sizes of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    /// Path of the database.
    pub path: String,
    /// Size of the database in bytes.
    pub size: u64,
    /// Size of the `-wal` in bytes.
    pub wal_size: u64,
    /// Version of the SQLite library in this program.
    pub sqlite: String,
}

/// The mode of a checkpoint, as in SQLite's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum CheckpointMode {
    /// Copies as many frames as possible from the WAL to the database. No process waits.
    Passive,
    /// Also resets the WAL, so that the next write begins at its start. Blocks writers and waits
    /// up to 20 ms for readers.
    Restart,
    /// Also truncates the `-wal` to zero bytes.
    Truncate,
}

impl CheckpointMode {
    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Restart => "restart",
            Self::Truncate => "truncate",
        }
    }
}

/// The result of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Checkpoint {
    /// A connection did not release its lock within the busy timeout.
    pub(in crate::store) busy: bool,
    /// Frames in the WAL; -1 if this checkpoint did nothing because another process runs one.
    pub(in crate::store) frames: i64,
    /// Frames of these that are in the database.
    pub(in crate::store) checkpointed: i64,
}

impl Checkpoint {
    /// Returns whether the database contains all frames of the WAL.
    pub(in crate::store) fn is_complete(self) -> bool {
        self.frames >= 0 && self.checkpointed == self.frames
    }
}

impl Reader {
    /// Counts the rows of each table. Reads a whole index of each table.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn counts(&self) -> Result<Counts> {
        // One statement, so that all counts are of the same state of the database.
        const COUNTS: &str = "SELECT (SELECT count(*) FROM threads), (SELECT count(*) FROM messages), \
            (SELECT count(*) FROM inbox_messages), (SELECT count(*) FROM telemetry), \
            (SELECT count(*) FROM task_stream), (SELECT count(*) FROM agents)";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Counts {
                threads: row.get(0)?,
                messages: row.get(1)?,
                inbox_messages: row.get(2)?,
                telemetry: row.get(3)?,
                task_stream: row.get(4)?,
                agents: row.get(5)?,
            })
        };
        Ok(self.conn.prepare_cached(COUNTS)?.query_row([], read)?)
    }

    /// Returns the path and sizes of the database. Only calls `stat`.
    pub fn file_status(&self) -> FileStatus {
        let size = |suffix: &str| {
            let mut name = self.path().as_os_str().to_owned();
            name.push(suffix);
            fs::metadata(name).map_or(0, |m| m.len())
        };
        FileStatus {
            path: self.path().display().to_string(),
            size: size(""),
            wal_size: size("-wal"),
            sqlite: rusqlite::version().to_owned(),
        }
    }
}

impl Writer {
    /// Tests whether writing works: writes the key `probed_at`, which has no other use. Such a small
    /// write can fit into the existing `-wal` on a full disk, so the free space is checked, too.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn probe(&self, now: i64) -> Result<()> {
        require_disk_space(self.path())?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO hub(key, value) VALUES('probed_at', ?1)")?
            .execute([now])?;
        Ok(())
    }

    /// Runs a PASSIVE checkpoint, for which no process waits. Returns whether it was complete.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn checkpoint_passive(&self) -> Result<bool> {
        Ok(self.checkpoint(CheckpointMode::Passive)?.is_complete())
    }

    /// Runs a checkpoint: copies frames from the WAL to the database.
    pub(in crate::store) fn checkpoint(&self, mode: CheckpointMode) -> Result<Checkpoint> {
        let sql = format!("PRAGMA wal_checkpoint({})", mode.name());
        let checkpoint = || {
            self.conn.query_row(&sql, [], |row| {
                Ok(Checkpoint {
                    busy: row.get::<_, i64>(0)? != 0,
                    frames: row.get(1)?,
                    checkpointed: row.get(2)?,
                })
            })
        };
        Ok(with_busy_timeout(RESTART_TIMEOUT, checkpoint)?)
    }
}

//! The file's own health: how large, how full, checkpoints.
//!
//! For: `/api/status`, `agenthub status`, and the keeper's checkpoints.
//! Not for: the rows.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::store::busy_retry::with_busy_timeout;
use crate::store::connection::{Reader, Writer};
use crate::store::maintenance::integrity::room;

/// How long writers may be held up so that the log can start anew.
const RESTART_WAIT: Duration = Duration::from_millis(20);

/// How many rows each table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Threads.
    pub threads: i64,
    /// Messages in them.
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

/// The file in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    /// Where it is.
    pub path: String,
    /// Bytes of the database.
    pub size: u64,
    /// Bytes of the write-ahead log.
    pub wal_size: u64,
    /// The SQLite library in this program.
    pub sqlite: String,
}

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum CheckpointMode {
    /// Moves what it can from the write-ahead log into the database. Nobody waits.
    Passive,
    /// Also waits up to 20 ms for those who read, so that the next write starts the log
    /// from its beginning. Writers wait meanwhile.
    Restart,
    /// Also cuts the log down.
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

/// What a checkpoint found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Checkpoint {
    /// Somebody did not let go in time.
    pub(in crate::store) busy: bool,
    /// Frames in the write-ahead log; -1 if another process is at a checkpoint and this one
    /// did nothing.
    pub(in crate::store) frames: i64,
    /// Those of them that are in the database now.
    pub(in crate::store) moved: i64,
}

/// Bytes a disk must have left to be called one that can be written: a row of the largest kind.
const ROOM: u64 = 1 << 20;

/// Whether there is room for a row.
pub(in crate::store) fn demand_room(db: &Path) -> Result<()> {
    match room(db) {
        Some(bytes) if bytes < ROOM => Err(Error::new(
            Code::StoreFull,
            format!(
                "the disk has {} KiB left: agents cannot write; free some room on it",
                bytes >> 10
            ),
        )),
        // Where it is not known, writing itself will tell.
        _ => Ok(()),
    }
}

impl Reader {
    /// How many rows each table has. Reads an index of each table whole.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn counts(&self) -> Result<Counts> {
        // One statement: of one moment.
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

    /// The file in numbers. Only looks at the folder.
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
    /// Writes something nobody reads, to learn whether writing works. So little always finds
    /// room in a log that has some left: the disk is asked for more than that.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn probe(&self, now: i64) -> Result<()> {
        demand_room(self.path())?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO hub(key, value) VALUES('probed_at', ?1)")?
            .execute([now])?;
        Ok(())
    }

    /// Moves the write-ahead log into the database as far as readers allow, and says whether
    /// that was all of it. Nobody waits for it.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn moves_its_log(&self) -> Result<bool> {
        let done = self.checkpoint(CheckpointMode::Passive)?;
        Ok(done.frames >= 0 && done.moved == done.frames)
    }

    /// Moves frames from the write-ahead log into the database.
    pub(in crate::store) fn checkpoint(&self, mode: CheckpointMode) -> Result<Checkpoint> {
        let sql = format!("PRAGMA wal_checkpoint({})", mode.name());
        let checkpoint = || {
            self.conn.query_row(&sql, [], |row| {
                Ok(Checkpoint {
                    busy: row.get::<_, i64>(0)? != 0,
                    frames: row.get(1)?,
                    moved: row.get(2)?,
                })
            })
        };
        Ok(with_busy_timeout(RESTART_WAIT, checkpoint)?)
    }
}

//! Checks of the database for `agenthub doctor`: integrity, permissions, disk space.
//!
//! The checks only report problems; they repair nothing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::fs::beside::beside;
use crate::store::connection::Reader;
use crate::store::migration_backup::BEFORE_RESTORE;

/// Maximum number of problems reported by one check.
const MAX_PROBLEMS: i64 = 10;
/// Number of newest rows of each table that [`Reader::newest_at`] reads.
const LAST_ROWS: u32 = 1000;
/// Suffixes of the files that belong to a database.
const SIDECAR_SUFFIXES: [&str; 12] = [
    "-wal",
    "-shm",
    ".token",
    ".person",
    ".sessions",
    ".serve",
    ".search",
    ".search-wal",
    ".search-shm",
    "-journal",
    ".before-2",
    ".before-repair",
];

/// Permissions and owner of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileMode {
    /// Path of the file.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Number of hard links.
    pub links: u64,
}

impl FileMode {
    /// Returns the permissions and owner of the file or directory at `path`, or `None` if there is
    /// none.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            links: meta.nlink(),
        })
    }

    /// Returns the permissions and owners of the database at `db` and of all existing files that belong
    /// to it.
    pub fn of_all(db: &Path) -> Vec<Self> {
        let sidecars = SIDECAR_SUFFIXES.iter().map(|suffix| beside(db, suffix));
        let before_restore = beside(db, BEFORE_RESTORE);
        let entries = db.parent().and_then(|directory| fs::read_dir(directory).ok());
        let kept = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let kept = kept.filter(|path| {
            path.as_os_str()
                .as_bytes()
                .starts_with(before_restore.as_os_str().as_bytes())
        });
        std::iter::once(db.to_owned())
            .chain(sidecars)
            .chain(kept)
            .filter_map(|path| Self::of(&path))
            .collect()
    }
}

impl Reader {
    /// Returns the problems that `PRAGMA integrity_check` finds. Reads the whole database.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn damage(&self) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare(&format!("PRAGMA integrity_check({MAX_PROBLEMS})"))?;
        let found = statement.query_map([], |row| row.get(0))?;
        let lines: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Returns the threads whose `message_seq` has gaps, and the change log if its `seq` has gaps. The
    /// schema guarantees that there are none.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn gaps(&self) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare(
            "SELECT 'thread ' || m.thread_id FROM messages m WHERE m.message_seq IS NOT NULL GROUP BY m.thread_id \
             HAVING max(m.message_seq) - min(m.message_seq) + 1 <> count(*) \
               OR max(m.message_seq) <> (SELECT last_seq FROM threads t WHERE t.id = m.thread_id) \
             UNION ALL SELECT 'the change log' FROM (SELECT max(seq) - min(seq) + 1 <> count(*) AS gap FROM changes) WHERE gap LIMIT ?1",
        )?;
        let found = statement.query_map([MAX_PROBLEMS], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the journal mode: `wal`, unless another program changed it.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn journal_mode(&self) -> Result<String> {
        Ok(self.conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?)
    }

    /// Returns the latest `created_at` of the last thousand messages, inbox messages, telemetry rows
    /// and task events, in Unix milliseconds. The newest row alone could have been written after the
    /// clock was set back.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn newest_at(&self) -> Result<Option<i64>> {
        let last = |(table, key): (&str, &str)| {
            format!(
                "SELECT max(created_at) AS at FROM (SELECT created_at FROM {table} ORDER BY {key} DESC LIMIT {LAST_ROWS})"
            )
        };
        let tables = [
            ("messages", "n"),
            ("inbox_messages", "n"),
            ("telemetry", "id"),
            ("task_stream", "id"),
        ];
        let sql = format!("SELECT max(at) FROM ({})", tables.map(last).join(" UNION ALL "));
        Ok(self.conn.query_row(&sql, [], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{NetworkFs, NewMessage, Writer};

    #[test]
    fn reports_sequence_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        for n in 0..3 {
            writer.post_message(&NewMessage::new("t", "a", n.to_string())).unwrap();
        }
        assert_eq!(writer.gaps().unwrap(), Vec::<String>::new());
        assert_eq!(writer.damage().unwrap(), Vec::<String>::new());
        writer
            .conn
            .execute_batch("DROP TRIGGER messages_delete; DELETE FROM messages WHERE message_seq = 2;")
            .unwrap();
        assert_eq!(writer.gaps().unwrap(), ["thread t"]);
    }
}

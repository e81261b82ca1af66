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
use crate::store::row_reader::RowReader;

/// Maximum number of problems reported by one check.
const MAX_PROBLEMS: i64 = 10;
/// Number of newest rows of each table that [`Reader::newest_at`] reads.
const LAST_ROWS: u32 = 1000;
/// Suffixes of the files that belong to a database.
const SIDECAR_SUFFIXES: [&str; 15] = [
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
    ".before-3",
    ".before-4",
    ".before-5",
    ".before-repair",
];

/// Unix times in seconds from 1973 to 5138. As milliseconds, they would be before 1974.
const SECONDS: (i64, i64) = (100_000_000, 99_999_999_999);
/// Columns with times that programs may write: table, column, the column with the writer's name, key.
const TIMES: [(&str, &str, &str, &str); 8] = [
    ("messages", "created_at", "from_id", "n"),
    ("inbox_messages", "created_at", "from_agent", "n"),
    ("inbox_messages", "expires_at", "from_agent", "n"),
    ("inbox_messages", "claim_expires_at", "claimed_by", "n"),
    ("telemetry", "created_at", "coalesce(agent_id, instance_id)", "id"),
    ("task_stream", "created_at", "coalesce(agent_id, task_id)", "id"),
    ("threads", "created_at", "created_by_id", "n"),
    ("agents", "created_at", "id", "n"),
];

/// Rows with a time in seconds instead of milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimesInSeconds {
    /// Name of the table.
    pub table: &'static str,
    /// Name of the column.
    pub column: &'static str,
    /// Number of rows.
    pub count: i64,
    /// Name of the program that wrote the newest of them.
    pub writer: String,
}

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

    /// Returns the columns with times that a program has written in seconds. The schema cannot refuse them:
    /// read as milliseconds, they are times in January 1970 and the years after.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn times_in_seconds(&self) -> Result<Vec<TimesInSeconds>> {
        let mut found = Vec::new();
        for (table, column, writer, key) in TIMES {
            let is_in_seconds = format!("{column} BETWEEN {} AND {}", SECONDS.0, SECONDS.1);
            let sql = format!(
                "SELECT count(*), (SELECT {writer} FROM {table} WHERE {is_in_seconds} ORDER BY {key} DESC LIMIT 1) \
                 FROM {table} WHERE {is_in_seconds}"
            );
            let (count, writer) = self.conn.query_row(&sql, [], |row| {
                let mut values = RowReader::new(row);
                Ok((values.int(), values.text()))
            })?;
            if count > 0 {
                found.push(TimesInSeconds {
                    table,
                    column,
                    count,
                    writer,
                });
            }
        }
        Ok(found)
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

//! Looking the file over.
//!
//! For: `agenthub doctor`: is it whole, private, ours, and is there room for it?
//! Not for: what to say about it, or mending anything.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::Reader;
use crate::store::schema::SCHEMA_SQL;
use crate::store::sidecar_files::beside;

/// Problems of one kind told at most.
const TOLD: i64 = 10;
/// Rows of each table whose times are looked at.
const LAST_ROWS: u32 = 1000;
/// What belongs to a database, beside itself.
const COMPANIONS: [&str; 8] = [
    "-wal",
    "-shm",
    ".token",
    ".serve",
    ".search",
    ".search-wal",
    ".search-shm",
    "-journal",
];

/// One file as its folder has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileMode {
    /// Where it is.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Whose it is.
    pub uid: u32,
    /// How many names it has.
    pub links: u64,
}

impl FileMode {
    /// Of the file or folder at `path`, if there is one.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            links: meta.nlink(),
        })
    }

    /// Of the database at `db` and everything that belongs to it.
    pub fn of_all(db: &Path) -> Vec<Self> {
        let companions = COMPANIONS.iter().map(|suffix| beside(db, suffix));
        std::iter::once(db.to_owned())
            .chain(companions)
            .filter_map(|path| Self::of(&path))
            .collect()
    }
}

/// Bytes this user may still write where the database at `db` is.
pub fn room(db: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(db).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Reader {
    /// What SQLite finds damaged; empty if nothing is. Reads the whole file.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn damage(&self) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
        let found = statement.query_map([], |row| row.get(0))?;
        let lines: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Numbers that are missing where the contract promises none to be: in threads, and
    /// in the log.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn gaps(&self) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare(
            "SELECT 'thread ' || m.thread_id FROM messages m WHERE m.message_seq IS NOT NULL GROUP BY m.thread_id \
             HAVING max(m.message_seq) - min(m.message_seq) + 1 <> count(*) \
               OR max(m.message_seq) <> (SELECT last_seq FROM threads t WHERE t.id = m.thread_id) \
             UNION ALL SELECT 'the log of changes' FROM (SELECT max(seq) - min(seq) + 1 <> count(*) AS gap FROM changes) WHERE gap LIMIT ?1",
        )?;
        let found = statement.query_map([TOLD], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Tables, triggers and indexes that are not as this program makes them: what is
    /// missing, changed, or not ours.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn schema_differences(&self) -> Result<Vec<String>> {
        let ideal = Connection::open_in_memory()?;
        ideal.execute_batch(SCHEMA_SQL)?;
        let (ideal, actual) = (objects(&ideal)?, objects(&self.conn)?);
        let mut told = Vec::new();
        for object in &ideal {
            match actual.iter().find(|there| there.name == object.name) {
                None => told.push(format!("the {} {} is missing", object.kind, object.name)),
                Some(there) if there.sql != object.sql => {
                    told.push(format!("the {} {} is another one", object.kind, object.name));
                }
                Some(_) => {}
            }
        }
        let ours = |name: &str| ideal.iter().any(|object| object.name == name);
        let strangers = actual.iter().filter(|object| !ours(&object.name));
        told.extend(strangers.map(|object| format!("the {} {} is not agenthub's", object.kind, object.name)));
        Ok(told)
    }

    /// How changes are journalled: `wal`, unless somebody changed it.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn journal_mode(&self) -> Result<String> {
        Ok(self.conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?)
    }

    /// The latest time among the last thousand messages, pieces of mail, telemetry rows and
    /// task events, Unix milliseconds: the newest row alone would hide that the clock was set
    /// back before it came.
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

struct Object {
    kind: String,
    name: String,
    sql: String,
}

fn objects(conn: &Connection) -> Result<Vec<Object>> {
    let mut statement = conn.prepare(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid",
    )?;
    let found = statement.query_map([], |row| {
        Ok(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            sql: row.get(2)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use crate::store::{NetworkFs, NewMessage, Writer};

    #[test]
    fn what_was_tampered_with_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        for n in 0..3 {
            writer.post_message(&NewMessage::new("t", "a", n.to_string())).unwrap();
        }
        assert_eq!(writer.schema_differences().unwrap(), Vec::<String>::new());
        assert_eq!(writer.gaps().unwrap(), Vec::<String>::new());
        assert_eq!(writer.damage().unwrap(), Vec::<String>::new());
        writer
            .conn
            .execute_batch(
                "DROP TRIGGER messages_delete; DELETE FROM messages WHERE message_seq = 2; DROP INDEX messages_thread; \
                 CREATE INDEX messages_thread ON messages(thread_id); CREATE TABLE mine(x);",
            )
            .unwrap();
        assert_eq!(
            writer.schema_differences().unwrap(),
            [
                "the index messages_thread is another one",
                "the trigger messages_delete is missing",
                "the table mine is not agenthub's"
            ]
        );
        assert_eq!(writer.gaps().unwrap(), ["thread t"]);
    }
}

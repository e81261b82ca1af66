//! Full text: what was said, by its words.
//!
//! For: `agenthub search` and `GET /api/search`, over messages, mail, and what tasks did.
//! Not for: anything that has to be there. The index is a file of its own beside the
//! database (`hub.db.search`, 0600) that may be deleted at any time: agents never touch
//! it, need no FTS5, and never wait for it.
//!
//! 1. Whoever searches, and a hub in quiet moments, adds the rows that came since. Rows
//!    never change, so the last row of each table says how far the index is.
//! 2. The index remembers a position of the log. If the file does not have it, the index
//!    is of another file or another past, and is made anew.
//! 3. It holds words, not texts: what a search finds is read from the file, which decides
//!    what is still there and may be shown.

mod query;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::busy_retry::retry_while_busy;
use super::connection::{Reader, connect};
use super::pagination::PAGE_BYTES;
use super::row_reader::RowReader;
use super::sidecar_files::beside;
use crate::error::{Code, Error, Result};
use query::Query;

/// Rows added in one transaction.
const STEP_ROWS: i64 = 1000;
/// Raised when the index is to be made anew by a newer program.
const VERSION: i64 = 1;

/// The words of each row, without its text. `about` says what they are the words of.
const SCHEMA: &str = "CREATE VIRTUAL TABLE words USING fts5(title, body, content='', contentless_delete=1, \
     tokenize='unicode61 remove_diacritics 2'); \
     CREATE TABLE about(key TEXT PRIMARY KEY, value) WITHOUT ROWID;";

/// One kind of row that can be found.
struct Source {
    table: &'static str,
    key: &'static str,
    /// `id, thread_id, message_seq, to_inbox, task_id, from, title, body, created_at`.
    columns: &'static str,
    /// Which rows may be shown; ?2 is the time now.
    shown: &'static str,
}

const SOURCES: [Source; 3] = [
    Source {
        table: "messages",
        key: "n",
        columns: "id, thread_id, message_seq, NULL, NULL, from_id, subject, content, created_at",
        shown: "deleted_at IS NULL AND ?2 IS NOT NULL",
    },
    Source {
        table: "inbox_messages",
        key: "n",
        columns: "message_id, NULL, NULL, to_inbox, NULL, from_agent, title, payload, created_at",
        shown: "status <> 'deleted' AND (expires_at IS NULL OR expires_at > ?2)",
    },
    Source {
        table: "task_stream",
        key: "id",
        columns: "CAST(id AS TEXT), thread_id, NULL, NULL, task_id, agent_id, coalesce(tool_name, directive), \
             concat_ws(char(10), directive_full, text, tool_input, error_msg), created_at",
        shown: "?2 IS NOT NULL",
    },
];

/// Rows of the source `i` have the numbers from `i << SHIFT` on in the index.
const SHIFT: usize = 56;

/// A row that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// messages, `inbox_messages` or `task_stream`.
    pub table: &'static str,
    /// `messages.id`, `inbox_messages.message_id` or `task_stream.id`.
    pub id: String,
    /// The thread, if it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// A message's place in its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<i64>,
    /// The inbox mail is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to_inbox: String,
    /// The task of an event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task_id: String,
    /// Who wrote it.
    pub from: String,
    /// Subject, title or tool.
    pub title: String,
    /// The words around the first one found.
    pub snippet: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl Hit {
    fn weight(&self) -> usize {
        let texts = [
            &self.id,
            &self.thread_id,
            &self.to_inbox,
            &self.task_id,
            &self.from,
            &self.title,
        ];
        300 + self.snippet.len() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

impl Reader {
    /// At most `limit` rows that have all words of `query`, the best first. Quotes hold a
    /// phrase together, `word*` stands for its beginnings, `-word` for its absence.
    /// `now` decides what has expired, Unix milliseconds.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no word in `query`; a `Store…` code.
    pub fn search(&self, query: &str, limit: usize, now: i64) -> Result<Vec<Hit>> {
        Ok(self.search_from(query, 0, limit, now)?.0)
    }

    /// As [`Reader::search`], without the first `skip` of all that have the words; and how
    /// many to leave out next, if there are more.
    ///
    /// # Errors
    /// As [`Reader::search`].
    pub fn search_from(&self, query: &str, skip: usize, limit: usize, now: i64) -> Result<(Vec<Hit>, Option<usize>)> {
        let query = Query::parse(query)?;
        let from = (skip, limit);
        match self.search_index(&query, from, now) {
            // Whatever broke it, it is quickly made anew.
            Err(e) if matches!(e.code(), Code::StoreCorrupt | Code::StoreForeign | Code::Internal) => {
                Index::remove(self.path());
                self.search_index(&query, from, now)
            }
            outcome => outcome,
        }
    }

    /// Adds to the index, if there is one, what came since. Returns whether there is more.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn refresh_search(&self) -> Result<bool> {
        if !beside(self.path(), ".search").exists() {
            return Ok(false);
        }
        Index::open(self.path())?.add_from(self)
    }

    fn search_index(&self, query: &Query, from: (usize, usize), now: i64) -> Result<(Vec<Hit>, Option<usize>)> {
        let (skip, limit) = from;
        let index = Index::open(self.path())?;
        while index.add_from(self)? {}
        let mut statement = index
            .conn
            .prepare("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY bm25(words, 4.0, 1.0)")?;
        let mut found = statement.query([&query.expression])?;
        let (mut hits, mut looked_at, mut weight) = (Vec::new(), 0, 0);
        while let Some(row) = found.next()? {
            if hits.len() == limit || weight > PAGE_BYTES {
                return Ok((hits, Some(looked_at)));
            }
            looked_at += 1;
            if looked_at > skip
                && let Some(hit) = self.hit(row.get(0)?, query, now)?
            {
                weight += hit.weight();
                hits.push(hit);
            }
        }
        Ok((hits, None))
    }

    fn hit(&self, row: i64, query: &Query, now: i64) -> Result<Option<Hit>> {
        let Some(source) = usize::try_from(row >> SHIFT).ok().and_then(|i| SOURCES.get(i)) else {
            return Ok(None);
        };
        let n = row & ((1 << SHIFT) - 1);
        let Source {
            table,
            key,
            columns,
            shown,
        } = source;
        let sql = format!("SELECT {columns} FROM {table} WHERE {key} = ?1 AND {shown}");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let hit = statement.query_row(params![n, now], |row| {
            let mut cells = RowReader::new(row);
            let mut hit = Hit {
                table,
                id: cells.text(),
                thread_id: cells.text(),
                message_seq: cells.maybe_int(),
                to_inbox: cells.text(),
                task_id: cells.text(),
                from: cells.text(),
                title: cells.text(),
                ..Hit::default()
            };
            hit.snippet = query.snippet(&cells.text());
            hit.created_at = cells.int();
            Ok(hit)
        });
        Ok(hit.optional()?)
    }
}

/// The index, open.
struct Index {
    conn: Connection,
}

impl Index {
    /// Opens the index of the database at `db`; makes it if it is not there.
    fn open(db: &Path) -> Result<Self> {
        let path = Self::path(db);
        // Private before SQLite gives its companions the same mode.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(Error::new(
                    Code::StoreReadOnly,
                    format!(
                        "cannot write the index {}: {e}; the folder must belong to this user",
                        path.display()
                    ),
                )
                .because(e));
            }
        }
        let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            // Another process may be at this switch as well.
            retry_while_busy(|| conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())))?;
            let transaction = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
            // Another process may have made it while this one waited.
            if transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? != VERSION {
                transaction.execute_batch("DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS about;")?;
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()?;
        }
        Ok(Self { conn })
    }

    fn path(db: &Path) -> PathBuf {
        beside(db, ".search")
    }

    fn remove(db: &Path) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // Not there is as good as removed; what cannot be removed fails again by name.
            drop(fs::remove_file(beside(&Self::path(db), suffix)));
        }
    }

    /// Adds one step's worth of rows. Returns whether there are more.
    fn add_from(&self, reader: &Reader) -> Result<bool> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let more = reader.snapshot(|| {
            if !self.belongs_to(reader)? {
                transaction.execute_batch("INSERT INTO words(words) VALUES('delete-all'); DELETE FROM about;")?;
            }
            let mut more = false;
            for (i, source) in SOURCES.iter().enumerate() {
                let base = i64::try_from(i << SHIFT).unwrap_or(0);
                more |= self.add_rows(reader, source, base)?;
                self.forget_rows(reader, source, base)?;
            }
            let head = reader.head()?;
            self.note("epoch", reader.epoch()?)?;
            self.note("seq", head.seq)?;
            self.note("tag", head.tag)?;
            Ok(more)
        })?;
        transaction.commit()?;
        Ok(more)
    }

    /// Whether what is in the index came from this file as it is now.
    fn belongs_to(&self, reader: &Reader) -> Result<bool> {
        let Some(epoch) = self.noted::<String>("epoch")? else {
            return Ok(true);
        };
        let seq = self.noted("seq")?.unwrap_or(0);
        let tag = self.noted::<i64>("tag")?.unwrap_or(0);
        Ok(epoch == reader.epoch()? && (seq == 0 || reader.pos_at(seq)?.is_some_and(|pos| pos.tag == tag)))
    }

    fn add_rows(&self, reader: &Reader, source: &Source, base: i64) -> Result<bool> {
        let Source {
            table, key, columns, ..
        } = source;
        let mut last: i64 = self.noted(table)?.unwrap_or(0);
        let sql = format!("SELECT {columns}, {key} FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
        let mut statement = reader.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![last, STEP_ROWS])?;
        let mut add = self
            .conn
            .prepare_cached("INSERT INTO words(rowid, title, body) VALUES(?1, ?2, ?3)")?;
        let mut added = 0;
        while let Some(row) = rows.next()? {
            let mut cells = RowReader::starting_at(row, 6);
            let (title, body) = (cells.text(), cells.text());
            last = row.get(9)?;
            add.execute(params![base + last, title, body])?;
            added += 1;
        }
        self.note(table, last)?;
        Ok(added == STEP_ROWS)
    }

    /// Drops the words of rows that were pruned.
    fn forget_rows(&self, reader: &Reader, source: &Source, base: i64) -> Result<()> {
        let (table, key) = (source.table, source.key);
        let sql = format!("SELECT coalesce(min({key}), 1) FROM {table}");
        let first: i64 = reader.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        let name = format!("{table} from");
        if self.noted(&name)?.unwrap_or(1) < first {
            self.conn.execute(
                "DELETE FROM words WHERE rowid BETWEEN ?1 AND ?2",
                params![base, base + first - 1],
            )?;
            self.note(&name, first)?;
        }
        Ok(())
    }

    fn noted<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM about WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    fn note(&self, key: &str, value: impl rusqlite::ToSql) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO about(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![key, value])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NetworkFs, NewInbox, NewMessage, Writer};
    use super::*;

    #[test]
    fn what_is_found_is_what_is_there_and_may_be_shown() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let found = |query: &str| -> Vec<String> {
            let hits = writer.search(query, 10, 1_000).unwrap();
            hits.into_iter().map(|hit| hit.snippet).collect()
        };
        assert_eq!(found("tests"), Vec::<String>::new());
        writer
            .post_message(&NewMessage::new("build", "planner", "tests are\n green"))
            .unwrap();
        writer
            .send(&NewInbox::new("planner", "reviewer", "the Änderung is in"))
            .unwrap();
        let mut gone = NewInbox::new("planner", "reviewer", "tests expired");
        gone.expires_at = Some(999);
        writer.send(&gone).unwrap();
        assert_eq!(found("TESTS gre*"), ["tests are green"]);
        assert_eq!(found("anderung"), ["the Änderung is in"]);
        assert_eq!(found("tests -green"), Vec::<String>::new());
        writer.conn.execute("UPDATE messages SET deleted_at = 1", []).unwrap();
        assert_eq!(found("tests"), Vec::<String>::new());
    }

    #[test]
    fn an_index_of_another_past_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Writer::open(&folder.path().join(name), NetworkFs::Refuse).unwrap();
        let (a, b) = (open("a.db"), open("b.db"));
        a.post_message(&NewMessage::new("t", "x", "apple")).unwrap();
        b.post_message(&NewMessage::new("t", "x", "banana")).unwrap();
        assert_eq!(a.search("apple", 9, 0).unwrap().len(), 1);
        fs::copy(folder.path().join("a.db.search"), folder.path().join("b.db.search")).unwrap();
        drop(fs::copy(
            folder.path().join("a.db.search-wal"),
            folder.path().join("b.db.search-wal"),
        ));
        assert_eq!(b.search("banana", 9, 0).unwrap().len(), 1);
        assert_eq!(b.search("apple", 9, 0).unwrap(), []);
        fs::write(
            folder.path().join("b.db.search"),
            "this is no database, and long enough to be one",
        )
        .unwrap();
        assert_eq!(b.search("banana", 9, 0).unwrap().len(), 1);
    }
}

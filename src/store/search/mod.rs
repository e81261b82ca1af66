//! Full-text search over messages, inbox messages and task events, for `agenthub search` and
//! `GET /api/search`.
//!
//! The index is an SQLite FTS5 file beside the database (`hub.db.search`, mode 0600). It can be
//! deleted at any time. Agents never open it: they need no FTS5 and never wait for it.
//!
//! 1. A search, and a hub while it is idle, first adds the rows written since the last update. Rows
//!    never change, so the last indexed row of each table is the progress of the index.
//! 2. The index stores a position of the change log. If the database does not have that position, it
//!    was replaced or restored, and the index is rebuilt.
//! 3. The index has no texts. Results are read from the database, which decides whether a row still
//!    exists and is visible.

mod query;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use rustix::fs::{Access, access};
use serde::Serialize;

use super::busy_retry::retry_while_busy;
use super::connect::connect;
use super::connection::Reader;
use super::pagination::PAGE_BYTES;
use super::row_reader::RowReader;
use crate::config::HUMAN;
use crate::error::{Code, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};
use query::SearchQuery;

/// Maximum number of rows of each table added in one transaction.
const STEP_ROWS: i64 = 1000;
/// Version of the index; another version in the file is rebuilt.
const VERSION: i64 = 1;

/// `words`: the words of each row, without its text. `about`: which database and which rows are
/// indexed.
const SCHEMA: &str = "CREATE VIRTUAL TABLE words USING fts5(title, body, content='', contentless_delete=1, \
     tokenize='unicode61 remove_diacritics 2'); \
     CREATE TABLE about(key TEXT PRIMARY KEY, value) WITHOUT ROWID;";

/// A table that can be searched.
struct SearchTable {
    table: &'static str,
    key: &'static str,
    /// Expressions for `id, thread_id, message_seq, to_inbox, task_id, from, title, body, created_at`.
    columns: &'static str,
    /// Condition for visible rows; `?2` is the current time.
    visible: &'static str,
}

const TABLES: [SearchTable; 3] = [
    SearchTable {
        table: "messages",
        key: "n",
        columns: "id, thread_id, message_seq, NULL, NULL, from_id, subject, content, created_at",
        visible: "deleted_at IS NULL AND ?2 IS NOT NULL",
    },
    SearchTable {
        table: "inbox_messages",
        key: "n",
        columns: "message_id, NULL, NULL, to_inbox, NULL, from_agent, title, payload, created_at",
        visible: "status <> 'deleted' AND (expires_at IS NULL OR expires_at > ?2)",
    },
    SearchTable {
        table: "task_stream",
        key: "id",
        columns: "CAST(id AS TEXT), thread_id, NULL, NULL, task_id, agent_id, coalesce(tool_name, directive), \
             concat_ws(char(10), directive_full, text, tool_input, error_msg), created_at",
        visible: "?2 IS NOT NULL",
    },
];

/// Row `n` of `TABLES[i]` has the rowid `(i << TABLE_SHIFT) + n` in the index.
const TABLE_SHIFT: usize = 56;

/// A search result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SearchHit {
    /// `messages`, `inbox_messages` or `task_stream`.
    pub table: &'static str,
    /// `messages.id`, `inbox_messages.message_id` or `task_stream.id`.
    pub id: String,
    /// The thread, if it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// `message_seq` of a thread message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<i64>,
    /// The inbox of an inbox message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to_inbox: String,
    /// The task of a task event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task_id: String,
    /// The sender, or the task's agent.
    pub from: String,
    /// The person wrote this row: its proof is valid.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// Subject, title, tool name or prompt.
    pub title: String,
    /// The text around the first match.
    pub snippet: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl SearchHit {
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
    /// Returns at most `limit` rows that contain all words of `query`, best match first. `"a phrase"`
    /// matches adjacent words, `word*` a prefix; `-word` excludes rows with the word. `now` (Unix
    /// milliseconds) decides what has expired.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no word in `query`; a `Store…` code.
    pub fn search(&self, query: &str, limit: usize, now: i64) -> Result<Vec<SearchHit>> {
        Ok(self.search_from(query, 0, limit, now)?.0)
    }

    /// As [`Reader::search`], after the first `skip` matches. Also returns the `skip` of the next page,
    /// if there are more matches.
    ///
    /// # Errors
    /// As [`Reader::search`].
    pub fn search_from(
        &self,
        query: &str,
        skip: usize,
        limit: usize,
        now: i64,
    ) -> Result<(Vec<SearchHit>, Option<usize>)> {
        let query = SearchQuery::parse(query)?;
        let from = (skip, limit);
        match self.search_index(&query, from, now) {
            // The index may be damaged. It is rebuilt.
            Err(e) if matches!(e.code(), Code::StoreCorrupt | Code::StoreForeign | Code::Internal) => {
                SearchIndex::remove(self.path());
                self.search_index(&query, from, now)
            }
            outcome => outcome,
        }
    }

    /// Adds one step of new rows to the index, if there is one. Returns whether more rows are left.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn refresh_search(&self) -> Result<bool> {
        if !beside(self.path(), ".search").exists() {
            return Ok(false);
        }
        SearchIndex::open(self.path())?.update_from(self)
    }

    fn search_index(
        &self,
        query: &SearchQuery,
        from: (usize, usize),
        now: i64,
    ) -> Result<(Vec<SearchHit>, Option<usize>)> {
        let (skip, limit) = from;
        let index = SearchIndex::open_or_build(self.path())?;
        while index.update_from(self)? {}
        let mut statement = index
            .conn
            .prepare("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY bm25(words, 4.0, 1.0)")?;
        let mut found = statement.query([&query.expression])?;
        let (mut hits, mut matches, mut weight) = (Vec::new(), 0, 0);
        while let Some(row) = found.next()? {
            if hits.len() == limit || weight > PAGE_BYTES {
                return Ok((hits, Some(matches)));
            }
            matches += 1;
            if matches > skip
                && let Some(hit) = self.hit(row.get(0)?, query, now)?
            {
                weight += hit.weight();
                hits.push(hit);
            }
        }
        Ok((hits, None))
    }

    fn hit(&self, row: i64, query: &SearchQuery, now: i64) -> Result<Option<SearchHit>> {
        let Some(source) = usize::try_from(row >> TABLE_SHIFT).ok().and_then(|i| TABLES.get(i)) else {
            return Ok(None);
        };
        let n = row & ((1 << TABLE_SHIFT) - 1);
        let SearchTable {
            table,
            key,
            columns,
            visible,
        } = source;
        let sql = format!("SELECT {columns} FROM {table} WHERE {key} = ?1 AND {visible}");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let hit = statement.query_row(params![n, now], |row| {
            let mut values = RowReader::new(row);
            let mut hit = SearchHit {
                table,
                id: values.text(),
                thread_id: values.text(),
                message_seq: values.maybe_int(),
                to_inbox: values.text(),
                task_id: values.text(),
                from: values.text(),
                title: values.text(),
                ..SearchHit::default()
            };
            hit.snippet = query.snippet(&values.text());
            hit.created_at = values.int();
            Ok(hit)
        });
        let Some(mut hit) = hit.optional()? else {
            return Ok(None);
        };
        hit.verified = hit.from == HUMAN
            && match *table {
                "messages" => self.message_row(n)?.is_some_and(|row| row.verified),
                "inbox_messages" => self.inbox_row(n)?.is_some_and(|row| row.verified),
                _ => false,
            };
        Ok(Some(hit))
    }
}

/// An open search index.
struct SearchIndex {
    conn: Connection,
}

impl SearchIndex {
    /// Opens the index of the database at `db`, creating it if needed. If this user cannot write to the
    /// directory, the index is in memory, for one search.
    fn open_or_build(db: &Path) -> Result<Self> {
        let directory = db.parent().unwrap_or(db);
        if access(directory, Access::WRITE_OK).is_ok() {
            return Self::open(db);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY;
        let conn = connect(Path::new(":memory:"), flags)?;
        conn.execute_batch(SCHEMA)?;
        Ok(Self { conn })
    }

    /// Opens the index of the database at `db`, creating it if needed.
    fn open(db: &Path) -> Result<Self> {
        let path = Self::path(db);
        // Created with its mode first: SQLite gives the `-wal` and `-shm` files the same mode.
        private_file::ensure(&path, Owner::of(db), "delete it; the next search creates it again")?;
        let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            // Another process may switch the mode at the same time.
            retry_while_busy(|| conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())))?;
            let transaction = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
            // Another process may have created the schema while this one waited.
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
            // The file may not exist. If it cannot be removed, the next search reports that.
            drop(fs::remove_file(beside(&Self::path(db), suffix)));
        }
    }

    /// Adds at most [`STEP_ROWS`] rows of each table. Returns whether more rows are left.
    fn update_from(&self, reader: &Reader) -> Result<bool> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let more = reader.snapshot(|| {
            if !self.belongs_to(reader)? {
                transaction.execute_batch("INSERT INTO words(words) VALUES('delete-all'); DELETE FROM about;")?;
            }
            let mut more = false;
            for (i, source) in TABLES.iter().enumerate() {
                let base = i64::try_from(i << TABLE_SHIFT).unwrap_or(0);
                more |= self.add_rows(reader, source, base)?;
                self.remove_pruned_rows(reader, source, base)?;
            }
            let head = reader.head()?;
            self.set_value("epoch", reader.epoch()?)?;
            self.set_value("seq", head.seq)?;
            self.set_value("tag", head.tag)?;
            Ok(more)
        })?;
        transaction.commit()?;
        Ok(more)
    }

    /// Returns whether the index was built from this database and its current history. True for a new
    /// index.
    fn belongs_to(&self, reader: &Reader) -> Result<bool> {
        let Some(epoch) = self.value::<String>("epoch")? else {
            return Ok(true);
        };
        let seq = self.value("seq")?.unwrap_or(0);
        let tag = self.value::<i64>("tag")?.unwrap_or(0);
        Ok(epoch == reader.epoch()? && (seq == 0 || reader.pos_at(seq)?.is_some_and(|pos| pos.tag == tag)))
    }

    fn add_rows(&self, reader: &Reader, source: &SearchTable, base: i64) -> Result<bool> {
        let SearchTable {
            table, key, columns, ..
        } = source;
        let mut last: i64 = self.value(table)?.unwrap_or(0);
        let sql = format!("SELECT {columns}, {key} FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
        let mut statement = reader.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![last, STEP_ROWS])?;
        let mut add = self
            .conn
            .prepare_cached("INSERT INTO words(rowid, title, body) VALUES(?1, ?2, ?3)")?;
        let mut added = 0;
        while let Some(row) = rows.next()? {
            let mut values = RowReader::starting_at(row, 6);
            let (title, body) = (values.text(), values.text());
            last = row.get(9)?;
            add.execute(params![base + last, title, body])?;
            added += 1;
        }
        self.set_value(table, last)?;
        Ok(added == STEP_ROWS)
    }

    /// Removes the words of rows that were pruned.
    fn remove_pruned_rows(&self, reader: &Reader, source: &SearchTable, base: i64) -> Result<()> {
        let (table, key) = (source.table, source.key);
        let sql = format!("SELECT coalesce(min({key}), 1) FROM {table}");
        let first: i64 = reader.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        let name = format!("{table} from");
        if self.value(&name)?.unwrap_or(1) < first {
            self.conn.execute(
                "DELETE FROM words WHERE rowid BETWEEN ?1 AND ?2",
                params![base, base + first - 1],
            )?;
            self.set_value(&name, first)?;
        }
        Ok(())
    }

    fn value<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM about WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    fn set_value(&self, key: &str, value: impl rusqlite::ToSql) -> Result<()> {
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
    use super::super::test_support::temp_database;
    use super::super::{Author, NetworkFs, NewInboxMessage, NewMessage, Writer};
    use super::*;
    use crate::config::HUMAN;

    #[test]
    fn finds_only_visible_rows() {
        let (_dir, writer) = temp_database();
        let found = |query: &str| -> Vec<String> {
            let hits = writer.search(query, 10, 1_000).unwrap();
            hits.into_iter().map(|hit| hit.snippet).collect()
        };
        assert_eq!(found("tests"), Vec::<String>::new());
        writer
            .post_message(&NewMessage::new("build", "planner", "tests are\n green"))
            .unwrap();
        writer
            .send(&NewInboxMessage::new("planner", "reviewer", "the Änderung is in"))
            .unwrap();
        let mut gone = NewInboxMessage::new("planner", "reviewer", "tests expired");
        gone.expires_at = Some(999);
        writer.send(&gone).unwrap();
        assert_eq!(found("TESTS gre*"), ["tests are green"]);
        assert_eq!(found("anderung"), ["the Änderung is in"]);
        assert_eq!(found("tests -green"), Vec::<String>::new());
        writer.conn.execute("UPDATE messages SET deleted_at = 1", []).unwrap();
        assert_eq!(found("tests"), Vec::<String>::new());
    }

    #[test]
    fn marks_rows_that_the_person_wrote() {
        let (_dir, writer) = temp_database();
        for author in [Author::Person, Author::Program] {
            let message = NewMessage {
                author,
                ..NewMessage::new("build", HUMAN, format!("message by {author:?}"))
            };
            writer.post_message(&message).unwrap();
            let mail = NewInboxMessage {
                author,
                ..NewInboxMessage::new(HUMAN, "planner", format!("mail by {author:?}"))
            };
            writer.send(&mail).unwrap();
        }
        let found = |query: &str| -> Vec<bool> {
            let hits = writer.search(query, 10, 1_000).unwrap();
            hits.into_iter().map(|hit| hit.verified).collect()
        };
        assert_eq!(found("person"), [true, true]);
        assert_eq!(found("program"), [false, false]);
    }

    #[test]
    fn rebuilds_the_index_of_another_database() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| Writer::open(&dir.path().join(name), NetworkFs::Refuse).unwrap();
        let (a, b) = (open("a.db"), open("b.db"));
        a.post_message(&NewMessage::new("t", "x", "apple")).unwrap();
        b.post_message(&NewMessage::new("t", "x", "banana")).unwrap();
        assert_eq!(a.search("apple", 9, 0).unwrap().len(), 1);
        fs::copy(dir.path().join("a.db.search"), dir.path().join("b.db.search")).unwrap();
        drop(fs::copy(
            dir.path().join("a.db.search-wal"),
            dir.path().join("b.db.search-wal"),
        ));
        assert_eq!(b.search("banana", 9, 0).unwrap().len(), 1);
        assert_eq!(b.search("apple", 9, 0).unwrap(), []);
        fs::write(
            dir.path().join("b.db.search"),
            "not a database, but long enough to be one",
        )
        .unwrap();
        assert_eq!(b.search("banana", 9, 0).unwrap().len(), 1);
    }
}

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
//! 4. A search whose index has all rows only reads. So it does not wait for another process that updates
//!    the index.
//! 5. A damaged index is deleted and built again. An error of the database leaves the index as it is.

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
use crate::error::{Code, Error, Result};
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
            Err(failure) if failure.is_damaged_index() => {
                SearchIndex::remove(self.path());
                Ok(self.search_index(&query, from, now)?)
            }
            outcome => Ok(outcome?),
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
        Ok(SearchIndex::open(self.path())?.update_from(self)?)
    }

    fn search_index(
        &self,
        query: &SearchQuery,
        from: (usize, usize),
        now: i64,
    ) -> Result<(Vec<SearchHit>, Option<usize>), Failure> {
        let (skip, limit) = from;
        let index = SearchIndex::open_or_build(self.path())?;
        if !index.has_all_rows(self)? {
            while index.update_from(self)? {}
        }
        let mut statement = index
            .conn
            .prepare("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY bm25(words, 4.0, 1.0)")
            .map_err(of_index)?;
        let mut found = statement.query([&query.expression]).map_err(of_index)?;
        let (mut hits, mut matches, mut weight) = (Vec::new(), 0, 0);
        while let Some(row) = found.next().map_err(of_index)? {
            if hits.len() == limit || weight > PAGE_BYTES {
                return Ok((hits, Some(matches)));
            }
            matches += 1;
            if matches > skip
                && let Some(hit) = self
                    .hit(row.get(0).map_err(of_index)?, query, now)
                    .map_err(Failure::Database)?
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

/// An error of a search, by the file that has caused it.
#[derive(Debug)]
enum Failure {
    Index(Error),
    Database(Error),
}

impl Failure {
    /// Returns whether the index must be built again.
    fn is_damaged_index(&self) -> bool {
        match self {
            // A missing table is an internal error, as any error in an SQL statement.
            Self::Index(error) => matches!(error.code(), Code::StoreCorrupt | Code::StoreForeign | Code::Internal),
            Self::Database(_) => false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Index(error) | Failure::Database(error) => error,
        }
    }
}

fn of_index(error: rusqlite::Error) -> Failure {
    Failure::Index(error.into())
}

fn of_database(error: rusqlite::Error) -> Failure {
    Failure::Database(error.into())
}

/// An open search index.
struct SearchIndex {
    conn: Connection,
}

impl SearchIndex {
    /// Opens the index of the database at `db`, creating it if needed. If this user cannot write to the
    /// directory, the index is in memory, for one search.
    fn open_or_build(db: &Path) -> Result<Self, Failure> {
        let directory = db.parent().unwrap_or(db);
        if access(directory, Access::WRITE_OK).is_ok() {
            return Self::open(db);
        }
        Self::build_in_memory().map_err(Failure::Index)
    }

    fn build_in_memory() -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY;
        let conn = connect(Path::new(":memory:"), flags)?;
        conn.execute_batch(SCHEMA)?;
        Ok(Self { conn })
    }

    /// Opens the index of the database at `db`, creating it if needed.
    fn open(db: &Path) -> Result<Self, Failure> {
        Self::open_or_create(db).map_err(Failure::Index)
    }

    fn open_or_create(db: &Path) -> Result<Self> {
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

    /// Returns whether the index has all rows of the database and no other ones. Only reads.
    fn has_all_rows(&self, reader: &Reader) -> Result<bool, Failure> {
        let check = || {
            if !self.belongs_to(reader)? {
                return Ok(false);
            }
            for source in &TABLES {
                let SearchTable { table, key, .. } = source;
                let sql = format!("SELECT coalesce(max({key}), 0) FROM {table}");
                let last: i64 = reader
                    .conn
                    .prepare_cached(&sql)
                    .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                    .map_err(of_database)?;
                if self.value(table)?.unwrap_or(0) < last || self.pruned_rows(reader, source)?.is_some() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        reader.snapshot(|| Ok(check())).map_err(Failure::Database)?
    }

    /// Adds at most [`STEP_ROWS`] rows of each table. Returns whether more rows are left.
    fn update_from(&self, reader: &Reader) -> Result<bool, Failure> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate).map_err(of_index)?;
        let update = || {
            if !self.belongs_to(reader)? {
                transaction
                    .execute_batch("INSERT INTO words(words) VALUES('delete-all'); DELETE FROM about;")
                    .map_err(of_index)?;
            }
            let mut more = false;
            for (i, source) in TABLES.iter().enumerate() {
                let base = i64::try_from(i << TABLE_SHIFT).unwrap_or(0);
                more |= self.add_rows(reader, source, base)?;
                self.remove_pruned_rows(reader, source, base)?;
            }
            let head = reader.head().map_err(Failure::Database)?;
            self.set_value("epoch", reader.epoch().map_err(Failure::Database)?)?;
            self.set_value("seq", head.seq)?;
            self.set_value("tag", head.tag)?;
            Ok(more)
        };
        let more = reader.snapshot(|| Ok(update())).map_err(Failure::Database)??;
        transaction.commit().map_err(of_index)?;
        Ok(more)
    }

    /// Returns whether the index was built from this database and its current history. True for a new
    /// index.
    fn belongs_to(&self, reader: &Reader) -> Result<bool, Failure> {
        let Some(epoch) = self.value::<String>("epoch")? else {
            return Ok(true);
        };
        let seq = self.value("seq")?.unwrap_or(0);
        let tag = self.value::<i64>("tag")?.unwrap_or(0);
        let is_current =
            || Ok(epoch == reader.epoch()? && (seq == 0 || reader.pos_at(seq)?.is_some_and(|pos| pos.tag == tag)));
        is_current().map_err(Failure::Database)
    }

    fn add_rows(&self, reader: &Reader, source: &SearchTable, base: i64) -> Result<bool, Failure> {
        let SearchTable {
            table, key, columns, ..
        } = source;
        let mut last: i64 = self.value(table)?.unwrap_or(0);
        let sql = format!("SELECT {columns}, {key} FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
        let mut statement = reader.conn.prepare_cached(&sql).map_err(of_database)?;
        let mut rows = statement.query(params![last, STEP_ROWS]).map_err(of_database)?;
        let mut add = self
            .conn
            .prepare_cached("INSERT INTO words(rowid, title, body) VALUES(?1, ?2, ?3)")
            .map_err(of_index)?;
        let mut added = 0;
        while let Some(row) = rows.next().map_err(of_database)? {
            let mut values = RowReader::starting_at(row, 6);
            let (title, body) = (values.text(), values.text());
            last = row.get(9).map_err(of_database)?;
            add.execute(params![base + last, title, body]).map_err(of_index)?;
            added += 1;
        }
        self.set_value(table, last)?;
        Ok(added == STEP_ROWS)
    }

    /// Returns the first row of the table, if rows before it were pruned whose words are in the index.
    fn pruned_rows(&self, reader: &Reader, source: &SearchTable) -> Result<Option<i64>, Failure> {
        let (table, key) = (source.table, source.key);
        let sql = format!("SELECT coalesce(min({key}), 1) FROM {table}");
        let first: i64 = reader
            .conn
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(of_database)?;
        let indexed = self.value(&format!("{table} from"))?.unwrap_or(1);
        Ok(Some(first).filter(|first| indexed < *first))
    }

    /// Removes the words of rows that were pruned.
    fn remove_pruned_rows(&self, reader: &Reader, source: &SearchTable, base: i64) -> Result<(), Failure> {
        if let Some(first) = self.pruned_rows(reader, source)? {
            let sql = "DELETE FROM words WHERE rowid BETWEEN ?1 AND ?2";
            self.conn
                .execute(sql, params![base, base + first - 1])
                .map_err(of_index)?;
            self.set_value(&format!("{} from", source.table), first)?;
        }
        Ok(())
    }

    fn value<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>, Failure> {
        self.conn
            .prepare_cached("SELECT value FROM about WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
            .map_err(of_index)
    }

    fn set_value(&self, key: &str, value: impl rusqlite::ToSql) -> Result<(), Failure> {
        let sql = "INSERT INTO about(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![key, value]))
            .map(drop)
            .map_err(of_index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::super::{Author, NetworkFs, NewInboxMessage, NewMessage, Writer};
    use super::*;
    use crate::config::HUMAN;
    use crate::store::busy_retry::with_busy_timeout;

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

    /// Identifies the index file, which is another one after it was deleted.
    fn inode(writer: &Writer) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(SearchIndex::path(writer.path())).unwrap().ino()
    }

    #[test]
    fn only_damage_of_the_index_deletes_it() {
        let (_dir, writer) = temp_database();
        writer
            .post_message(&NewMessage::new("build", "planner", "apple"))
            .unwrap();
        assert_eq!(writer.search("apple", 9, 0).unwrap().len(), 1);
        let index = inode(&writer);
        // The database lacks a table, both when rows are added and when results are read.
        writer
            .post_message(&NewMessage::new("build", "planner", "another apple"))
            .unwrap();
        for (table, query) in [("task_stream", "another"), ("messages", "apple")] {
            let rename = |from: &str, to: &str| {
                let sql = format!("PRAGMA legacy_alter_table = ON; ALTER TABLE {from} RENAME TO {to}");
                writer.conn.execute_batch(&sql).unwrap();
            };
            rename(table, "gone");
            let error = writer.search(query, 9, 0).unwrap_err();
            assert!(error.message().contains(table), "{error}");
            rename("gone", table);
            assert_eq!(inode(&writer), index, "{table}");
        }
        assert_eq!(writer.search("apple", 9, 0).unwrap().len(), 2);
        assert_eq!(inode(&writer), index);

        let damage = SearchIndex::open(writer.path()).unwrap();
        damage.conn.execute_batch("DROP TABLE about").unwrap();
        assert_eq!(writer.search("apple", 9, 0).unwrap().len(), 2);
        // The damaged file is still open, so that the new one has another inode.
        assert_ne!(inode(&writer), index);
        drop(damage);
    }

    /// Another process that updates the index holds its write lock.
    #[test]
    fn a_search_only_reads_if_the_index_has_all_rows() {
        let (_dir, writer) = temp_database();
        writer
            .post_message(&NewMessage::new("build", "planner", "apple"))
            .unwrap();
        writer
            .send(&NewInboxMessage::new("planner", "reviewer", "apple"))
            .unwrap();
        assert_eq!(writer.search("apple", 9, 0).unwrap().len(), 2);
        // A change that adds no row.
        writer
            .conn
            .execute("UPDATE inbox_messages SET status = 'read'", [])
            .unwrap();
        let other = SearchIndex::open(writer.path()).unwrap();
        other.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        let search = || with_busy_timeout(std::time::Duration::ZERO, || writer.search("apple", 9, 0));
        assert_eq!(search().unwrap().len(), 2);
        writer
            .post_message(&NewMessage::new("build", "planner", "a new apple"))
            .unwrap();
        assert_eq!(search().unwrap_err().code(), Code::StoreLocked);
        other.conn.execute_batch("ROLLBACK").unwrap();
        assert_eq!(search().unwrap().len(), 3);
    }

    #[test]
    fn words_of_pruned_rows_leave_the_index() {
        let (_dir, writer) = temp_database();
        for text in ["apple", "banana", "cherry"] {
            writer.post_message(&NewMessage::new("build", "planner", text)).unwrap();
        }
        assert_eq!(writer.search("apple", 9, 0).unwrap().len(), 1);
        let prune = "INSERT INTO hub(key) VALUES('pruning'); DELETE FROM messages WHERE n = 1; \
            DELETE FROM hub WHERE key = 'pruning'";
        writer.conn.execute_batch(prune).unwrap();
        assert_eq!(writer.search("banana", 9, 0).unwrap().len(), 1);
        let index = SearchIndex::open(writer.path()).unwrap();
        let words = "SELECT count(*) FROM words WHERE words MATCH 'apple'";
        let left: i64 = index.conn.query_row(words, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}

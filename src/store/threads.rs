//! The `threads` table: creating and changing threads, and listing them by activity.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::Written;
use super::connection::{Reader, Writer};
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::error::{Code, Error, Result};
use crate::protocol::ThreadStateEvent;

/// The columns of a [`ThreadRow`], in the order in which [`ThreadRow::read_lossy_at`] reads them.
pub(super) const COLUMNS: &str = "t.n, t.id, t.title, t.created_at, t.created_by_type, t.created_by_id, t.status, \
     t.context_json, t.last_seq, t.updated_at";

/// One row of the `threads` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ThreadRow {
    /// Primary key.
    #[serde(skip)]
    pub n: i64,
    /// The thread's id.
    pub id: String,
    /// The title.
    pub title: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// human, agent, system …
    pub created_by_type: String,
    /// The creator.
    pub created_by_id: String,
    /// active, paused, resolved, archived.
    pub status: String,
    /// JSON: `{"target_agent","workspace"}`.
    pub context_json: String,
    /// `message_seq` of the newest message.
    pub last_seq: i64,
    /// When the newest message was posted, Unix milliseconds.
    pub updated_at: i64,
}

impl ThreadRow {
    /// Reads the row whose columns start at `offset`. Fails if a value is invalid.
    pub(super) fn read_at(row: &rusqlite::Row<'_>, offset: usize) -> Result<Self, UnreadableRow> {
        let (thread, values) = Self::read_lossy_at(row, offset);
        values.accept("threads", thread.n, thread)
    }

    /// Reads the row whose columns start at `offset`. Converts invalid values.
    fn read_lossy_at<'r>(row: &'r rusqlite::Row<'r>, offset: usize) -> (Self, RowReader<'r>) {
        let mut values = RowReader::starting_at(row, offset);
        let thread = Self {
            n: values.int(),
            id: values.name(),
            title: values.text(),
            created_at: values.int(),
            created_by_type: values.text(),
            created_by_id: values.text(),
            status: values.text(),
            context_json: values.text(),
            last_seq: values.int(),
            updated_at: values.int(),
        };
        (thread, values)
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.id,
            &self.title,
            &self.created_by_type,
            &self.created_by_id,
            &self.status,
            &self.context_json,
        ];
        100 + texts.iter().map(|text| text.len()).sum::<usize>()
    }

    /// Returns the thread's state as a wire event.
    pub fn event(&self) -> ThreadStateEvent {
        ThreadStateEvent {
            thread_id: self.id.clone(),
            status: self.status.clone(),
            last_seq: self.last_seq,
            updated_at: self.updated_at,
            title: self.title.clone(),
        }
    }
}

/// A thread to create: the body of `POST /api/threads`. A field that is `None` gets the database's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewThread {
    /// The thread's id.
    pub id: String,
    /// The title.
    pub title: Option<String>,
    /// human, agent, system …
    pub created_by_type: Option<String>,
    /// The creator's name.
    pub created_by_id: Option<String>,
    /// JSON: `{"target_agent","workspace"}`.
    pub context_json: Option<String>,
}

impl NewThread {
    /// Returns whether creating this thread would have created `row`. Title and context can change
    /// later and are not compared, but a title given for a thread without one is a conflict, so that it
    /// is not silently dropped.
    fn matches(&self, row: &ThreadRow) -> bool {
        let same = |given: &Option<String>, found: &str| given.as_ref().is_none_or(|g| g == found);
        let has_title = self.title.as_ref().is_some_and(|title| !title.is_empty());
        same(&self.created_by_type, &row.created_by_type)
            && same(&self.created_by_id, &row.created_by_id)
            && !(has_title && row.title.is_empty())
    }
}

impl Reader {
    /// Returns at most `limit` threads, and about 8 MiB, most recently updated first. `after` is
    /// `(updated_at, n)` of the last thread of the previous page.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn threads(&self, after: Option<(i64, i64)>, limit: usize) -> Result<Page<ThreadRow>> {
        let (updated_at, n) = after.unwrap_or((i64::MAX, i64::MAX));
        let sql = format!(
            "SELECT {COLUMNS} FROM threads t WHERE (t.updated_at, t.n) < (?1, ?2) ORDER BY t.updated_at DESC, t.n DESC LIMIT ?3"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let found = statement.query(params![updated_at, n, rows])?;
        let read = |row: &rusqlite::Row<'_>| Some(Self::read_lossy(row));
        Page::draw(found, limit, PAGE_BYTES, read, ThreadRow::weight)
    }

    /// Returns the thread with this id.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn thread(&self, id: &str) -> Result<Option<ThreadRow>> {
        let sql = format!("SELECT {COLUMNS} FROM threads t WHERE t.id = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(Self::read_lossy(row)))
            .optional()?)
    }

    /// Returns the thread with this id.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; a `Store…` code.
    pub fn require_thread(&self, id: &str) -> Result<ThreadRow> {
        self.thread(id)?.ok_or_else(|| {
            let id: String = id.chars().take(80).collect();
            Error::new(
                Code::NotFound,
                format!("there is no thread {id:?}; run agenthub threads to list them"),
            )
        })
    }

    pub(super) fn thread_row(&self, n: i64) -> Result<Option<Result<ThreadRow, UnreadableRow>>> {
        let sql = format!("SELECT {COLUMNS} FROM threads t WHERE t.n = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([n], |row| Ok(ThreadRow::read_at(row, 0)))
            .optional()?)
    }

    fn read_lossy(row: &rusqlite::Row<'_>) -> ThreadRow {
        ThreadRow::read_lossy_at(row, 0).0
    }
}

impl Writer {
    /// Creates a thread. Creating the same thread again returns the existing row.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the id exists with another creator or without the given title,
    /// [`Code::Invalid`] if the schema rejects a value, a `Store…` code.
    pub fn create_thread(&self, new: &NewThread) -> Result<Written<ThreadRow>> {
        self.atomically(|| {
            if let Some(thread) = self.thread(&new.id)? {
                return if new.matches(&thread) {
                    Ok(Written::Existed(thread))
                } else {
                    Err(Error::new(
                        Code::Conflict,
                        format!(
                            "thread {} already exists with another creator or without this title; PATCH it to change its title, or use a new id",
                            new.id
                        ),
                    ))
                };
            }
            self.conn
                .prepare_cached(
                    "INSERT INTO threads(id, title, created_by_type, created_by_id, context_json) \
                     VALUES(?1, coalesce(?2, ''), coalesce(?3, 'agent'), coalesce(?4, ''), ?5)",
                )?
                .execute(params![
                    new.id,
                    new.title,
                    new.created_by_type,
                    new.created_by_id,
                    new.context_json
                ])?;
            self.thread(&new.id)?
                .map(Written::Created)
                .ok_or_else(|| Error::new(Code::Internal, "the thread just created is missing"))
        })
    }

    /// Changes a thread's status and title; `None` keeps the current value.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such thread, [`Code::Invalid`] if the status is empty or
    /// the schema rejects a value, a `Store…` code.
    pub fn change_thread(&self, id: &str, status: Option<&str>, title: Option<&str>) -> Result<ThreadRow> {
        if status.is_some_and(|word| word.trim().is_empty()) {
            return Err(Error::new(
                Code::Invalid,
                "the status is empty; use active, paused, resolved or archived",
            ));
        }
        self.atomically(|| {
            self.require_thread(id)?;
            self.conn
                .prepare_cached(
                    "UPDATE threads SET status = coalesce(?2, status), title = coalesce(?3, title) WHERE id = ?1",
                )?
                .execute(params![id, status, title])?;
            self.require_thread(id)
        })
    }
}

//! Thread messages: writing one, and reading a thread from a number on.
//!
//! For: the messages table.
//! Not for: threads' own rows (`threads`), or the order over all tables (`changes`).

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::changes::Position;
use super::connection::{Reader, Writer};
use super::default_sender::{human, human_if_null};
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::RowReader;
use super::{Written, changes};
use crate::error::{Code, Error, Result};
use crate::protocol::MessageEvent;

/// The columns of a [`MessageRow`], in the order it reads them.
pub(super) const COLUMNS: &str = "m.n, m.id, m.thread_id, m.message_seq, m.created_at, m.from_type, m.from_id, \
     m.to_type, m.to_id, m.kind, m.subject, m.content, m.metadata_json, m.reply_to, m.delivery_state, \
     m.business_state, m.deleted_at";
/// How many of them there are.
pub(super) const WIDTH: usize = 17;

/// One row of the messages table, readable whatever its writer put there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// The row's number.
    #[serde(skip)]
    pub n: i64,
    /// Unique id.
    pub id: String,
    /// The thread.
    pub thread_id: String,
    /// 1, 2, 3 … within the thread.
    pub message_seq: i64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// human, agent, system …
    pub from_type: String,
    /// Who wrote it.
    pub from_id: String,
    /// As `from_type`, also broadcast.
    pub to_type: String,
    /// Whom it is for.
    pub to_id: String,
    /// directive, question, proposal, status, result …
    pub kind: String,
    /// A subject line.
    pub subject: String,
    /// The text; empty once the message is deleted.
    pub content: String,
    /// JSON of the writer's own.
    pub metadata_json: String,
    /// The id of the message this one answers.
    pub reply_to: String,
    /// pending …
    pub delivery_state: String,
    /// open …
    pub business_state: String,
    /// When it was deleted, Unix milliseconds.
    pub deleted_at: Option<i64>,
    /// What could not be read as it is: empty if all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub degraded: String,
}

impl MessageRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Self {
        let mut cells = RowReader::new(row);
        let mut message = Self {
            n: cells.int(),
            id: cells.text(),
            thread_id: cells.name(),
            message_seq: cells.int(),
            created_at: cells.int(),
            from_type: cells.text(),
            from_id: cells.text(),
            to_type: cells.text(),
            to_id: cells.text(),
            kind: cells.text(),
            subject: cells.text(),
            content: cells.text(),
            metadata_json: cells.text(),
            reply_to: cells.text(),
            delivery_state: cells.text(),
            business_state: cells.text(),
            deleted_at: cells.maybe_int(),
            degraded: String::new(),
        };
        message.degraded = cells.problem().unwrap_or_default();
        if message.deleted_at.is_some() {
            message.subject.clear();
            message.content.clear();
            message.metadata_json.clear();
        }
        message
    }

    /// The message as the seed's clients know it.
    pub fn event(&self) -> MessageEvent {
        MessageEvent {
            id: self.id.clone(),
            thread_id: self.thread_id.clone(),
            message_seq: self.message_seq,
            created_at: self.created_at,
            from_type: self.from_type.clone(),
            from_id: self.from_id.clone(),
            to_type: self.to_type.clone(),
            to_id: self.to_id.clone(),
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            content: self.content.clone(),
            metadata_json: self.metadata_json.clone(),
            degraded: !self.degraded.is_empty(),
            reply_to: String::new(),
        }
    }

    /// The message with what came after the seed.
    pub fn extended(&self) -> MessageEvent {
        MessageEvent {
            reply_to: self.reply_to.clone(),
            ..self.event()
        }
    }

    /// Roughly the bytes it takes in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.id,
            &self.thread_id,
            &self.from_type,
            &self.from_id,
            &self.to_type,
            &self.to_id,
            &self.kind,
            &self.subject,
            &self.content,
            &self.metadata_json,
            &self.reply_to,
            &self.delivery_state,
            &self.business_state,
        ];
        200 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// A message to write: the body of `POST /api/threads/{id}/messages`. A field that is `None` gets the
/// database's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Unique id; the database generates one if it is `None`.
    pub id: Option<String>,
    /// The thread. In HTTP it is part of the path.
    #[serde(skip)]
    pub thread_id: String,
    /// human, agent, system …
    pub from_type: Option<String>,
    /// The sender's name; in a body without it, the person's.
    #[serde(default = "human", deserialize_with = "human_if_null")]
    pub from_id: String,
    /// As `from_type`, also broadcast.
    pub to_type: Option<String>,
    /// The recipient's name.
    pub to_id: Option<String>,
    /// directive, question, proposal, status, result …
    pub kind: Option<String>,
    /// A subject line.
    pub subject: Option<String>,
    /// The text.
    pub content: String,
    /// JSON with a meaning that only the sender defines.
    pub metadata_json: Option<String>,
    /// The id of the message this one answers.
    pub reply_to: Option<String>,
}

impl NewMessage {
    /// A message with nothing but the required fields and a text.
    pub fn new(thread_id: impl Into<String>, from_id: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            thread_id: thread_id.into(),
            from_id: from_id.into(),
            content: content.into(),
            ..Self::default()
        }
    }

    /// Whether `row` is what this message would have become.
    fn is(&self, row: &MessageRow) -> bool {
        let same = |given: &Option<String>, found: &str| given.as_ref().is_none_or(|g| g == found);
        self.thread_id == row.thread_id
            && self.from_id == row.from_id
            && (self.content == row.content || row.deleted_at.is_some())
            && same(&self.from_type, &row.from_type)
            && same(&self.to_type, &row.to_type)
            && same(&self.to_id, &row.to_id)
            && same(&self.kind, &row.kind)
            && (same(&self.subject, &row.subject) || row.deleted_at.is_some())
            && (same(&self.metadata_json, &row.metadata_json) || row.deleted_at.is_some())
            && same(&self.reply_to, &row.reply_to)
    }
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After this `message_seq`; 0 is before the first that is kept.
    After(i64),
    /// After the last one this instance has acknowledged.
    LastAck,
}

/// A run of one thread's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadPage {
    /// In order of `message_seq`.
    pub messages: Vec<MessageRow>,
    /// There are more after these.
    pub has_more: bool,
}

impl From<Page<MessageRow>> for ThreadPage {
    fn from(page: Page<MessageRow>) -> Self {
        Self {
            messages: page.items,
            has_more: page.has_more,
        }
    }
}

/// What a subscription starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadOpening {
    /// The number to continue after.
    pub after: i64,
    /// The first number the file still has; `last_seq + 1` if it has none.
    pub first_seq: i64,
    /// The thread's newest number; 0 if it has none.
    pub last_seq: i64,
    /// The id of the message at `after`, if the file still has it.
    pub id_at: Option<String>,
}

impl Reader {
    /// At most `rows` messages and about `bytes` bytes of a thread after `after`; one
    /// larger message comes alone. `anchor` is a position the log is known to have.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the log no longer has `anchor`; a `Store…` code.
    pub fn thread_page(
        &self,
        thread_id: &str,
        after: i64,
        rows: usize,
        bytes: usize,
        anchor: Position,
    ) -> Result<ThreadPage> {
        self.snapshot(|| {
            changes::demand(&self.conn, anchor)?;
            self.page(thread_id, after, rows, bytes)
        })
    }

    /// As [`Reader::thread_page`], for readers that keep no position; about 8 MiB at most.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn messages_after(&self, thread_id: &str, after: i64, rows: usize) -> Result<ThreadPage> {
        self.page(thread_id, after, rows, PAGE_BYTES)
    }

    /// The last `rows` messages of a thread before `before`, in order; about 8 MiB at most.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn messages_before(&self, thread_id: &str, before: i64, rows: usize) -> Result<ThreadPage> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.thread_id = ?1 AND m.message_seq < ?2 \
             ORDER BY m.message_seq DESC LIMIT ?3"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(1);
        let found = statement.query(params![thread_id, before, limit])?;
        let read = |row: &rusqlite::Row<'_>| Some(MessageRow::read(row));
        let mut page = Page::draw(found, rows, PAGE_BYTES, read, MessageRow::weight)?;
        page.items.reverse();
        Ok(page.into())
    }

    /// What a subscription of `instance` to a thread starts from.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the log no longer has `anchor`; a `Store…` code.
    pub fn open_thread(
        &self,
        instance: &str,
        thread_id: &str,
        start: Start,
        anchor: Position,
    ) -> Result<ThreadOpening> {
        self.snapshot(|| {
            changes::demand(&self.conn, anchor)?;
            let after = match start {
                Start::After(seq) => seq,
                Start::LastAck => self.last_ack(instance, thread_id)?,
            };
            let last_seq = self
                .conn
                .prepare_cached("SELECT last_seq FROM threads WHERE id = ?1")?
                .query_row([thread_id], |row| row.get(0))
                .optional()?
                .unwrap_or(0);
            let first_seq = self
                .conn
                .prepare_cached(
                    "SELECT min(message_seq) FROM messages WHERE thread_id = ?1 AND message_seq IS NOT NULL",
                )?
                .query_row([thread_id], |row| row.get::<_, Option<i64>>(0))?
                .unwrap_or(last_seq + 1);
            let id_at = self
                .conn
                .prepare_cached("SELECT id FROM messages WHERE thread_id = ?1 AND message_seq = ?2")?
                .query_row(params![thread_id, after], |row| Ok(RowReader::new(row).text()))
                .optional()?;
            Ok(ThreadOpening {
                after,
                first_seq,
                last_seq,
                id_at,
            })
        })
    }

    /// The message with this id, or `None`.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn message(&self, id: &str) -> Result<Option<MessageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE m.id = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement.query_row([id], |row| Ok(MessageRow::read(row))).optional()?)
    }

    fn page(&self, thread_id: &str, after: i64, rows: usize, bytes: usize) -> Result<ThreadPage> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.thread_id = ?1 AND m.message_seq > ?2 ORDER BY m.message_seq LIMIT ?3"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        // One more than asked for tells whether there are more.
        let limit = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(1);
        let found = statement.query(params![thread_id, after, limit])?;
        let read = |row: &rusqlite::Row<'_>| Some(MessageRow::read(row));
        Ok(Page::draw(found, rows, bytes, read, MessageRow::weight)?.into())
    }
}

impl Writer {
    /// Writes a message. An id that is there already is no error if the content is the same.
    ///
    /// # Errors
    /// [`Code::Conflict`] for an id with other content, [`Code::Invalid`] for what the
    /// file refuses, a `Store…` code.
    pub fn post_message(&self, new: &NewMessage) -> Result<Written<MessageRow>> {
        self.atomically(|| {
            if let Some(id) = &new.id
                && let Some(row) = self.message(id)?
            {
                return if new.is(&row) {
                    Ok(Written::Existed(row))
                } else {
                    Err(Error::new(
                        Code::Conflict,
                        format!("a message with the id {id} exists with other content; give a new id"),
                    ))
                };
            }
            // Stepped to the end: a statement left half-way never checkpoints.
            self.conn
                .prepare_cached(
                    "INSERT INTO messages(id, thread_id, from_type, from_id, to_type, to_id, kind, subject, content, \
                     metadata_json, reply_to) VALUES(coalesce(?1, lower(hex(randomblob(16)))), ?2, coalesce(?3, 'agent'), \
                     ?4, ?5, ?6, coalesce(?7, 'status'), ?8, ?9, ?10, ?11)",
                )?
                .execute(params![
                    new.id,
                    new.thread_id,
                    new.from_type,
                    new.from_id,
                    new.to_type,
                    new.to_id,
                    new.kind,
                    new.subject,
                    new.content,
                    new.metadata_json,
                    new.reply_to,
                ])?;
            let sql = format!("SELECT {COLUMNS} FROM messages m WHERE m.n = ?1");
            let mut statement = self.conn.prepare_cached(&sql)?;
            let row = statement.query_row([self.conn.last_insert_rowid()], |row| Ok(MessageRow::read(row)))?;
            Ok(Written::Created(row))
        })
    }
}

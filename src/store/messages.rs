//! The `messages` table: posting a message, and reading a thread's messages by `message_seq`.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::connection::{Reader, Writer};
use super::pagination::{PAGE_BYTES, Page};
use super::position::Position;
use super::proof::{self, Author, Proofs, RowKind};
use super::row_reader::RowReader;
use super::secrets::random_hex;
use super::sender_field::empty_if_null;
use super::{Written, position};
use crate::config::HUMAN;
use crate::error::{Code, Error, Result};
use crate::protocol::{MessageEvent, now_ms};

/// The columns of a [`MessageRow`], in the order in which [`MessageRow::read`] reads them.
pub(super) const COLUMNS: &str = "m.n, m.id, m.thread_id, m.message_seq, m.created_at, m.from_type, m.from_id, \
     m.to_type, m.to_id, m.kind, m.subject, m.content, m.metadata_json, m.reply_to, m.delivery_state, \
     m.business_state, m.deleted_at, m.proof";
/// Number of columns in [`COLUMNS`].
pub(super) const WIDTH: usize = 18;

/// The kind of a message that has none.
const DEFAULT_KIND: &str = "status";

/// One row of the `messages` table. Values of the wrong type are converted (see `degraded`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// Primary key.
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
    /// The sender.
    pub from_id: String,
    /// As `from_type`, also broadcast.
    pub to_type: String,
    /// The recipient.
    pub to_id: String,
    /// directive, question, proposal, status, result …
    pub kind: String,
    /// A subject line.
    pub subject: String,
    /// The text; empty once the message is deleted.
    pub content: String,
    /// JSON with fields of the sender's choice.
    pub metadata_json: String,
    /// The id of the message this one answers.
    pub reply_to: String,
    /// pending …
    pub delivery_state: String,
    /// open …
    pub business_state: String,
    /// When it was deleted, Unix milliseconds.
    pub deleted_at: Option<i64>,
    /// The proof that the person wrote the message; see `proof`.
    #[serde(skip)]
    pub proof: String,
    /// The person wrote the message: its proof is valid.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// The column that had an invalid value, and why; empty if all values are valid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub degraded: String,
}

impl MessageRow {
    pub(super) fn read(row: &rusqlite::Row<'_>, proofs: &Proofs) -> Self {
        let mut values = RowReader::new(row);
        let mut message = Self {
            n: values.int(),
            id: values.text(),
            thread_id: values.name(),
            message_seq: values.int(),
            created_at: values.int(),
            from_type: values.text(),
            from_id: values.text(),
            to_type: values.text(),
            to_id: values.text(),
            kind: values.text(),
            subject: values.text(),
            content: values.text(),
            metadata_json: values.text(),
            reply_to: values.text(),
            delivery_state: values.text(),
            business_state: values.text(),
            deleted_at: values.maybe_int(),
            proof: values.text(),
            verified: false,
            degraded: String::new(),
        };
        message.degraded = values.problem().unwrap_or_default();
        message.verified = message.from_id == HUMAN && {
            let place = proof::place(message.n, message.created_at);
            proofs.verify(RowKind::ThreadMessage, &message.proven_fields(&place), &message.proof)
        };
        if message.deleted_at.is_some() {
            message.subject.clear();
            message.content.clear();
            message.metadata_json.clear();
        }
        message
    }

    /// Returns the fields that the proof covers.
    fn proven_fields<'a>(&'a self, [n, created_at]: &'a [String; 2]) -> [&'a str; 10] {
        [
            n,
            created_at,
            &self.id,
            &self.thread_id,
            &self.to_id,
            &self.kind,
            &self.subject,
            &self.content,
            &self.metadata_json,
            &self.reply_to,
        ]
    }

    /// Returns the message in the compatible form.
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
            ..MessageEvent::default()
        }
    }

    /// Returns the message in the extended form, for clients that asked for `streams`.
    pub fn extended(&self) -> MessageEvent {
        MessageEvent {
            reply_to: self.reply_to.clone(),
            verified: self.verified,
            ..self.event()
        }
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
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
    /// The sender's name; empty if the body has none.
    #[serde(default, deserialize_with = "empty_if_null")]
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
    /// Who writes the message. Not part of the body: the access checks decide it.
    #[serde(skip)]
    pub author: Author,
}

impl NewMessage {
    /// Creates a message with only the required fields.
    pub fn new(thread_id: impl Into<String>, from_id: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            thread_id: thread_id.into(),
            from_id: from_id.into(),
            content: content.into(),
            ..Self::default()
        }
    }

    /// Returns whether posting this message would have created `row`.
    fn matches(&self, row: &MessageRow) -> bool {
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
            && (row.verified || self.author == Author::Program)
    }

    /// Returns the fields that the proof covers, as [`MessageRow::proven_fields`] returns them once the
    /// message is stored.
    fn proven_fields<'a>(&'a self, id: &'a str, [n, created_at]: &'a [String; 2]) -> [&'a str; 10] {
        let text = |field: &'a Option<String>| field.as_deref().unwrap_or_default();
        [
            n,
            created_at,
            id,
            &self.thread_id,
            text(&self.to_id),
            self.kind.as_deref().unwrap_or(DEFAULT_KIND),
            text(&self.subject),
            &self.content,
            text(&self.metadata_json),
            text(&self.reply_to),
        ]
    }
}

/// The start of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After this `message_seq`; 0 is before the first stored message.
    After(i64),
    /// After the last message that this instance acknowledged.
    LastAck,
}

/// A page of one thread's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadPage {
    /// In order of `message_seq`.
    pub messages: Vec<MessageRow>,
    /// More messages follow.
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

/// The state of a thread when a subscription starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadOpening {
    /// The subscription continues after this `message_seq`.
    pub after: i64,
    /// `message_seq` of the thread's first stored message; `last_seq + 1` if there is none.
    pub first_seq: i64,
    /// `message_seq` of the thread's newest message; 0 if it never had one.
    pub last_seq: i64,
    /// The id of the message at `after`, if it is still stored.
    pub id_at: Option<String>,
}

impl Reader {
    /// Returns the message with the primary key `n`.
    pub(super) fn message_row(&self, n: i64) -> Result<Option<MessageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE m.n = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_row([n], |row| Ok(MessageRow::read(row, &self.proofs)));
        Ok(found.optional()?)
    }

    /// Returns at most `rows` messages of a thread after `after`, and about `bytes` bytes. A larger
    /// message is returned alone. `anchor` is a position the log is expected to have.
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
            position::require(&self.conn, anchor)?;
            self.page(thread_id, after, rows, bytes)
        })
    }

    /// Returns at most `rows` messages of a thread after `after`, and about 8 MiB, without a check of
    /// the position.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn messages_after(&self, thread_id: &str, after: i64, rows: usize) -> Result<ThreadPage> {
        self.page(thread_id, after, rows, PAGE_BYTES)
    }

    /// Returns the last `rows` messages of a thread before `before`, at most about 8 MiB, ordered by
    /// `message_seq`.
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
        let read = |row: &rusqlite::Row<'_>| Some(MessageRow::read(row, &self.proofs));
        let mut page = Page::draw(found, rows, PAGE_BYTES, read, MessageRow::weight)?;
        page.items.reverse();
        Ok(page.into())
    }

    /// Returns where a subscription of `instance` to a thread starts, and what the thread has stored.
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
            position::require(&self.conn, anchor)?;
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

    /// Returns the message with this id.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn message(&self, id: &str) -> Result<Option<MessageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE m.id = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement
            .query_row([id], |row| Ok(MessageRow::read(row, &self.proofs)))
            .optional()?)
    }

    fn page(&self, thread_id: &str, after: i64, rows: usize, bytes: usize) -> Result<ThreadPage> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.thread_id = ?1 AND m.message_seq > ?2 ORDER BY m.message_seq LIMIT ?3"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        // One extra row shows whether more follow.
        let limit = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(1);
        let found = statement.query(params![thread_id, after, limit])?;
        let read = |row: &rusqlite::Row<'_>| Some(MessageRow::read(row, &self.proofs));
        Ok(Page::draw(found, rows, bytes, read, MessageRow::weight)?.into())
    }
}

const INSERT: &str = "INSERT INTO messages(id, thread_id, from_type, from_id, to_type, to_id, kind, subject, content, \
     metadata_json, reply_to, proof, created_at) VALUES(?1, ?2, coalesce(?3, 'agent'), \
     ?4, ?5, ?6, coalesce(?7, ?13), ?8, ?9, ?10, ?11, ?12, \
     coalesce(?14, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)))";

impl Writer {
    /// Posts a message. Posting the same message with the same id again returns the existing row.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the id exists with other content, [`Code::Invalid`] if the schema
    /// rejects a value, a `Store…` code.
    pub fn post_message(&self, new: &NewMessage) -> Result<Written<MessageRow>> {
        self.compile(INSERT)?;
        self.atomically(|| {
            if let Some(id) = &new.id
                && let Some(row) = self.message(id)?
            {
                return if new.matches(&row) {
                    Ok(Written::Existed(row))
                } else {
                    Err(Error::new(
                        Code::Conflict,
                        format!("a message with id {id} already exists with different content; use a new id"),
                    ))
                };
            }
            let id = match &new.id {
                Some(id) => id.clone(),
                None => random_hex::<16>()?,
            };
            let (created_at, proof) = match new.author {
                Author::Program => (None, None),
                Author::Person => {
                    let (n, now) = (self.next_message_number()?, now_ms());
                    let fields = proof::place(n, now);
                    let fields = new.proven_fields(&id, &fields);
                    (Some(now), Some(self.proofs.make(RowKind::ThreadMessage, &fields, "")?))
                }
            };
            // `execute` steps the statement to its end. An unfinished one would block checkpoints.
            self.conn.prepare_cached(INSERT)?.execute(params![
                id,
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
                proof,
                DEFAULT_KIND,
                created_at,
            ])?;
            let row = self
                .message_row(self.conn.last_insert_rowid())?
                .ok_or_else(|| Error::new(Code::Internal, "the message just posted is missing"))?;
            if row.message_seq == 0 {
                return Err(Error::new(
                    Code::Internal,
                    "the message got no number: a trigger of the database is missing; run agenthub doctor --repair",
                ));
            }
            Ok(Written::Created(row))
        })
    }

    /// Returns the number that the next message of this transaction gets: the database refuses any other.
    fn next_message_number(&self) -> Result<i64> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT 1 + coalesce(max(n), 0) FROM messages")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }
}

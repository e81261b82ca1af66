//! The `inbox_messages` table: its rows, sending a message, and replying to one.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::config::{HUMAN, is_human};
use crate::error::{Code, Error, Result};
use crate::protocol::{InboxMessageEvent, now_ms};
use crate::store::Written;
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::ReadContext;
use crate::store::proof::{self, Author, Proofs, RowKind};
use crate::store::row_reader::RowReader;
use crate::store::secrets::random_hex;
use crate::store::sender_field::empty_if_null;

/// The columns of an [`InboxMessageRow`], in the order it reads them.
pub(in crate::store) const COLUMNS: &str = "n, id, message_id, correlation_id, from_agent, to_inbox, message_type, title, payload, \
     priority, status, created_at, read_at, expires_at, claimed_by, claim_expires_at, proof";

/// The type of a message that has none.
const DEFAULT_TYPE: &str = "notification";
/// The priority of a message that has none.
const DEFAULT_PRIORITY: &str = "info";

/// One row of the `inbox_messages` table. Values of the wrong type are converted (see `degraded`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InboxMessageRow {
    /// Primary key; ascending in the order of sending.
    pub n: i64,
    /// Unique id.
    pub id: String,
    /// The message's public id.
    pub message_id: String,
    /// Shared by a question and its answers.
    pub correlation_id: String,
    /// The sender.
    pub from_agent: String,
    /// The inbox that contains the message.
    pub to_inbox: String,
    /// notification, request, response …
    pub message_type: String,
    /// A subject line.
    pub title: String,
    /// The text.
    pub payload: String,
    /// info, action, urgent.
    pub priority: String,
    /// unread, read, archived, deleted.
    pub status: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// When it was read, Unix milliseconds.
    pub read_at: Option<i64>,
    /// When it expires and is no longer listed, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// The owner of the claim; empty if there is none.
    pub claimed_by: String,
    /// End of the claim's lease, Unix milliseconds.
    pub claim_expires_at: Option<i64>,
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

impl InboxMessageRow {
    pub(in crate::store) fn read(row: &rusqlite::Row<'_>, proofs: &Proofs) -> Self {
        let mut values = RowReader::new(row);
        let mut mail = Self {
            n: values.int(),
            id: values.text(),
            message_id: values.text(),
            correlation_id: values.text(),
            from_agent: values.text(),
            to_inbox: values.text(),
            message_type: values.text(),
            title: values.text(),
            payload: values.text(),
            priority: values.text(),
            status: values.text(),
            created_at: values.int(),
            read_at: values.maybe_int(),
            expires_at: values.maybe_int(),
            claimed_by: values.text(),
            claim_expires_at: values.maybe_int(),
            proof: values.text(),
            verified: false,
            degraded: String::new(),
        };
        mail.degraded = values.problem().unwrap_or_default();
        mail.verified = mail.from_agent == HUMAN && {
            let place = proof::place(mail.n, mail.created_at);
            proofs.verify(RowKind::InboxMessage, &mail.proven_fields(&place), &mail.proof)
        };
        mail
    }

    /// Returns the fields that the proof covers.
    fn proven_fields<'a>(&'a self, [n, created_at]: &'a [String; 2]) -> [&'a str; 9] {
        [
            n,
            created_at,
            &self.id,
            &self.to_inbox,
            &self.correlation_id,
            &self.message_type,
            &self.priority,
            &self.title,
            &self.payload,
        ]
    }

    /// Returns whether the person has answered exactly this question, as it is in `question`.
    fn proves_answer_to(&self, question: &Self) -> bool {
        self.verified && proof::answered_question(&self.proof) == ShownQuestion::of(question).digest()
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.id,
            &self.message_id,
            &self.correlation_id,
            &self.from_agent,
            &self.to_inbox,
            &self.message_type,
            &self.title,
            &self.payload,
            &self.priority,
            &self.status,
            &self.claimed_by,
        ];
        200 + texts.iter().map(|text| text.len()).sum::<usize>()
    }

    /// Returns the title, or the text if there is no title.
    pub fn subject(&self) -> &str {
        if self.title.is_empty() {
            &self.payload
        } else {
            &self.title
        }
    }

    /// Returns the `correlation_id` of answers to this message: its own, or its `message_id` if it has
    /// none.
    pub fn correlation(&self) -> &str {
        if self.correlation_id.is_empty() {
            &self.message_id
        } else {
            &self.correlation_id
        }
    }

    /// Returns the message in the compatible form.
    pub fn event(&self) -> InboxMessageEvent {
        InboxMessageEvent {
            id: self.id.clone(),
            message_id: self.message_id.clone(),
            correlation_id: self.correlation_id.clone(),
            from_agent: self.from_agent.clone(),
            to_inbox: self.to_inbox.clone(),
            message_type: self.message_type.clone(),
            title: self.title.clone(),
            payload: self.payload.clone(),
            status: self.status.clone(),
            created_at: self.created_at,
            degraded: !self.degraded.is_empty(),
            ..InboxMessageEvent::default()
        }
    }

    /// Returns the message in the extended form, for clients that asked for `streams`.
    pub fn extended(&self) -> InboxMessageEvent {
        InboxMessageEvent {
            priority: self.priority.clone(),
            read_at: self.read_at.unwrap_or(0),
            expires_at: self.expires_at.unwrap_or(0),
            claimed_by: self.claimed_by.clone(),
            claim_expires_at: self.claim_expires_at.unwrap_or(0),
            verified: self.verified,
            ..self.event()
        }
    }
}

/// An inbox message to send: the body of `POST /api/inbox`. A field that is `None` gets the database's
/// default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInboxMessage {
    /// Unique id; the database generates one if it is `None`.
    pub id: Option<String>,
    /// The message's public id; the database generates one if it is `None`.
    pub message_id: Option<String>,
    /// The id that a question and its answers share.
    pub correlation_id: Option<String>,
    /// The sender's name; empty if the body has none.
    #[serde(default, deserialize_with = "empty_if_null")]
    pub from_agent: String,
    /// The inbox to send it to.
    pub to_inbox: String,
    /// notification, request, response …
    pub message_type: Option<String>,
    /// A subject line.
    pub title: Option<String>,
    /// The text.
    #[serde(default)]
    pub payload: String,
    /// info, action, urgent.
    pub priority: Option<String>,
    /// When it expires and is no longer listed, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// The question that this message answers, as it was shown to the person.
    pub answers: Option<ShownQuestion>,
    /// Who writes the message. Not part of the body: the access checks decide it.
    #[serde(skip)]
    pub author: Author,
}

/// A question, as it was shown to the person who answers it. The proof of the answer covers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownQuestion {
    /// `message_id` of the question.
    pub message_id: String,
    /// The sender.
    pub from_agent: String,
    /// The subject line.
    #[serde(default)]
    pub title: String,
    /// The text.
    #[serde(default)]
    pub payload: String,
}

impl ShownQuestion {
    /// Returns the question as this row shows it.
    pub fn of(question: &InboxMessageRow) -> Self {
        Self {
            message_id: question.message_id.clone(),
            from_agent: question.from_agent.clone(),
            title: question.title.clone(),
            payload: question.payload.clone(),
        }
    }

    fn digest(&self) -> String {
        proof::question_digest(&[&self.message_id, &self.from_agent, &self.title, &self.payload])
    }
}

impl NewInboxMessage {
    /// Creates a message with only the required fields.
    pub fn new(from_agent: impl Into<String>, to_inbox: impl Into<String>, payload: impl Into<String>) -> Self {
        Self {
            from_agent: from_agent.into(),
            to_inbox: to_inbox.into(),
            payload: payload.into(),
            ..Self::default()
        }
    }

    /// Creates an answer to `question`: addressed to its sender, with its correlation, and its title
    /// after `Re: `.
    pub fn answer(question: &InboxMessageRow, from_agent: impl Into<String>, payload: impl Into<String>) -> Self {
        let title = match question.title.as_str() {
            "" => None,
            title if title.starts_with("Re: ") => Some(title.to_owned()),
            title => Some(format!("Re: {title}")),
        };
        Self {
            correlation_id: Some(question.correlation().to_owned()),
            message_type: Some("response".to_owned()),
            title,
            answers: Some(ShownQuestion::of(question)),
            ..Self::new(from_agent, question.from_agent.clone(), payload)
        }
    }

    /// Returns whether sending this message would have created `row`.
    fn matches(&self, row: &InboxMessageRow) -> bool {
        let same = |given: &Option<String>, found: &str| given.as_ref().is_none_or(|g| g == found);
        self.from_agent == row.from_agent
            && self.to_inbox == row.to_inbox
            && self.payload == row.payload
            && same(&self.message_id, &row.message_id)
            && same(&self.correlation_id, &row.correlation_id)
            && same(&self.message_type, &row.message_type)
            && same(&self.title, &row.title)
            && same(&self.priority, &row.priority)
            && self.expires_at.is_none_or(|at| row.expires_at == Some(at))
            && (row.verified || self.author == Author::Program)
    }

    /// Returns the fields that the proof covers, as [`InboxMessageRow::proven_fields`] returns them once
    /// the message is stored.
    fn proven_fields<'a>(&'a self, id: &'a str, [n, created_at]: &'a [String; 2]) -> [&'a str; 9] {
        let text = |field: &'a Option<String>| field.as_deref().unwrap_or_default();
        [
            n,
            created_at,
            id,
            &self.to_inbox,
            text(&self.correlation_id),
            self.message_type.as_deref().unwrap_or(DEFAULT_TYPE),
            self.priority.as_deref().unwrap_or(DEFAULT_PRIORITY),
            text(&self.title),
            &self.payload,
        ]
    }
}

/// Returns a new `message_id`, for callers that need the id before they send the message.
///
/// # Errors
/// [`Code::Internal`] if the system provides no random numbers.
pub fn message_id() -> Result<String> {
    Ok(format!("msg_{}", random_hex::<16>()?))
}

impl Reader {
    /// Returns the messages with this `correlation_id` after the row `after`, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_in_correlation(&self, correlation_id: &str, after: i64) -> Result<Vec<InboxMessageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM inbox_messages WHERE correlation_id = ?1 AND n > ?2 ORDER BY n");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map(params![correlation_id, after], |row| {
            Ok(InboxMessageRow::read(row, &self.proofs))
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Returns the first answer to `question`: later mail in its correlation, addressed to its sender.
    /// Only the person can answer a question to `human`, with a proof for this question; any agent can
    /// answer a question to an agent.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn answer_to(&self, question: &InboxMessageRow) -> Result<Option<InboxMessageRow>> {
        let later_mail = self.mail_in_correlation(question.correlation(), question.n)?;
        let is_answer = |mail: &InboxMessageRow| {
            mail.to_inbox == question.from_agent && (!is_human(&question.to_inbox) || mail.proves_answer_to(question))
        };
        Ok(later_mail.into_iter().find(is_answer))
    }

    pub(in crate::store) fn inbox_row(&self, n: i64) -> Result<Option<InboxMessageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM inbox_messages WHERE n = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([n], |row| Ok(InboxMessageRow::read(row, &self.proofs)))
            .optional()?)
    }
}

const INSERT: &str = "INSERT INTO inbox_messages(id, message_id, correlation_id, from_agent, to_inbox, message_type, title, \
     payload, priority, expires_at, proof, created_at) VALUES(?1, \
     coalesce(?2, 'msg_' || lower(hex(randomblob(16)))), ?3, ?4, ?5, coalesce(?6, ?12), \
     coalesce(?7, ''), ?8, coalesce(?9, ?13), ?10, ?11, \
     coalesce(?14, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)))";

impl Writer {
    /// Returns the number that the next inbox message of this transaction gets: the database refuses any other.
    fn next_inbox_number(&self) -> Result<i64> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT 1 + coalesce(max(n), 0) FROM inbox_messages")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Sends a message. Sending the same message with the same id again returns the existing row. The person
    /// has seen mail to `all` that the person sends.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the id exists with other content, [`Code::Invalid`] if the schema
    /// rejects a value, a `Store…` code.
    pub fn send(&self, new: &NewInboxMessage) -> Result<Written<InboxMessageRow>> {
        self.compile(INSERT)?;
        self.atomically(|| {
            for id in [&new.id, &new.message_id].into_iter().flatten() {
                // `mail` also finds rows by number; here only equal ids count.
                if let Some(row) = self.mail(id)?.filter(|row| row.id == *id || row.message_id == *id) {
                    return if new.matches(&row) {
                        Ok(Written::Existed(row))
                    } else {
                        Err(Error::new(
                            Code::Conflict,
                            format!("mail with id {id} already exists with different content; use a new id"),
                        ))
                    };
                }
            }
            let id = match &new.id {
                Some(id) => id.clone(),
                None => random_hex::<16>()?,
            };
            let answers = new.answers.as_ref().map(ShownQuestion::digest).unwrap_or_default();
            let (created_at, proof) = match new.author {
                Author::Program => (None, None),
                Author::Person => {
                    let (n, now) = (self.next_inbox_number()?, now_ms());
                    let fields = proof::place(n, now);
                    let fields = new.proven_fields(&id, &fields);
                    (
                        Some(now),
                        Some(self.proofs.make(RowKind::InboxMessage, &fields, &answers)?),
                    )
                }
            };
            self.conn.prepare_cached(INSERT)?.execute(params![
                id,
                new.message_id,
                new.correlation_id,
                new.from_agent,
                new.to_inbox,
                new.message_type,
                new.title,
                new.payload,
                new.priority,
                new.expires_at,
                proof,
                DEFAULT_TYPE,
                DEFAULT_PRIORITY,
                created_at,
            ])?;
            let row = self
                .inbox_row(self.conn.last_insert_rowid())?
                .ok_or_else(|| Error::new(Code::Internal, "the message just sent is missing"))?;
            self.add_receipt_of_author(&row)?;
            Ok(Written::Created(row))
        })
    }

    /// Sends `answer` (see [`NewInboxMessage::answer`]). Acknowledges the question if the reader holds its
    /// claim, it is unclaimed in the reader's inbox, or it is addressed to `all`.
    ///
    /// # Errors
    /// As [`Writer::send`]; [`Code::Conflict`] if the reader had the mail, and another owner has claimed it.
    pub fn reply(
        &self,
        question: &InboxMessageRow,
        answer: &NewInboxMessage,
        context: ReadContext<'_>,
    ) -> Result<Written<InboxMessageRow>> {
        self.atomically(|| {
            let mail = self.require_mail(&question.id)?;
            // A worker whose claim has ended sends no second result. Others may comment on the work.
            let is_other = [question.from_agent.as_str(), question.to_inbox.as_str()].contains(&context.reader);
            if !is_other && !is_human(context.reader) && self.has_seen(&mail.message_id, context.reader)? {
                mail.require_owner(context.reader, context.now)?;
            }
            let written = self.send(answer)?;
            let holder = mail.holder(context.now).unwrap_or(&question.to_inbox);
            if holder == context.reader || question.is_for_all() {
                self.ack_mail(&question.id, context)?;
            }
            Ok(written)
        })
    }
}

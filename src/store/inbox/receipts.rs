//! The `receipts` table: the states each reader has reached for a message; and marking mail as read and
//! acknowledged.
//!
//! 1. `offered`: printed for the model, for example by a hook. The model may not have read it.
//! 2. `seen`: the reader asked for the message and got it.
//! 3. `acked`: the reader has handled it.
//! 4. `archived`: only for mail to `all`, whose row stays unread.
//!
//! Each state is stored once for each message and reader, with the time of the first one.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::config::HUMAN;
use crate::error::Result;
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{ALL_INBOXES, ReadContext};
use crate::store::inbox::messages::InboxMessageRow;
use crate::store::messages::MessageRow;
use crate::store::row_reader::RowReader;
use crate::store::subscriptions::SubscriberRow;

/// The state of a message for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// Printed for the model.
    Offered,
    /// Requested by the reader, and returned.
    Seen,
    /// Acknowledged by the reader.
    Acked,
    /// Archived by the reader; only for mail to `all`.
    Archived,
}

impl Receipt {
    /// Returns the value in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Seen => "seen",
            Self::Acked => "acked",
            Self::Archived => "archived",
        }
    }
}

/// One row of the `receipts` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReceiptRow {
    /// The message's `message_id`.
    pub message_id: String,
    /// The reader's name.
    pub reader: String,
    /// offered, seen, acked; for mail to `all` also archived.
    pub state: String,
    /// The channel: `cli`, `mcp`, `http`, `claude-code Stop` …
    pub via: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// A message, and the readers that have seen it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Trace {
    /// An inbox message.
    Mail {
        /// The message.
        mail: InboxMessageRow,
        /// Its receipts, oldest first.
        receipts: Vec<ReceiptRow>,
        /// Later messages with the same correlation, oldest first.
        answers: Vec<InboxMessageRow>,
        /// The inbox belongs to an existing agent or to `human`.
        known: bool,
        /// When the owner of the inbox last read any message, Unix milliseconds.
        last_read_at: Option<i64>,
    },
    /// A thread message.
    Message {
        /// The message.
        message: MessageRow,
        /// The subscribers of the thread and their acknowledgements.
        subscribers: Vec<SubscriberRow>,
    },
}

impl Reader {
    /// Returns the receipts of the message with this `message_id`, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn receipts(&self, message_id: &str) -> Result<Vec<ReceiptRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT message_id, reader, state, via, created_at FROM receipts WHERE message_id = ?1 ORDER BY n",
        )?;
        let found = statement.query_map([message_id], |row| {
            let mut values = RowReader::new(row);
            Ok(ReceiptRow {
                message_id: values.text(),
                reader: values.text(),
                state: values.text(),
                via: values.text(),
                created_at: values.int(),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Traces the inbox message (by number or id) or thread message (by id) `id`. An inbox message
    /// takes precedence.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.snapshot(|| {
            if let Some(mail) = self.mail_by_number_or_id(id)? {
                return Ok(Some(Trace::Mail {
                    receipts: self.receipts(&mail.message_id)?,
                    answers: self.mail_in_correlation(mail.correlation(), mail.n)?,
                    known: mail.to_inbox == HUMAN || self.agent_exists(&mail.to_inbox)?,
                    last_read_at: self.last_read_at(&mail.to_inbox)?,
                    mail,
                }));
            }
            let Some(message) = self.message(id)? else {
                return Ok(None);
            };
            Ok(Some(Trace::Message {
                subscribers: self.subscribers(&message.thread_id)?,
                message,
            }))
        })
    }

    /// Returns whether `reader` has asked for the message with this `message_id` and got it, or claimed it.
    pub(super) fn has_seen(&self, message_id: &str, reader: &str) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM receipts WHERE message_id = ?1 AND reader = ?2 AND state = 'seen')",
            )?
            .query_row([message_id, reader], |row| row.get(0))?)
    }

    /// Returns when `reader` got its last receipt, Unix milliseconds.
    fn last_read_at(&self, reader: &str) -> Result<Option<i64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT max(created_at) FROM receipts WHERE reader = ?1")?
            .query_row([reader], |row| row.get(0))
            .optional()?
            .flatten())
    }
}

impl Writer {
    /// Stores a receipt for the message with this `message_id`. Does nothing if the reader already
    /// has one with this state. All states except `offered` end its delivery to the reader. The reader, if it
    /// is an agent, is active now: an agent that only reads is in use.
    ///
    /// # Errors
    /// [`Code::Invalid`](crate::error::Code::Invalid) if the schema rejects a value, a `Store…` code.
    pub fn add_receipt(&self, message_id: &str, state: Receipt, context: ReadContext<'_>) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO receipts(message_id, reader, state, via, created_at) VALUES(?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT(message_id, reader, state) DO NOTHING",
            )?
            .execute(params![
                message_id,
                context.reader,
                state.as_str(),
                context.via,
                context.now
            ])?;
        self.conn
            .prepare_cached("UPDATE agents SET last_active_at = ?2 WHERE id = ?1 AND last_active_at < ?2 - 1000")?
            .execute(params![context.reader, context.now])?;
        if state != Receipt::Offered {
            self.conn
                .prepare_cached(
                    "DELETE FROM deliveries WHERE reader = ?2 \
                     AND mail = (SELECT n FROM inbox_messages WHERE message_id = ?1)",
                )?
                .execute([message_id, context.reader])?;
        }
        Ok(())
    }

    /// Records that the person has seen mail to `all` that the person has just sent. (Lists leave out what an agent
    /// has sent to `all`, by its name. That of the person is listed: other programs can write it too.)
    ///
    /// # Errors
    /// A `Store…` code.
    pub(super) fn add_receipt_of_author(&self, sent: &InboxMessageRow) -> Result<()> {
        if !sent.is_for_all() || !sent.verified {
            return Ok(());
        }
        let author = ReadContext {
            reader: HUMAN,
            via: "sent",
            now: sent.created_at,
        };
        self.add_receipt(&sent.message_id, Receipt::Seen, author)
    }

    /// As [`Writer::add_receipt`], for several messages in one transaction.
    ///
    /// # Errors
    /// As [`Writer::add_receipt`].
    pub fn add_receipts(&self, mail: &[InboxMessageRow], state: Receipt, context: ReadContext<'_>) -> Result<()> {
        self.atomically(|| {
            mail.iter()
                .try_for_each(|mail| self.add_receipt(&mail.message_id, state, context))
        })
    }

    /// Marks a message as seen, and as read if it is in the reader's own inbox. Claimed messages and
    /// mail to `all` stay unread. Returns the updated row.
    ///
    /// # Errors
    /// [`Code::NotFound`](crate::error::Code::NotFound) if there is none with this id, number or `message_id`; a
    /// `Store…` code.
    pub fn read_mail(&self, id: &str, context: ReadContext<'_>) -> Result<InboxMessageRow> {
        self.atomically(|| {
            let mail = self.require_mail(id)?;
            self.add_receipt(&mail.message_id, Receipt::Seen, context)?;
            if mail.to_inbox == context.reader && mail.holder(context.now).is_none() {
                self.mark_read(mail.n, context.now)?;
            }
            self.require_mail(&mail.id)
        })
    }

    /// Acknowledges a message. It also becomes read, and a claim on it ends, if it is in the reader's
    /// own inbox, claimed by the reader, or in a shared inbox. Mail to another agent, to `human` or to
    /// `all` stays unread for its recipient. Returns the updated row.
    ///
    /// # Errors
    /// [`Code::NotFound`](crate::error::Code::NotFound) if there is none with this id, number or `message_id`;
    /// [`Code::Conflict`](crate::error::Code::Conflict) if another owner has claimed it; a `Store…` code.
    pub fn ack_mail(&self, id: &str, context: ReadContext<'_>) -> Result<InboxMessageRow> {
        self.atomically(|| {
            let mail = self.require_mail(id)?;
            mail.require_owner(context.reader, context.now)?;
            self.add_receipt(&mail.message_id, Receipt::Seen, context)?;
            self.add_receipt(&mail.message_id, Receipt::Acked, context)?;
            if self.is_responsible_for(&mail, context.reader)? {
                self.mark_read(mail.n, context.now)?;
            }
            self.require_mail(&mail.id)
        })
    }

    /// Returns whether an acknowledgement by `reader` changes the status of `mail` to read.
    fn is_responsible_for(&self, mail: &InboxMessageRow, reader: &str) -> Result<bool> {
        if mail.to_inbox == reader || mail.claimed_by == reader {
            return Ok(true);
        }
        Ok(!matches!(mail.to_inbox.as_str(), ALL_INBOXES | HUMAN) && !self.agent_exists(&mail.to_inbox)?)
    }

    /// Marks unread mail as read and ends the lease of its claim. The owner's name stays.
    fn mark_read(&self, n: i64, now: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE inbox_messages SET status = 'read', read_at = coalesce(read_at, ?2), claim_expires_at = NULL \
                 WHERE n = ?1 AND status = 'unread'",
            )?
            .execute([n, now])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::{by, send, temp_database};
    use crate::store::{Author, NewInboxMessage, NewMessage};

    #[test]
    fn acknowledging_another_agents_mail_leaves_it_unread() {
        let (_dir, writer) = temp_database();
        for name in ["planner", "tester"] {
            writer.register_agent(name).unwrap();
        }
        let ack = |mail: &InboxMessageRow, reader: &str| writer.ack_mail(&mail.id, by(reader, 1)).unwrap().status;
        for inbox in ["planner", HUMAN, ALL_INBOXES] {
            let mail = send(&writer, inbox, "for you");
            assert_eq!(ack(&mail, "tester"), "unread", "{inbox}");
            assert_eq!(
                writer.receipts(&mail.message_id).unwrap().len(),
                2,
                "the acknowledgement is recorded"
            );
        }
        let planner_mail = writer.mail("1").unwrap().unwrap();
        assert_eq!(ack(&planner_mail, "planner"), "read");
        // Any agent can acknowledge mail in a shared inbox.
        assert_eq!(ack(&send(&writer, "jobs", "dig"), "tester"), "read");
    }

    #[test]
    fn a_receipt_shows_that_its_reader_is_active() {
        let (_dir, writer) = temp_database();
        let mail = send(&writer, "planner", "x");
        writer.register_agent("planner").unwrap();
        let agent = || {
            writer
                .agents()
                .unwrap()
                .into_iter()
                .find(|agent| agent.id == "planner")
                .unwrap()
        };
        let now = agent().last_active_at + 5000;
        writer
            .add_receipt(&mail.message_id, Receipt::Offered, by("planner", now))
            .unwrap();
        assert_eq!(agent().last_active_at, now);
        writer
            .add_receipt(&mail.message_id, Receipt::Seen, by("planner", 7))
            .unwrap();
        assert_eq!(agent().last_active_at, now, "the clock was set back");
        writer
            .add_receipt(&mail.message_id, Receipt::Seen, by("worker.7", now))
            .unwrap();
        assert!(
            !writer.agent_exists("worker.7").unwrap(),
            "a reader need not be an agent"
        );
    }

    #[test]
    fn trace_contains_receipts_answers_and_subscribers() {
        let (_dir, writer) = temp_database();
        let question = send(&writer, "planner", "which way?");
        let trace = |id: &str| match writer.trace(id).unwrap() {
            Some(Trace::Mail {
                receipts,
                answers,
                known,
                last_read_at,
                ..
            }) => (receipts.len(), answers.len(), known, last_read_at),
            other => panic!("{other:?}"),
        };
        assert_eq!(trace("1"), (0, 0, false, None));
        let answer = NewInboxMessage::answer(&question, "planner", "left");
        let answer = writer.reply(&question, &answer, by("planner", 7)).unwrap().into_row();
        assert_eq!(trace(&question.message_id), (2, 1, true, Some(7)));
        assert_eq!(writer.answer_to(&question).unwrap(), Some(answer.clone()));
        assert_eq!(writer.answer_to(&answer).unwrap(), None);
        assert_eq!((answer.to_inbox.as_str(), answer.title.as_str()), ("boss", ""));
        assert_eq!(writer.mail(&question.id).unwrap().unwrap().status, "read");
        // An answer by another reader leaves the question unread for its recipient.
        let other = send(&writer, "planner", "and then?");
        let answer = NewInboxMessage::answer(&other, "human", "home");
        writer.reply(&other, &answer, by("human", 8)).unwrap();
        assert_eq!(writer.mail(&other.id).unwrap().unwrap().status, "unread");
        // Only the person answers a question to `human`.
        let request = send(&writer, HUMAN, "may I?");
        for (sender, author, counts) in [
            ("tester", Author::Program, false),
            (HUMAN, Author::Program, false),
            (HUMAN, Author::Person, true),
        ] {
            let answer = NewInboxMessage {
                author,
                ..NewInboxMessage::answer(&request, sender, "yes")
            };
            writer.reply(&request, &answer, by(sender, 9)).unwrap();
            let answer = writer.answer_to(&request).unwrap();
            assert_eq!(answer.map(|mail| mail.from_agent), counts.then(|| sender.to_owned()));
        }

        let post = NewMessage {
            id: Some("m1".to_owned()),
            ..NewMessage::new("build", "planner", "green")
        };
        writer.post_message(&post).unwrap();
        writer.subscribe("page", "build", 0, 9).unwrap();
        match writer.trace("m1").unwrap() {
            Some(Trace::Message { message, subscribers }) => {
                assert_eq!((message.message_seq, subscribers.len()), (1, 1));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(writer.trace("nowhere").unwrap(), None);
    }
}

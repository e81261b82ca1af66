//! Receipts: what became of mail on its way to those who read it.
//!
//! For: the receipts table, and the states of mail that go with it: read, acknowledged.
//! Not for: who works on what (`claims`), which session an offer went to (`offers`), or how a
//! trace is worded (`cli`).
//!
//! 1. offered: put before the model, by a hook for instance. It may not have looked.
//! 2. seen: the reader asked for it and got it.
//! 3. acked: the reader says that it is dealt with.
//!
//! Of mail to everybody a reader may also say that it is put away: archived.
//!
//! Each is written once for each message and reader; the first time counts.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::config::HUMAN;
use crate::error::{Code, Error, Result};
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{EVERYBODY, ReadContext};
use crate::store::inbox::messages::InboxRow;
use crate::store::messages::MessageRow;
use crate::store::row_reader::RowReader;
use crate::store::subscriptions::SubscriberRow;

/// How far a message has come with one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// Put before the model.
    Offered,
    /// Asked for, and shown.
    Seen,
    /// Dealt with.
    Acked,
    /// Put away: only of mail to everybody, whose row stays as it is.
    Archived,
}

impl Receipt {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Seen => "seen",
            Self::Acked => "acked",
            Self::Archived => "archived",
        }
    }
}

/// One row of the receipts table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReceiptRow {
    /// The mail's `message_id`.
    pub message_id: String,
    /// Who read.
    pub reader: String,
    /// offered, seen, acked; archived of mail to everybody.
    pub state: String,
    /// By which way.
    pub via: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// Where a message is and who has seen it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Trace {
    /// Of a message in somebody's inbox.
    Mail {
        /// The mail.
        mail: InboxRow,
        /// Its receipts, oldest first.
        receipts: Vec<ReceiptRow>,
        /// What was said in the same correlation since, oldest first.
        answers: Vec<InboxRow>,
        /// The owner of the inbox has been here: as an agent, or as the person.
        known: bool,
        /// When the owner of the inbox last read any mail at all, Unix milliseconds.
        last_read_at: Option<i64>,
    },
    /// Of a message in a thread.
    Message {
        /// The message.
        message: MessageRow,
        /// Who follows the thread, and how far.
        subscribers: Vec<SubscriberRow>,
    },
}

impl Reader {
    /// The receipts of the mail with this `message_id`, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn receipts(&self, message_id: &str) -> Result<Vec<ReceiptRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT message_id, reader, state, via, created_at FROM receipts WHERE message_id = ?1 ORDER BY n",
        )?;
        let found = statement.query_map([message_id], |row| {
            let mut cells = RowReader::new(row);
            Ok(ReceiptRow {
                message_id: cells.text(),
                reader: cells.text(),
                state: cells.text(),
                via: cells.text(),
                created_at: cells.int(),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Where the mail or thread message that `id` means is, or `None`. Mail goes first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.snapshot(|| {
            if let Some(mail) = self.mail_meant(id)? {
                return Ok(Some(Trace::Mail {
                    receipts: self.receipts(&mail.message_id)?,
                    answers: self.correspondence(mail.correlation(), mail.n)?,
                    known: mail.to_inbox == HUMAN || self.knows_agent(&mail.to_inbox)?,
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

    /// When `reader` last read any mail.
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
    /// Writes that the mail with this `message_id` came as far as `state` with a reader.
    /// A second time changes nothing.
    ///
    /// # Errors
    /// [`Code::Invalid`] for what the file refuses, a `Store…` code.
    pub fn receipt(&self, message_id: &str, state: Receipt, reading: ReadContext<'_>) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO receipts(message_id, reader, state, via, created_at) VALUES(?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT(message_id, reader, state) DO NOTHING",
            )?
            .execute(params![
                message_id,
                reading.reader,
                state.as_str(),
                reading.via,
                reading.now
            ])?;
        Ok(())
    }

    /// As [`Writer::receipt`] for several pieces of mail, in one transaction.
    ///
    /// # Errors
    /// As [`Writer::receipt`].
    pub fn receipts_for(&self, mail: &[InboxRow], state: Receipt, reading: ReadContext<'_>) -> Result<()> {
        self.atomically(|| {
            mail.iter()
                .try_for_each(|mail| self.receipt(&mail.message_id, state, reading))
        })
    }

    /// Somebody reads a message: it is seen, and read if it is the reader's own. Mail that
    /// is being worked on, or is for all, stays as it is. Returns the row as it is now.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none with this id, number or `message_id`; a
    /// `Store…` code.
    pub fn read_mail(&self, id: &str, reading: ReadContext<'_>) -> Result<InboxRow> {
        self.atomically(|| {
            let mail = self.demand_mail(id)?;
            self.receipt(&mail.message_id, Receipt::Seen, reading)?;
            if mail.to_inbox == reading.reader && mail.holder(reading.now).is_none() {
                self.mark_read(mail.n, reading.now)?;
            }
            self.demand_mail(&mail.id)
        })
    }

    /// Somebody is done with a message: it is acknowledged, and no claim holds it any more. It
    /// is read as well if it was theirs to deal with: in their own inbox, claimed by them, or
    /// in an inbox that is nobody's own. Mail of another agent, of the person or for all stays
    /// unread for those. Returns the row as it is now.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none with this id, number or `message_id`;
    /// [`Code::Conflict`] while somebody else works on it; a `Store…` code.
    pub fn ack_mail(&self, id: &str, reading: ReadContext<'_>) -> Result<InboxRow> {
        self.atomically(|| {
            let mail = self.demand_mail(id)?;
            if let Some(holder) = mail.holder(reading.now).filter(|holder| *holder != reading.reader) {
                return Err(Error::new(
                    Code::Conflict,
                    format!(
                        "{holder} works on {} now; leave it to them, or wait until their claim runs out",
                        mail.n
                    ),
                ));
            }
            self.receipt(&mail.message_id, Receipt::Seen, reading)?;
            self.receipt(&mail.message_id, Receipt::Acked, reading)?;
            if self.is_to_deal_with(&mail, reading.reader)? {
                self.mark_read(mail.n, reading.now)?;
            }
            self.demand_mail(&mail.id)
        })
    }

    /// Whether it is `reader` who decides that `mail` is dealt with.
    fn is_to_deal_with(&self, mail: &InboxRow, reader: &str) -> Result<bool> {
        if mail.to_inbox == reader || mail.claimed_by == reader {
            return Ok(true);
        }
        Ok(!matches!(mail.to_inbox.as_str(), EVERYBODY | HUMAN) && !self.knows_agent(&mail.to_inbox)?)
    }

    /// Unread mail becomes read; a claim on it ends, its holder's name stays.
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
    use crate::store::{NetworkFs, NewInbox, NewMessage};

    fn file() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        (folder, writer)
    }

    fn by(reader: &str, now: i64) -> ReadContext<'_> {
        ReadContext {
            reader,
            via: "test",
            now,
        }
    }

    fn send(writer: &Writer, to: &str, text: &str) -> InboxRow {
        writer.send(&NewInbox::new("boss", to, text)).unwrap().into_row()
    }

    #[test]
    fn nobody_takes_anothers_mail_away_by_acknowledging_it() {
        let (_folder, writer) = file();
        for name in ["planner", "tester"] {
            writer.meet_agent(name).unwrap();
        }
        let ack = |mail: &InboxRow, reader: &str| writer.ack_mail(&mail.id, by(reader, 1)).unwrap().status;
        for inbox in ["planner", HUMAN, EVERYBODY] {
            let mail = send(&writer, inbox, "for you");
            assert_eq!(ack(&mail, "tester"), "unread", "{inbox}");
            assert_eq!(writer.receipts(&mail.message_id).unwrap().len(), 2, "but it is told");
        }
        let planners = writer.mail("1").unwrap().unwrap();
        assert_eq!(ack(&planners, "planner"), "read");
        // An inbox that is no agent's is worked on by whoever comes.
        assert_eq!(ack(&send(&writer, "jobs", "dig"), "tester"), "read");
    }

    #[test]
    fn a_trace_tells_who_when_and_what_was_answered() {
        let (_folder, writer) = file();
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
        let answer = NewInbox::answer(&question, "planner", "left");
        let answer = writer.reply(&question, &answer, by("planner", 7)).unwrap().into_row();
        assert_eq!(trace(&question.message_id), (2, 1, true, Some(7)));
        assert_eq!(writer.answer_to(&question).unwrap(), Some(answer.clone()));
        assert_eq!(writer.answer_to(&answer).unwrap(), None);
        assert_eq!((answer.to_inbox.as_str(), answer.title.as_str()), ("boss", ""));
        assert_eq!(writer.mail(&question.id).unwrap().unwrap().status, "read");
        // Somebody else's answer leaves the question to whom it was put.
        let other = send(&writer, "planner", "and then?");
        let answer = NewInbox::answer(&other, "human", "home");
        writer.reply(&other, &answer, by("human", 8)).unwrap();
        assert_eq!(writer.mail(&other.id).unwrap().unwrap().status, "unread");
        // What a person was asked, no agent can allow.
        let may = send(&writer, HUMAN, "may I?");
        for (who, answers) in [("tester", false), (HUMAN, true)] {
            let answer = NewInbox::answer(&may, who, "yes");
            writer.reply(&may, &answer, by(who, 9)).unwrap();
            let counts = writer.answer_to(&may).unwrap();
            assert_eq!(counts.map(|mail| mail.from_agent), answers.then(|| who.to_owned()));
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

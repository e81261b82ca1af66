//! Deliveries: which mail a hook process has printed into which session of an agent tool.
//!
//! 1. A delivery is recorded before the process prints the mail, so that two processes never print
//!    the same mail, and confirmed afterwards.
//! 2. A delivery that is not confirmed within [`CONFIRM_TIMEOUT`] is lost (the process was killed, or
//!    the tool did not read its output). Its mail is delivered again.
//! 3. A later process of the same session can assume that the model has read the mail of confirmed
//!    deliveries.
//!
//! A delivery ends when its reader has seen the mail: a receipt takes its place
//! ([`Writer::add_receipt`]). Mail to `all` is one row that stays unread, so each agent has the number up
//! to which it has been offered that mail (`agents.broadcasts_after`). A new agent starts at the newest one.

use rusqlite::params;

use crate::error::Result;
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{ALL_INBOXES, HANDOVER_ORDER, ReadContext};
use crate::store::inbox::messages::InboxMessageRow;
use crate::store::inbox::receipts::Receipt;

/// Maximum length of a stored session name, in characters.
const MAX_SESSION: usize = 100;
/// Milliseconds a process may take from its start until it has printed.
pub(in crate::store) const CONFIRM_TIMEOUT: i64 = 2_000;

/// Which deliveries are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Lost ones.
    Lost,
    /// Lost ones, and those whose mail the reader has not seen. The sessions that got it may have ended.
    Unseen,
}

/// Mail for a model, by priority and age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailToDeliver {
    /// The first ones.
    pub mail: Vec<InboxMessageRow>,
    /// Number of further ones.
    pub waiting: usize,
}

/// Selects the numbers of the mail to deliver, unordered. Parameters: `?1` the reader, `?2` [`ALL_INBOXES`],
/// `?3` the current time, `?4` the state of deliveries that are repeated in addition to lost ones, `?5`
/// [`CONFIRM_TIMEOUT`].
const TO_DELIVER: &str = "\
    WITH reader(after) AS (SELECT coalesce((SELECT broadcasts_after FROM agents WHERE id = ?1), 0)), \
    candidates(n) AS ( \
      SELECT n FROM inbox_messages m WHERE to_inbox = ?1 AND status = 'unread' AND from_agent <> ?1 \
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.mail = m.n AND d.reader = ?1) \
      UNION ALL \
      SELECT n FROM inbox_messages m WHERE to_inbox = ?2 AND status = 'unread' AND from_agent <> ?1 \
        AND n > (SELECT after FROM reader) \
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.mail = m.n AND d.reader = ?1) \
      UNION ALL \
      SELECT mail FROM deliveries WHERE reader = ?1 AND state = 'begun' AND abs(?3 - at) >= ?5 \
      UNION ALL \
      SELECT mail FROM deliveries WHERE reader = ?1 AND state = ?4) \
    SELECT m.n FROM candidates JOIN inbox_messages m USING(n) WHERE status = 'unread' \
      AND (expires_at IS NULL OR expires_at > ?3) \
      AND (coalesce(claimed_by, '') IN ('', ?1) OR coalesce(claim_expires_at, 0) <= ?3) \
      AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1 AND r.state <> 'offered')";

/// Selects the lowest number of mail to `all` that a reader may still have to get. Parameters: `?1` the
/// reader, `?2` [`ALL_INBOXES`], `?3` the current time.
const FIRST_OPEN_BROADCAST: &str = "\
    SELECT n FROM inbox_messages m WHERE to_inbox = ?2 AND status = 'unread' \
      AND n > coalesce((SELECT broadcasts_after FROM agents WHERE id = ?1), 0) AND from_agent <> ?1 \
      AND (expires_at IS NULL OR expires_at > ?3) \
      AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1) \
    ORDER BY n LIMIT 1";

/// Takes over the deliveries that processes of schema version 2 keep as JSON in the table `hub`, under the key
/// `?1`, for the reader `?2`. Invalid values count as no deliveries.
const ADOPT: &str = "\
    INSERT INTO deliveries(mail, reader, session, state, at) \
    SELECT json_extract(d.value, '$.n'), ?2, json_extract(d.value, '$.session'), \
      iif(json_extract(d.value, '$.printed'), 'printed', 'begun'), json_extract(d.value, '$.at') \
    FROM hub, json_each(iif(typeof(hub.value) = 'text' AND json_valid(hub.value), hub.value, '[]')) d \
    WHERE hub.key = ?1 AND d.type = 'object' AND json_type(d.value, '$.n') = 'integer' \
    ON CONFLICT(mail, reader) DO UPDATE \
      SET session = excluded.session, state = excluded.state, at = excluded.at WHERE excluded.at >= at";

/// Returns [`TO_DELIVER`], for a statement with further conditions.
pub(in crate::store) fn deliverable() -> &'static str {
    TO_DELIVER
}

/// Returns the key in the table `hub` under which schema version 2 keeps the deliveries of a reader.
fn key_of_version_2(reader: &str) -> String {
    format!("offered:{reader}")
}

/// Returns the name of a session as it is stored.
fn stored(session: &str) -> String {
    session.chars().take(MAX_SESSION).collect()
}

impl Reader {
    /// Returns unread mail that was not offered to `reader` yet and that `reader` has not seen, and
    /// mail of deliveries to repeat: at most `limit`, by priority and age.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_to_deliver(&self, reader: &str, repeat: Repeat, now: i64, limit: usize) -> Result<MailToDeliver> {
        let sql = format!("{TO_DELIVER} GROUP BY m.n ORDER BY {HANDOVER_ORDER}");
        let state = match repeat {
            Repeat::Lost => None,
            Repeat::Unseen => Some("printed"),
        };
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map(params![reader, ALL_INBOXES, now, state, CONFIRM_TIMEOUT], |row| {
            row.get(0)
        })?;
        let numbers = found.collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut mail = Vec::new();
        for n in numbers.iter().take(limit) {
            mail.extend(self.inbox_row(*n)?);
        }
        Ok(MailToDeliver {
            waiting: numbers.len() - numbers.len().min(limit),
            mail,
        })
    }

    /// Returns whether there is mail to deliver, or a delivery of an older program to adopt.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn has_mail_to_deliver(&self, reader: &str, now: i64) -> Result<bool> {
        let sql = format!("SELECT EXISTS ({TO_DELIVER})");
        let no_state: Option<&str> = None;
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_row(params![reader, ALL_INBOXES, now, no_state, CONFIRM_TIMEOUT], |row| {
            row.get(0)
        })?;
        Ok(found || self.has_deliveries_to_adopt(reader)?)
    }

    fn has_deliveries_to_adopt(&self, reader: &str) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM hub WHERE key = ?1)")?
            .query_row([key_of_version_2(reader)], |row| row.get(0))?)
    }

    /// Returns unread mail of `reader` with a confirmed delivery to this session, without a receipt
    /// that `reader` has seen it: oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_delivered_to_session(&self, reader: &str, session: &str, now: i64) -> Result<Vec<InboxMessageRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT mail FROM deliveries d JOIN inbox_messages m ON m.n = d.mail \
             WHERE d.reader = ?1 AND d.state = 'printed' AND d.session = ?2 \
             AND m.status = 'unread' AND (expires_at IS NULL OR expires_at > ?3) \
             AND (coalesce(claimed_by, '') IN ('', ?1) OR coalesce(claim_expires_at, 0) <= ?3) \
             AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1 AND r.state <> 'offered') \
             ORDER BY mail",
        )?;
        let found = statement.query_map(params![reader, stored(session), now], |row| row.get(0))?;
        let mut mail = Vec::new();
        for n in found {
            mail.extend(self.inbox_row(n?)?);
        }
        Ok(mail)
    }
}

impl Writer {
    /// Takes over what a process of an older program has recorded for this reader. Such a process can hold
    /// the database open while it is migrated. Of mail that it has printed without confirming it yet, the
    /// confirmation is lost, and the mail is delivered again.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn adopt_deliveries(&self, reader: &str) -> Result<()> {
        if !self.has_deliveries_to_adopt(reader)? {
            return Ok(());
        }
        let key = key_of_version_2(reader);
        self.atomically(|| {
            self.conn.prepare_cached(ADOPT)?.execute([&key, reader])?;
            self.conn
                .prepare_cached("DELETE FROM hub WHERE key = ?1")?
                .execute([&key])?;
            Ok(())
        })
    }

    /// Records that `mail` is about to be printed for a session of the reader.
    ///
    /// # Errors
    /// As [`Writer::add_receipt`].
    pub fn record_delivery(&self, mail: &[InboxMessageRow], session: &str, context: ReadContext<'_>) -> Result<()> {
        self.atomically(|| {
            self.add_receipts(mail, Receipt::Offered, context)?;
            let mut statement = self.conn.prepare_cached(
                "INSERT INTO deliveries(mail, reader, session, state, at) VALUES(?1, ?2, ?3, 'begun', ?4) \
                 ON CONFLICT(mail, reader) DO UPDATE SET session = excluded.session, state = excluded.state, \
                 at = excluded.at",
            )?;
            for row in mail {
                statement.execute(params![row.n, context.reader, stored(session), context.now])?;
            }
            Ok(())
        })
    }

    /// Records that the mail with these numbers was printed for this session of `reader`. Deliveries
    /// that another session has taken over meanwhile are not changed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirm_delivery(&self, mail: &[i64], session: &str, reader: &str) -> Result<()> {
        self.atomically(|| {
            let mut statement = self.conn.prepare_cached(
                "UPDATE deliveries SET state = 'printed' WHERE reader = ?1 AND mail = ?2 AND session = ?3",
            )?;
            for n in mail {
                statement.execute(params![reader, n, stored(session)])?;
            }
            Ok(())
        })
    }

    /// Moves the number up to which `reader` has been offered mail to `all`, so that hooks do not read that
    /// mail again. Writes only if the number changes.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn advance_broadcasts(&self, reader: &str, now: i64) -> Result<()> {
        let sql = format!(
            "UPDATE agents SET broadcasts_after = passed.n FROM (SELECT coalesce(({FIRST_OPEN_BROADCAST}) - 1, \
             (SELECT max(n) FROM inbox_messages WHERE to_inbox = ?2 AND status = 'unread')) AS n) AS passed \
             WHERE id = ?1 AND broadcasts_after < passed.n"
        );
        self.conn
            .prepare_cached(&sql)?
            .execute(params![reader, ALL_INBOXES, now])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::test_support::{by, payloads, send, temp_database};
    use crate::store::{InboxFilter, NewInboxMessage, Retention, Unread};

    fn to_deliver(writer: &Writer, reader: &str, now: i64) -> Vec<InboxMessageRow> {
        writer.mail_to_deliver(reader, Repeat::Lost, now, 9).unwrap().mail
    }

    /// Delivers mail to a session and confirms it. Returns the texts.
    fn deliver(writer: &Writer, reader: &str, now: i64) -> Vec<String> {
        let mail = to_deliver(writer, reader, now);
        writer.record_delivery(&mail, "s", by(reader, now)).unwrap();
        let numbers: Vec<i64> = mail.iter().map(|mail| mail.n).collect();
        writer.confirm_delivery(&numbers, "s", reader).unwrap();
        payloads(&mail)
    }

    #[test]
    fn delivers_mail_once_and_mail_to_all_once_to_each_reader() {
        let (_dir, writer) = temp_database();
        send(&writer, "planner", "one");
        send(&writer, ALL_INBOXES, "two");
        send(&writer, "tester", "three");
        assert_eq!(deliver(&writer, "planner", 1), ["one", "two"]);
        assert!(deliver(&writer, "planner", 2).is_empty());
        assert_eq!(deliver(&writer, "tester", 3), ["two", "three"]);
        assert!(
            deliver(&writer, "boss", 3).is_empty(),
            "mail is not delivered to its sender"
        );

        let unread = |name: &str| {
            let filter = InboxFilter {
                inbox: Some(name.to_owned()),
                status: Some("unread".to_owned()),
                limit: 9,
                ..InboxFilter::default()
            };
            writer.inbox(&filter).unwrap().len()
        };
        assert_eq!(unread("planner"), 2, "delivered mail stays unread");
        assert_eq!(writer.read_mail("2", by("planner", 4)).unwrap().status, "unread");
        writer.ack_mail("2", by("planner", 4)).unwrap();
        assert_eq!((unread("planner"), unread("tester")), (1, 2));
    }

    #[test]
    fn agents_get_mail_to_all_from_their_first_row_on() {
        let (_dir, writer) = temp_database();
        writer.register_agent("old").unwrap();
        send(&writer, ALL_INBOXES, "before");
        writer.register_agent("new").unwrap();
        send(&writer, ALL_INBOXES, "after");
        for (reader, expected) in [("old", &["before", "after"][..]), ("new", &["after"])] {
            assert_eq!(deliver(&writer, reader, 1), expected, "{reader}");
            let filter = |status: Option<&str>| InboxFilter {
                inbox: Some(reader.to_owned()),
                status: status.map(str::to_owned),
                limit: 9,
                ..InboxFilter::default()
            };
            for _ in 0..2 {
                let mut listed = payloads(&writer.inbox(&filter(None)).unwrap());
                listed.reverse();
                assert_eq!(listed, expected, "{reader}");
                assert_eq!(writer.inbox_count(&filter(Some("unread"))).unwrap(), expected.len());
                // The same after the number has moved.
                writer.advance_broadcasts(reader, 1).unwrap();
            }
            assert!(deliver(&writer, reader, 2).is_empty(), "{reader}");
        }
        send(&writer, ALL_INBOXES, "later");
        assert_eq!(deliver(&writer, "old", 3), ["later"]);
        assert_eq!(deliver(&writer, "new", 3), ["later"]);
    }

    #[test]
    fn a_number_never_passes_mail_that_was_not_offered() {
        let (_dir, writer) = temp_database();
        writer.register_agent("planner").unwrap();
        let number = || -> i64 {
            writer.advance_broadcasts("planner", 5).unwrap();
            let sql = "SELECT broadcasts_after FROM agents WHERE id = 'planner'";
            writer.conn.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        send(&writer, "planner", "direct");
        assert_eq!(number(), 0);
        let mail: Vec<_> = (0..3).map(|_| send(&writer, ALL_INBOXES, "x")).collect();
        assert_eq!(number(), 1);
        writer.record_delivery(&mail[1..], "s", by("planner", 5)).unwrap();
        assert_eq!(number(), 1, "the first one was not offered");
        writer.ack_mail(&mail[0].id, by("planner", 5)).unwrap();
        assert_eq!(number(), 4);
        assert_eq!(
            to_deliver(&writer, "planner", 5 + CONFIRM_TIMEOUT).len(),
            3,
            "lost ones are repeated"
        );
        let own = NewInboxMessage::new("planner", ALL_INBOXES, "own");
        let own = writer.send(&own).unwrap().into_row();
        let expired = NewInboxMessage {
            expires_at: Some(4),
            ..NewInboxMessage::new("boss", ALL_INBOXES, "expired")
        };
        assert_eq!(number(), own.n);
        let expired = writer.send(&expired).unwrap().into_row();
        assert_eq!(number(), expired.n);
    }

    /// A hook does not read mail to all that is older than the agent or was offered to it.
    #[test]
    fn old_mail_to_all_costs_a_hook_nothing() {
        let (_dir, writer) = temp_database();
        writer.register_agent("old").unwrap();
        let steps = |sql: &str, reader: &str| {
            let mut statement = writer.conn.prepare(sql).unwrap();
            if sql == TO_DELIVER {
                let parameters = params![reader, ALL_INBOXES, 9, "printed", CONFIRM_TIMEOUT];
                assert!(!statement.exists(parameters).unwrap());
            } else {
                assert!(!statement.exists(params![reader, ALL_INBOXES, 9]).unwrap());
            }
            statement.get_status(StatementStatus::VmStep)
        };
        let fill = |count: i64| {
            let sql = "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM i WHERE n < ?1) \
                INSERT INTO inbox_messages(from_agent, to_inbox) SELECT 'boss', 'all' FROM i";
            writer.conn.execute(sql, [count]).unwrap();
            let sql = "INSERT INTO receipts(message_id, reader, state) SELECT message_id, 'old', 'offered' \
                FROM inbox_messages m WHERE NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id)";
            writer.conn.execute(sql, []).unwrap();
            writer.advance_broadcasts("old", 9).unwrap();
        };
        fill(10);
        writer.register_agent("new").unwrap();
        let few = [("old", TO_DELIVER), ("new", TO_DELIVER), ("old", FIRST_OPEN_BROADCAST)]
            .map(|(reader, sql)| steps(sql, reader));
        fill(20_000);
        writer.register_agent("newer").unwrap();
        let many = [
            ("old", TO_DELIVER),
            ("newer", TO_DELIVER),
            ("old", FIRST_OPEN_BROADCAST),
        ]
        .map(|(reader, sql)| steps(sql, reader));
        assert_eq!(many, few);
    }

    #[test]
    fn mail_that_a_deleted_agent_had_not_seen_is_delivered_when_it_comes_back() {
        let (_dir, writer) = temp_database();
        for name in ["planner", "newest"] {
            writer.register_agent(name).unwrap();
        }
        send(&writer, "planner", "hello");
        let mail = writer.mail_to_deliver("planner", Repeat::Lost, 1, 5).unwrap().mail;
        writer.record_delivery(&mail, "s", by("planner", 1)).unwrap();
        let now = crate::protocol::now_ms();
        let retention = Retention {
            before: 0,
            now,
            unread: Unread::Keep,
            agents_before: now + 60_000,
        };
        assert_eq!(writer.prune(&retention).unwrap().deliveries, 1);
        writer.register_agent("planner").unwrap();
        let again = writer.mail_to_deliver("planner", Repeat::Lost, 2, 5).unwrap().mail;
        assert_eq!(payloads(&again), ["hello"]);
    }

    #[test]
    fn urgent_mail_comes_first_and_the_rest_is_counted() {
        let (_dir, writer) = temp_database();
        writer.register_agent("planner").unwrap();
        for i in 0..200 {
            send(&writer, "planner", &format!("note {i}"));
        }
        for (to, text, priority) in [
            ("planner", "look", "action"),
            (ALL_INBOXES, "STOP", "urgent"),
            ("planner", "own word", "whenever"),
        ] {
            let new = NewInboxMessage {
                priority: Some(priority.to_owned()),
                ..NewInboxMessage::new("boss", to, text)
            };
            writer.send(&new).unwrap();
        }
        let first = writer.mail_to_deliver("planner", Repeat::Lost, 1, 5).unwrap();
        assert_eq!(payloads(&first.mail), ["STOP", "look", "note 0", "note 1", "note 2"]);
        assert_eq!(first.waiting, 198);
        writer.record_delivery(&first.mail, "s", by("planner", 1)).unwrap();
        let second = writer.mail_to_deliver("planner", Repeat::Lost, 1, 500).unwrap();
        assert_eq!((second.mail.len(), second.waiting), (198, 0));
        assert_eq!(second.mail.last().unwrap().payload, "own word");
        // The lost ones again.
        let again = writer
            .mail_to_deliver("planner", Repeat::Lost, 1 + CONFIRM_TIMEOUT, 5)
            .unwrap();
        assert_eq!((again, first.waiting), (first, 198));
    }

    #[test]
    fn delivers_again_if_a_delivery_is_not_confirmed() {
        let (_dir, writer) = temp_database();
        send(&writer, "planner", "one");
        let to_deliver = |now| to_deliver(&writer, "planner", now);
        writer.record_delivery(&to_deliver(5), "s", by("planner", 5)).unwrap();
        let (soon, late) = (5 + CONFIRM_TIMEOUT - 1, 5 + CONFIRM_TIMEOUT);
        assert!(to_deliver(soon).is_empty(), "it may still be printed");
        assert_eq!(to_deliver(late).len(), 1);
        assert_eq!(to_deliver(-soon).len(), 1, "the same if the clock was set back");
        let delivered_to = |session| payloads(&writer.mail_delivered_to_session("planner", session, 9).unwrap());
        assert!(delivered_to("s").is_empty());
        writer.confirm_delivery(&[1], "t", "planner").unwrap();
        assert!(delivered_to("s").is_empty(), "another session cannot confirm it");
        writer.confirm_delivery(&[1], "s", "planner").unwrap();
        assert!(to_deliver(late).is_empty());
        assert_eq!((delivered_to("s").len(), delivered_to("t").len()), (1, 0));
        writer
            .add_receipt(
                &writer.mail("1").unwrap().unwrap().message_id,
                Receipt::Seen,
                by("planner", 7),
            )
            .unwrap();
        assert!(delivered_to("s").is_empty(), "seen mail is left out");
        let rows: i64 = writer
            .conn
            .query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 0, "a receipt takes the place of the delivery");
    }

    #[test]
    fn keeps_the_last_session_of_each_delivery() {
        let (_dir, writer) = temp_database();
        for i in 0..3 {
            send(&writer, "planner", &i.to_string());
        }
        let long_name = "s".repeat(MAX_SESSION * 2);
        let mail = to_deliver(&writer, "planner", 1);
        writer.record_delivery(&mail, &long_name, by("planner", 1)).unwrap();
        let all: Vec<i64> = mail.iter().map(|mail| mail.n).collect();
        writer.confirm_delivery(&all, &long_name, "planner").unwrap();
        let delivered_to = |session: &str| payloads(&writer.mail_delivered_to_session("planner", session, 9).unwrap());
        assert_eq!(delivered_to(&long_name), ["0", "1", "2"]);
        writer.record_delivery(&mail[1..2], "t", by("planner", 2)).unwrap();
        writer.confirm_delivery(&all, "t", "planner").unwrap();
        assert_eq!(delivered_to(&long_name), ["0", "2"]);
        assert_eq!(delivered_to("t"), ["1"]);
    }

    #[test]
    fn hooks_need_not_look_for_mail_that_is_delivered() {
        let (_dir, writer) = temp_database();
        let has_mail = || writer.has_mail_to_deliver("planner", 2).unwrap();
        assert!(!has_mail());
        send(&writer, "planner", "one");
        assert!(has_mail());
        let mail = to_deliver(&writer, "planner", 2);
        writer.record_delivery(&mail, "s", by("planner", 2)).unwrap();
        assert!(!has_mail());
    }

    /// A process of schema version 2 holds the file open across the migration and writes its JSON again.
    #[test]
    fn adopts_what_an_older_process_records() {
        let (_dir, writer) = temp_database();
        let mail: Vec<_> = ["one", "two"].map(|text| send(&writer, "planner", text)).into();
        let write = |deliveries: &str| {
            let sql = "INSERT INTO hub(key, value) VALUES('offered:planner', ?1) \
                ON CONFLICT(key) DO UPDATE SET value = excluded.value";
            writer.conn.execute(sql, [deliveries]).unwrap();
        };
        writer.add_receipts(&mail, Receipt::Offered, by("planner", 5)).unwrap();
        let printed = r#"{"n":1,"at":5,"session":"s","printed":true}"#;
        write(&format!(
            r#"[{printed},{{"n":2,"at":5,"session":"s","printed":false}}]"#
        ));
        assert!(
            writer.has_mail_to_deliver("planner", 6).unwrap(),
            "the hook must not skip it"
        );
        writer.adopt_deliveries("planner").unwrap();
        assert!(!writer.has_mail_to_deliver("planner", 6).unwrap());
        let delivered = || payloads(&writer.mail_delivered_to_session("planner", "s", 9).unwrap());
        assert_eq!(delivered(), ["one"]);
        assert_eq!(payloads(&to_deliver(&writer, "planner", 5 + CONFIRM_TIMEOUT)), ["two"]);
        // Its confirmation of the second finds no JSON. The mail is delivered once more.
        write("[]");
        writer.adopt_deliveries("planner").unwrap();
        assert_eq!(delivered(), ["one"]);
        assert_eq!(payloads(&to_deliver(&writer, "planner", 5 + CONFIRM_TIMEOUT)), ["two"]);
        // An older state does not replace a newer one.
        writer.record_delivery(&mail[..1], "t", by("planner", 8)).unwrap();
        write(&format!("[{printed}]"));
        writer.adopt_deliveries("planner").unwrap();
        assert!(delivered().is_empty());
        for invalid in ["", "5", "[{}]", "[1, null]", r#"{"n":1}"#, r#"[{"n":"1"}]"#] {
            write(invalid);
            writer.adopt_deliveries("planner").unwrap();
            assert!(delivered().is_empty(), "{invalid}");
            assert!(!writer.has_deliveries_to_adopt("planner").unwrap());
        }
    }
}

//! Deliveries: which mail a hook process has printed into which session of an agent tool.
//!
//! 1. A delivery is recorded before the process prints the mail, so that two processes never print
//!    the same mail, and confirmed afterwards.
//! 2. A delivery that is not confirmed within [`CONFIRM_TIMEOUT`] is lost (the process was killed, or
//!    the tool did not read its output). Its mail is delivered again.
//! 3. A later process of the same session can assume that the model has read the mail of confirmed
//!    deliveries.
//!
//! The `hub` table keeps the last deliveries of each reader; receipts (`offered`) are permanent.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{ALL_INBOXES, ReadContext};
use crate::store::inbox::messages::{COLUMNS, InboxMessageRow};
use crate::store::inbox::receipts::Receipt;

/// Prefix of the keys in the `hub` table that store a reader's last deliveries.
const KEY_PREFIX: &str = "offered:";
/// Number of deliveries kept for each reader. Older ones are deleted.
const MAX_KEPT: usize = 64;
/// Maximum length of a stored session name, in characters.
const MAX_SESSION: usize = 100;
/// Milliseconds a process may take from its start until it has printed.
const CONFIRM_TIMEOUT: u64 = 2_000;

/// The delivery of a message to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Delivery {
    /// The number of the inbox message.
    n: i64,
    /// When it was recorded, Unix milliseconds.
    at: i64,
    /// The session.
    session: String,
    /// Whether it is confirmed.
    printed: bool,
}

impl Delivery {
    fn is_to(&self, session: &str) -> bool {
        self.session.chars().eq(session.chars().take(MAX_SESSION))
    }

    fn is_lost(&self, now: i64) -> bool {
        // `at` can be later than `now`: a process that started later may get the lock first.
        !self.printed && now.abs_diff(self.at) >= CONFIRM_TIMEOUT
    }
}

impl Reader {
    /// Returns unread mail that was not delivered to `reader` yet and that `reader` has not seen, and
    /// mail of lost deliveries: at most `limit`. Lost deliveries first, then oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_to_deliver(&self, reader: &str, now: i64, limit: usize) -> Result<Vec<InboxMessageRow>> {
        let mut found = self.mail_of_deliveries(reader, now, |delivery| delivery.is_lost(now))?;
        found.truncate(limit);
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages m WHERE to_inbox IN (?1, ?2) AND status = 'unread' \
             AND from_agent <> ?1 AND (expires_at IS NULL OR expires_at > ?3) \
             AND (coalesce(claimed_by, '') IN ('', ?1) OR coalesce(claim_expires_at, 0) <= ?3) \
             AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1) \
             ORDER BY n LIMIT ?4"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
        let fresh = statement.query_map(params![reader, ALL_INBOXES, now, left], |row| {
            Ok(InboxMessageRow::read(row, &self.proofs))
        })?;
        for mail in fresh {
            found.push(mail?);
        }
        Ok(found)
    }

    /// Returns unread mail that was delivered to any session of `reader`, without a receipt that
    /// `reader` has seen it: at most `limit`, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_delivered_unseen(&self, reader: &str, now: i64, limit: usize) -> Result<Vec<InboxMessageRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages m WHERE to_inbox IN (?1, ?2) AND status = 'unread' \
             AND (expires_at IS NULL OR expires_at > ?3) \
             AND (coalesce(claimed_by, '') IN ('', ?1) OR coalesce(claim_expires_at, 0) <= ?3) \
             AND EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1 AND r.state = 'offered') \
             AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?1 AND r.state <> 'offered') \
             ORDER BY n LIMIT ?4"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = statement.query_map(params![reader, ALL_INBOXES, now, limit], |row| {
            Ok(InboxMessageRow::read(row, &self.proofs))
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Returns unread mail of `reader` with a confirmed delivery to this session, without a receipt
    /// that `reader` has seen it: in the order of the deliveries.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_delivered_to_session(&self, reader: &str, session: &str, now: i64) -> Result<Vec<InboxMessageRow>> {
        self.mail_of_deliveries(reader, now, |delivery| delivery.printed && delivery.is_to(session))
    }

    /// Returns mail of the deliveries selected by `filter` that is still unread and not seen.
    fn mail_of_deliveries(
        &self,
        reader: &str,
        now: i64,
        filter: impl Fn(&Delivery) -> bool,
    ) -> Result<Vec<InboxMessageRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages m WHERE n = ?1 AND status = 'unread' \
             AND (expires_at IS NULL OR expires_at > ?3) \
             AND (coalesce(claimed_by, '') IN ('', ?2) OR coalesce(claim_expires_at, 0) <= ?3) \
             AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?2 AND r.state <> 'offered')"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut found = Vec::new();
        for delivery in self.deliveries(reader)?.iter().filter(|delivery| filter(delivery)) {
            let mail = statement.query_row(params![delivery.n, reader, now], |row| {
                Ok(InboxMessageRow::read(row, &self.proofs))
            });
            found.extend(mail.optional()?);
        }
        Ok(found)
    }

    /// Returns a reader's last deliveries, oldest first. Empty if the stored value is invalid.
    fn deliveries(&self, reader: &str) -> Result<Vec<Delivery>> {
        let stored: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT CAST(coalesce(value, '') AS BLOB) FROM hub WHERE key = ?1")?
            .query_row([format!("{KEY_PREFIX}{reader}")], |row| row.get(0))
            .optional()?;
        Ok(stored
            .and_then(|stored| serde_json::from_slice(&stored).ok())
            .unwrap_or_default())
    }
}

impl Writer {
    /// Records that `mail` is about to be printed for a session of the reader.
    ///
    /// # Errors
    /// As [`Writer::add_receipt`].
    pub fn record_delivery(&self, mail: &[InboxMessageRow], session: &str, context: ReadContext<'_>) -> Result<()> {
        self.atomically(|| {
            self.add_receipts(mail, Receipt::Offered, context)?;
            let mut deliveries = self.deliveries(context.reader)?;
            deliveries.retain(|delivery| mail.iter().all(|mail| mail.n != delivery.n));
            deliveries.extend(mail.iter().map(|mail| Delivery {
                n: mail.n,
                at: context.now,
                session: session.chars().take(MAX_SESSION).collect(),
                printed: false,
            }));
            self.set_deliveries(context.reader, &deliveries)
        })
    }

    /// Records that the mail with these numbers was printed for this session of `reader`. Deliveries
    /// that another session has taken over meanwhile are not changed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirm_delivery(&self, mail: &[i64], session: &str, reader: &str) -> Result<()> {
        self.atomically(|| {
            let mut deliveries = self.deliveries(reader)?;
            for delivery in &mut deliveries {
                delivery.printed |= mail.contains(&delivery.n) && delivery.is_to(session);
            }
            self.set_deliveries(reader, &deliveries)
        })
    }

    fn set_deliveries(&self, reader: &str, deliveries: &[Delivery]) -> Result<()> {
        let newest = &deliveries[deliveries.len().saturating_sub(MAX_KEPT)..];
        self.conn
            .prepare_cached(
                "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![
                format!("{KEY_PREFIX}{reader}"),
                serde_json::json!(newest).to_string()
            ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InboxFilter;
    use crate::store::test_support::{by, payloads, send, temp_database};

    #[test]
    fn delivers_mail_once_and_mail_to_all_once_to_each_reader() {
        let (_dir, writer) = temp_database();
        send(&writer, "planner", "one");
        send(&writer, ALL_INBOXES, "two");
        send(&writer, "tester", "three");
        let deliver = |reader: &str, now| {
            let mail = writer.mail_to_deliver(reader, now, 9).unwrap();
            writer.record_delivery(&mail, "s", by(reader, now)).unwrap();
            payloads(&mail)
        };
        assert_eq!(deliver("planner", 1), ["one", "two"]);
        assert!(deliver("planner", 2).is_empty());
        assert_eq!(deliver("tester", 3), ["two", "three"]);
        assert!(deliver("boss", 3).is_empty(), "mail is not delivered to its sender");

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
    fn delivers_again_if_a_delivery_is_not_confirmed() {
        let (_dir, writer) = temp_database();
        send(&writer, "planner", "one");
        let to_deliver = |now| writer.mail_to_deliver("planner", now, 9).unwrap();
        writer.record_delivery(&to_deliver(5), "s", by("planner", 5)).unwrap();
        let (soon, late) = (
            5_i64.saturating_add_unsigned(CONFIRM_TIMEOUT - 1),
            5_i64.saturating_add_unsigned(CONFIRM_TIMEOUT),
        );
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
    }

    #[test]
    fn keeps_the_last_deliveries_and_the_last_session_of_each() {
        let (_dir, writer) = temp_database();
        for i in 0..=MAX_KEPT {
            send(&writer, "planner", &i.to_string());
        }
        let long_name = "s".repeat(MAX_SESSION * 2);
        let mail = writer.mail_to_deliver("planner", 1, MAX_KEPT + 1).unwrap();
        writer.record_delivery(&mail, &long_name, by("planner", 1)).unwrap();
        let all: Vec<i64> = mail.iter().map(|mail| mail.n).collect();
        writer.confirm_delivery(&all, &long_name, "planner").unwrap();
        let delivered_to = |session: &str| payloads(&writer.mail_delivered_to_session("planner", session, 9).unwrap());
        assert_eq!(delivered_to(&long_name).len(), MAX_KEPT);
        assert_eq!(delivered_to(&long_name)[0], "1");
        writer.record_delivery(&mail[1..2], "t", by("planner", 2)).unwrap();
        writer.confirm_delivery(&all, "t", "planner").unwrap();
        assert_eq!(
            (delivered_to(&long_name).len(), delivered_to("t")),
            (MAX_KEPT - 1, vec!["1".to_owned()])
        );
        // Invalid values under the key count as no deliveries.
        for invalid in ["x'ff'", "NULL", "5", "'[{}]'"] {
            let sql = format!("UPDATE hub SET value = {invalid} WHERE key = 'offered:planner'");
            writer.conn.execute(&sql, []).unwrap();
            assert!(delivered_to("t").is_empty(), "{invalid}");
        }
    }
}

//! Offers: mail that was put before a model, and the session that has it before it.
//!
//! For: the short-lived processes of an agent's tool. What one of them printed, a later one of
//! the same session may take for read; what was never printed is offered again.
//! Not for: receipts, which stay for ever (`receipts`), or the mail's text (`agents`).
//!
//! An offer is written before it is printed, so that two processes never print the same, and
//! confirmed after. One that is not confirmed within [`PRINTING`] is lost: its process was
//! killed, or nobody took what it printed.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{EVERYBODY, ReadContext};
use crate::store::inbox::messages::{COLUMNS, InboxRow};
use crate::store::inbox::receipts::Receipt;

/// The key, in the table `hub`, under which a reader's last offers stand.
const OFFERED: &str = "offered:";
/// Offers that are kept for a reader. Of older ones no session is known any more.
const KEPT: usize = 64;
/// Characters of a session's name that are kept.
const SESSION: usize = 100;
/// Milliseconds that a process may take from its start until it has printed.
const PRINTING: u64 = 2_000;

/// A piece of mail before a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Offer {
    /// The mail's number.
    n: i64,
    /// When, Unix milliseconds.
    at: i64,
    /// To which session.
    session: String,
    /// Whether it is known to have been printed.
    printed: bool,
}

impl Offer {
    fn is_of(&self, session: &str) -> bool {
        self.session.chars().eq(session.chars().take(SESSION))
    }

    fn is_lost(&self, now: i64) -> bool {
        // Who came later may have got the lock first.
        !self.printed && now.abs_diff(self.at) >= PRINTING
    }
}

impl Reader {
    /// Unread mail that `reader` has not seen and was not offered, or was offered by a process
    /// that never printed it: at most `limit`, the lost first, each oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_to_offer(&self, reader: &str, now: i64, limit: usize) -> Result<Vec<InboxRow>> {
        let mut found = self.mail_of_offers(reader, now, |offer| offer.is_lost(now))?;
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
        let fresh = statement.query_map(params![reader, EVERYBODY, now, left], |row| Ok(InboxRow::read(row)))?;
        for mail in fresh {
            found.push(mail?);
        }
        Ok(found)
    }

    /// Unread mail that was offered to any session of `reader` and, as far as is known, not
    /// seen: at most `limit`, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_offered(&self, reader: &str, now: i64, limit: usize) -> Result<Vec<InboxRow>> {
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
        let found = statement.query_map(params![reader, EVERYBODY, now, limit], |row| Ok(InboxRow::read(row)))?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Unread mail of `reader` that was printed for this session and, as far as is known, not
    /// seen yet: in the order in which it was offered.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_before_session(&self, reader: &str, session: &str, now: i64) -> Result<Vec<InboxRow>> {
        self.mail_of_offers(reader, now, |offer| offer.printed && offer.is_of(session))
    }

    /// What is still unread and not seen of the offers that `wanted` picks.
    fn mail_of_offers(&self, reader: &str, now: i64, wanted: impl Fn(&Offer) -> bool) -> Result<Vec<InboxRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages m WHERE n = ?1 AND status = 'unread' \
             AND (expires_at IS NULL OR expires_at > ?3) \
             AND (coalesce(claimed_by, '') IN ('', ?2) OR coalesce(claim_expires_at, 0) <= ?3) \
             AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?2 AND r.state <> 'offered')"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut found = Vec::new();
        for offer in self.offers(reader)?.iter().filter(|offer| wanted(offer)) {
            let mail = statement.query_row(params![offer.n, reader, now], |row| Ok(InboxRow::read(row)));
            found.extend(mail.optional()?);
        }
        Ok(found)
    }

    /// A reader's last offers, oldest first. What stands there and makes no sense counts for
    /// nothing.
    fn offers(&self, reader: &str) -> Result<Vec<Offer>> {
        let stored: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT CAST(coalesce(value, '') AS BLOB) FROM hub WHERE key = ?1")?
            .query_row([format!("{OFFERED}{reader}")], |row| row.get(0))
            .optional()?;
        Ok(stored
            .and_then(|stored| serde_json::from_slice(&stored).ok())
            .unwrap_or_default())
    }
}

impl Writer {
    /// Writes that `mail` is about to be printed for a session of the reader.
    ///
    /// # Errors
    /// As [`Writer::receipt`].
    pub fn offer(&self, mail: &[InboxRow], session: &str, reading: ReadContext<'_>) -> Result<()> {
        self.atomically(|| {
            self.receipts_for(mail, Receipt::Offered, reading)?;
            let mut offers = self.offers(reading.reader)?;
            offers.retain(|offer| mail.iter().all(|mail| mail.n != offer.n));
            offers.extend(mail.iter().map(|mail| Offer {
                n: mail.n,
                at: reading.now,
                session: session.chars().take(SESSION).collect(),
                printed: false,
            }));
            self.set_offers(reading.reader, &offers)
        })
    }

    /// Writes that the mail with these numbers was printed for this session of `reader`. What
    /// has been offered to another one meanwhile is that one's.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirm_offer(&self, mail: &[i64], session: &str, reader: &str) -> Result<()> {
        self.atomically(|| {
            let mut offers = self.offers(reader)?;
            for offer in &mut offers {
                offer.printed |= mail.contains(&offer.n) && offer.is_of(session);
            }
            self.set_offers(reader, &offers)
        })
    }

    fn set_offers(&self, reader: &str, offers: &[Offer]) -> Result<()> {
        let newest = &offers[offers.len().saturating_sub(KEPT)..];
        self.conn
            .prepare_cached(
                "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![
                format!("{OFFERED}{reader}"),
                serde_json::json!(newest).to_string()
            ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{InboxFilter, NetworkFs, NewInbox};

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

    fn send(writer: &Writer, to: &str, text: &str) {
        writer.send(&NewInbox::new("boss", to, text)).unwrap();
    }

    fn texts(mail: Vec<InboxRow>) -> Vec<String> {
        mail.into_iter().map(|mail| mail.payload).collect()
    }

    #[test]
    fn mail_is_offered_once_and_mail_to_all_to_each() {
        let (_folder, writer) = file();
        send(&writer, "planner", "one");
        send(&writer, EVERYBODY, "two");
        send(&writer, "tester", "three");
        let offer = |reader: &str, now| {
            let mail = writer.mail_to_offer(reader, now, 9).unwrap();
            writer.offer(&mail, "s", by(reader, now)).unwrap();
            texts(mail)
        };
        assert_eq!(offer("planner", 1), ["one", "two"]);
        assert!(offer("planner", 2).is_empty());
        assert_eq!(offer("tester", 3), ["two", "three"]);
        assert!(offer("boss", 3).is_empty(), "nobody is offered what they sent");

        let unread = |name: &str| {
            let filter = InboxFilter {
                inbox: Some(name.to_owned()),
                status: Some("unread".to_owned()),
                limit: 9,
                ..InboxFilter::default()
            };
            writer.inbox(&filter).unwrap().len()
        };
        assert_eq!(unread("planner"), 2, "what is offered is not read");
        assert_eq!(writer.read_mail("2", by("planner", 4)).unwrap().status, "unread");
        writer.ack_mail("2", by("planner", 4)).unwrap();
        assert_eq!((unread("planner"), unread("tester")), (1, 2));
    }

    #[test]
    fn an_offer_that_was_never_printed_is_lost_and_made_again() {
        let (_folder, writer) = file();
        send(&writer, "planner", "one");
        let to_offer = |now| writer.mail_to_offer("planner", now, 9).unwrap();
        writer.offer(&to_offer(5), "s", by("planner", 5)).unwrap();
        let (soon, late) = (
            5_i64.saturating_add_unsigned(PRINTING - 1),
            5_i64.saturating_add_unsigned(PRINTING),
        );
        assert!(to_offer(soon).is_empty(), "it may be printed this very moment");
        assert_eq!(to_offer(late).len(), 1);
        assert_eq!(to_offer(-soon).len(), 1, "nor does a clock that was set back keep it");
        let before = |session| texts(writer.mail_before_session("planner", session, 9).unwrap());
        assert!(before("s").is_empty());
        writer.confirm_offer(&[1], "t", "planner").unwrap();
        assert!(before("s").is_empty(), "that was another session");
        writer.confirm_offer(&[1], "s", "planner").unwrap();
        assert!(to_offer(late).is_empty());
        assert_eq!((before("s").len(), before("t").len()), (1, 0));
        writer
            .receipt(
                &writer.mail("1").unwrap().unwrap().message_id,
                Receipt::Seen,
                by("planner", 7),
            )
            .unwrap();
        assert!(before("s").is_empty(), "it is seen");
    }

    #[test]
    fn the_last_session_has_the_mail_and_only_the_last_offers_are_kept() {
        let (_folder, writer) = file();
        for i in 0..=KEPT {
            send(&writer, "planner", &i.to_string());
        }
        let long = "s".repeat(SESSION * 2);
        let mail = writer.mail_to_offer("planner", 1, KEPT + 1).unwrap();
        writer.offer(&mail, &long, by("planner", 1)).unwrap();
        let all: Vec<i64> = mail.iter().map(|mail| mail.n).collect();
        writer.confirm_offer(&all, &long, "planner").unwrap();
        let before = |session: &str| texts(writer.mail_before_session("planner", session, 9).unwrap());
        assert_eq!(before(&long).len(), KEPT);
        assert_eq!(before(&long)[0], "1");
        writer.offer(&mail[1..2], "t", by("planner", 2)).unwrap();
        writer.confirm_offer(&all, "t", "planner").unwrap();
        assert_eq!((before(&long).len(), before("t")), (KEPT - 1, vec!["1".to_owned()]));
        // Somebody else's words under our key are no offers.
        for odd in ["x'ff'", "NULL", "5", "'[{}]'"] {
            let sql = format!("UPDATE hub SET value = {odd} WHERE key = 'offered:planner'");
            writer.conn.execute(&sql, []).unwrap();
            assert!(before("t").is_empty(), "{odd}");
        }
    }
}

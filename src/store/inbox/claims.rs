//! Claims of inbox messages, and changes of their status.
//!
//! Several agents can work through one inbox: each message is claimed by one of them. A claim is an
//! owner and the end of a lease. Until then no other process gets the message from the inbox, not
//! even one with the same name. After that the message is claimable again, even if no hub is running to
//! clear the owner.

use std::time::Duration;

use rusqlite::params;

use crate::config::is_human;
use crate::error::{Code, Error, Result};
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{ALL_INBOXES, HANDOVER_ORDER, ReadContext};
use crate::store::inbox::messages::InboxMessageRow;
use crate::store::inbox::receipts::Receipt;

/// Maximum lease. Work that takes longer than a week is considered abandoned.
pub const MAX_LEASE: Duration = Duration::from_secs(7 * 86_400);

/// Statuses that each reader of mail to `all` sets for itself.
const PER_READER: [&str; 3] = ["unread", "read", "archived"];

/// The messages to claim, and the duration of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The inbox; not `all`, whose mail cannot be claimed.
    pub inbox: &'a str,
    /// Only mail from this sender.
    pub from: Option<&'a str>,
    /// From 1 ms to [`MAX_LEASE`].
    pub lease: Duration,
    /// Maximum number of messages.
    pub limit: usize,
}

/// Condition for claimable messages: `?1` inbox, `?2` sender, `?3` now.
const CLAIMABLE: &str = "to_inbox = ?1 AND status = 'unread' AND (?2 IS NULL OR from_agent = ?2) \
     AND (expires_at IS NULL OR expires_at > ?3) AND coalesce(claim_expires_at, 0) <= ?3";

impl Reader {
    /// Returns whether [`Writer::claim`] would claim a message.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn has_claimable_mail(&self, claim: Claim<'_>, now: i64) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE {CLAIMABLE})");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row(params![claim.inbox, claim.from, now], |row| row.get(0))?)
    }
}

impl Writer {
    /// Claims the first unread messages without a running lease, by priority and age, and records that the
    /// owner has seen them. Returns them in that order; empty if there are none.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the lease is out of range or the inbox is `all`, a `Store…` code.
    pub fn claim(&self, claim: Claim<'_>, owner: ReadContext<'_>) -> Result<Vec<InboxMessageRow>> {
        let until = lease_end(claim.lease, owner.now)?;
        if claim.inbox == ALL_INBOXES {
            // A claim would hide it from all other readers.
            return Err(Error::new(
                Code::Invalid,
                "mail to all cannot be claimed, because everyone gets it; list it without a claim",
            ));
        }
        self.atomically(|| {
            let sql = format!("SELECT n FROM inbox_messages WHERE {CLAIMABLE} ORDER BY {HANDOVER_ORDER} LIMIT ?4");
            let mut statement = self.conn.prepare_cached(&sql)?;
            let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
            let found = statement.query_map(params![claim.inbox, claim.from, owner.now, limit], |row| row.get(0))?;
            let mut claimed = Vec::new();
            for n in found.collect::<rusqlite::Result<Vec<i64>>>()? {
                claimed.push(self.set_claim(n, until, owner)?);
            }
            Ok(claimed)
        })
    }

    /// Claims one message, or extends the owner's lease, and records that the owner has seen it.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such message; [`Code::Conflict`] if it is not unread, is
    /// addressed to `all`, has expired, or another owner holds a claim; [`Code::Invalid`] if the lease
    /// is out of range; a `Store…` code.
    pub fn claim_mail(&self, id: &str, lease: Duration, owner: ReadContext<'_>) -> Result<InboxMessageRow> {
        let until = lease_end(lease, owner.now)?;
        self.atomically(|| {
            let mail = self.require_mail(id)?;
            if let Some(reason) = not_claimable(&mail, owner.now) {
                return Err(Error::new(Code::Conflict, format!("{id} {reason}")));
            }
            reject_other_owner(&mail, id, owner)?;
            self.set_claim(mail.n, until, owner)
        })
    }

    /// Ends a claim before its lease ends. A message without a claim is not changed.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such message; [`Code::Conflict`] if another owner holds a
    /// claim; a `Store…` code.
    pub fn release_mail(&self, id: &str, owner: ReadContext<'_>) -> Result<InboxMessageRow> {
        self.atomically(|| {
            let mail = self.require_mail(id)?;
            reject_other_owner(&mail, id, owner)?;
            self.conn
                .prepare_cached(
                    "UPDATE inbox_messages SET claimed_by = NULL, claim_expires_at = NULL \
                     WHERE n = ?1 AND status = 'unread'",
                )?
                .execute([mail.n])?;
            self.require_mail(&mail.id)
        })
    }

    /// Clears the owners of expired claims. Returns how many.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn release_expired_claims(&self, now: i64) -> Result<usize> {
        let due = self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE claim_expires_at <= ?1)")?
            .query_row([now], |row| row.get::<_, bool>(0))?;
        // Reading takes no write lock, and usually no claim is due.
        if !due {
            return Ok(0);
        }
        Ok(self
            .conn
            .prepare_cached(
                "UPDATE inbox_messages SET claimed_by = NULL, claim_expires_at = NULL WHERE claim_expires_at <= ?1",
            )?
            .execute([now])?)
    }

    /// Sets the status of a message: unread, read, archived, deleted, or another word. A claim on it
    /// ends, and `read_at` is set when it first stops being unread. The statuses read and archived
    /// of mail to `all` apply to `by` only: other readers keep it unread.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such message, [`Code::Invalid`] if the status is empty,
    /// [`Code::Conflict`] to make read mail to `all` unread again, or to mark mail as read that another owner
    /// has claimed, unless `by` is the person; a `Store…` code.
    pub fn set_mail_status(&self, id: &str, status: &str, by: ReadContext<'_>) -> Result<InboxMessageRow> {
        if status.trim().is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "the status is empty; use unread, read, archived or deleted",
            ));
        }
        self.atomically(|| {
            let mail = self.require_mail(id)?;
            if status == "read" && !is_human(by.reader) {
                mail.require_owner(by.reader, by.now)?;
            }
            if mail.is_for_all() && mail.status == "unread" && PER_READER.contains(&status) {
                return self.set_reader_status(mail, status, by);
            }
            self.conn
                .prepare_cached(
                    "UPDATE inbox_messages SET status = ?2, claim_expires_at = NULL, \
                     read_at = CASE ?2 WHEN 'unread' THEN NULL ELSE coalesce(read_at, ?3) END, \
                     claimed_by = CASE ?2 WHEN 'unread' THEN NULL ELSE claimed_by END WHERE n = ?1 AND status <> ?2",
                )?
                .execute(params![mail.n, status, by.now])?;
            self.require_mail(&mail.id)
        })
    }

    /// Sets the status that mail to `all` has for one reader, by adding receipts. Receipts are never
    /// removed.
    fn set_reader_status(&self, mail: InboxMessageRow, status: &str, by: ReadContext<'_>) -> Result<InboxMessageRow> {
        match status {
            "read" => self.add_receipt(&mail.message_id, Receipt::Seen, by)?,
            "archived" => self.add_receipt(&mail.message_id, Receipt::Archived, by)?,
            _ => {}
        }
        let receipts = self.receipts(&mail.message_id)?;
        let has = |state: &str| receipts.iter().any(|r| r.reader == by.reader && r.state == state);
        let reader_status = if has("archived") {
            "archived"
        } else if has("seen") || has("acked") {
            "read"
        } else {
            "unread"
        };
        if status == "unread" && reader_status != status {
            return Err(Error::new(
                Code::Conflict,
                "mail to all cannot become unread again: receipts are permanent; send it to one inbox instead",
            ));
        }
        Ok(InboxMessageRow {
            status: reader_status.to_owned(),
            ..mail
        })
    }

    fn set_claim(&self, n: i64, until: i64, owner: ReadContext<'_>) -> Result<InboxMessageRow> {
        self.conn
            .prepare_cached("UPDATE inbox_messages SET claimed_by = ?2, claim_expires_at = ?3 WHERE n = ?1")?
            .execute(params![n, owner.reader, until])?;
        let mail = self
            .inbox_row(n)?
            .ok_or_else(|| Error::new(Code::Internal, "the message just claimed is missing"))?;
        self.add_receipt(&mail.message_id, Receipt::Seen, owner)?;
        Ok(mail)
    }
}

impl InboxMessageRow {
    /// Returns the owner of the claim, if its lease is running.
    pub fn holder(&self, now: i64) -> Option<&str> {
        let is_running = self.claim_expires_at.is_some_and(|end| end > now);
        Some(self.claimed_by.as_str()).filter(|name| is_running && !name.is_empty())
    }

    /// Fails if another owner has claimed the message since `reader` did, or instead of it: `reader` must not
    /// record it as handled. The owner of the inbox may, once the lease has ended.
    ///
    /// # Errors
    /// [`Code::Conflict`], with the owner's name.
    pub(super) fn require_owner(&self, reader: &str, now: i64) -> Result<()> {
        let (n, owner) = (self.n, self.claimed_by.as_str());
        if owner.is_empty() || owner == reader {
            return Ok(());
        }
        let reason = if self.holder(now).is_some() {
            format!("{n} is claimed by {owner}; leave it to them, or wait until the claim expires")
        } else if self.to_inbox == reader {
            return Ok(());
        } else if self.status == "unread" {
            format!("{n} was claimed by {owner} last, and that claim has ended; claim it again before you finish it")
        } else {
            format!("{n} was claimed by {owner}, who has finished it; your claim had ended, so drop your result")
        };
        Err(Error::new(Code::Conflict, reason))
    }

    /// Returns whether the message is addressed to `all`.
    pub fn is_for_all(&self) -> bool {
        self.to_inbox == ALL_INBOXES
    }
}

/// Returns why a message cannot be claimed, and what to do instead.
fn not_claimable(mail: &InboxMessageRow, now: i64) -> Option<String> {
    if mail.is_for_all() {
        // A claim would hide it from all other readers.
        return Some("is addressed to all and cannot be claimed; read it, or send it to one inbox".to_owned());
    }
    if mail.status != "unread" {
        return Some(format!("is {}; only unread mail can be claimed", mail.status));
    }
    let expired = mail.expires_at.is_some_and(|end| end <= now);
    expired.then(|| "has expired; ask the sender to send it again".to_owned())
}

fn reject_other_owner(mail: &InboxMessageRow, id: &str, owner: ReadContext<'_>) -> Result<()> {
    match mail.holder(owner.now) {
        Some(holder) if holder != owner.reader => Err(Error::new(
            Code::Conflict,
            format!("{id} is claimed by {holder}; claim another message, or wait until the claim expires"),
        )),
        _ => Ok(()),
    }
}

fn lease_end(lease: Duration, now: i64) -> Result<i64> {
    if lease.is_zero() || lease > MAX_LEASE {
        return Err(Error::new(
            Code::Invalid,
            format!("the lease must be 1 to {} seconds", MAX_LEASE.as_secs()),
        ));
    }
    let millis = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX).max(1);
    Ok(now.saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::{by, payloads, send, temp_database};
    use crate::store::{NetworkFs, NewInboxMessage};

    const LEASE: Duration = Duration::from_secs(60);

    fn jobs_claim(limit: usize) -> Claim<'static> {
        Claim {
            inbox: "jobs",
            from: None,
            lease: LEASE,
            limit,
        }
    }

    #[test]
    fn mail_is_claimable_if_a_claim_would_get_it() {
        let (_dir, writer) = temp_database();
        let is_claimable = |claim, now| writer.has_claimable_mail(claim, now).unwrap();
        assert!(!is_claimable(jobs_claim(1), 1_000));
        send(&writer, "jobs", "1");
        assert!(is_claimable(jobs_claim(1), 1_000));
        let from_other = Claim {
            from: Some("another"),
            ..jobs_claim(1)
        };
        assert!(!is_claimable(from_other, 1_000));
        writer.claim(jobs_claim(1), by("w1", 1_000)).unwrap();
        assert!(!is_claimable(jobs_claim(1), 1_001));
    }

    #[test]
    fn mail_to_all_is_not_claimed() {
        let (_dir, writer) = temp_database();
        send(&writer, ALL_INBOXES, "for all");
        let claim = Claim {
            inbox: ALL_INBOXES,
            ..jobs_claim(1)
        };
        let error = writer.claim(claim, by("w1", 1_000)).unwrap_err();
        assert_eq!(error.code(), Code::Invalid);
        assert_eq!(writer.inbox_row(1).unwrap().unwrap().claimed_by, "");
    }

    #[test]
    fn mail_to_all_has_a_status_for_each_reader() {
        let (_dir, writer) = temp_database();
        let mail = send(&writer, ALL_INBOXES, "for all");
        let set = |reader, status| {
            let changed = writer.set_mail_status(&mail.message_id, status, by(reader, 5));
            changed.map(|mail| mail.status).map_err(|error| error.code())
        };
        assert_eq!(set("a", "read").as_deref(), Ok("read"));
        assert_eq!(set("b", "archived").as_deref(), Ok("archived"));
        writer
            .add_receipt(&mail.message_id, Receipt::Acked, by("c", 6))
            .unwrap();
        for reader in ["a", "b", "c"] {
            assert_eq!(set(reader, "unread"), Err(Code::Conflict), "{reader}");
        }
        assert_eq!(set("d", "unread").as_deref(), Ok("unread"));
        assert_eq!(writer.inbox_row(mail.n).unwrap().unwrap().status, "unread");
    }

    #[test]
    fn lease_has_a_minimum_and_a_maximum() {
        let (_dir, writer) = temp_database();
        send(&writer, "jobs", "1");
        let claim = |lease| writer.claim(Claim { lease, ..jobs_claim(1) }, by("w1", 1_000));
        for lease in [Duration::ZERO, MAX_LEASE + Duration::from_millis(1), MAX_LEASE * 2] {
            assert_eq!(claim(lease).unwrap_err().code(), Code::Invalid, "{lease:?}");
        }
        assert_eq!(payloads(&claim(MAX_LEASE).unwrap()), ["1"]);
    }

    #[test]
    fn claimed_mail_is_not_claimable_until_the_lease_ends() {
        let (_dir, writer) = temp_database();
        let other = Writer::open(writer.path(), NetworkFs::Refuse).unwrap();
        for text in ["1", "2", "3"] {
            send(&writer, "jobs", text);
        }
        send(&writer, "all", "to all");
        assert_eq!(
            payloads(&writer.claim(jobs_claim(2), by("w1", 1_000)).unwrap()),
            ["1", "2"]
        );
        assert_eq!(payloads(&other.claim(jobs_claim(9), by("w1", 2_000)).unwrap()), ["3"]);
        assert!(other.claim(jobs_claim(9), by("w2", 2_000)).unwrap().is_empty());
        // Here the first two leases have ended and the third has not.
        assert_eq!(
            payloads(&other.claim(jobs_claim(9), by("w2", 61_000)).unwrap()),
            ["1", "2"]
        );
        let first = writer.mail("1").unwrap().unwrap();
        let readers: Vec<_> = writer
            .receipts(&first.message_id)
            .unwrap()
            .into_iter()
            .map(|r| r.reader)
            .collect();
        assert_eq!(readers, ["w1", "w2"]);
    }

    /// The id of a message may be the `message_id` of another one.
    #[test]
    fn a_message_with_the_id_of_another_is_not_returned_for_it() {
        let (_dir, writer) = temp_database();
        let mail = send(&writer, "jobs", "1");
        let other = crate::store::NewInboxMessage {
            id: Some(mail.message_id.clone()),
            ..crate::store::NewInboxMessage::new("evil", "jobs", "2")
        };
        writer.send(&other).unwrap_err();
        writer
            .conn
            .execute(
                "INSERT INTO inbox_messages(id, from_agent, to_inbox, payload) VALUES(?1, 'evil', 'jobs', '2')",
                [&mail.message_id],
            )
            .unwrap();
        writer.claim_mail(&mail.id, LEASE, by("w1", 1_000)).unwrap();
        assert_eq!(writer.release_mail(&mail.id, by("w1", 2_000)).unwrap().payload, "1");
        let read = writer.set_mail_status(&mail.id, "read", by("w1", 3_000)).unwrap();
        assert_eq!(read.payload, "1");
    }

    #[test]
    fn only_the_owner_can_extend_release_or_acknowledge_a_claim() {
        let (_dir, writer) = temp_database();
        let id = send(&writer, "jobs", "1").message_id;
        writer.claim_mail(&id, LEASE, by("w1", 1_000)).unwrap();
        for result in [
            writer.claim_mail(&id, LEASE, by("w2", 2_000)),
            writer.release_mail(&id, by("w2", 2_000)),
            writer.ack_mail(&id, by("w2", 2_000)),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.code(), Code::Conflict);
            assert!(error.message().contains("is claimed by w1"), "{error}");
        }
        assert_eq!(
            writer.claim_mail(&id, LEASE, by("w1", 2_000)).unwrap().claim_expires_at,
            Some(62_000)
        );
        assert_eq!(writer.read_mail(&id, by("w1", 3_000)).unwrap().status, "unread");
        assert_eq!(writer.release_mail(&id, by("w1", 3_000)).unwrap().claimed_by, "");
        writer.claim_mail(&id, LEASE, by("w2", 4_000)).unwrap();
        let done = writer.ack_mail(&id, by("w2", 5_000)).unwrap();
        assert_eq!(
            (
                done.status.as_str(),
                done.read_at,
                done.claimed_by.as_str(),
                done.claim_expires_at
            ),
            ("read", Some(5_000), "w2", None)
        );
        assert_eq!(
            writer.claim_mail(&id, LEASE, by("w1", 6_000)).unwrap_err().code(),
            Code::Conflict
        );
        assert_eq!(
            writer
                .claim(
                    Claim {
                        lease: Duration::ZERO,
                        ..jobs_claim(1)
                    },
                    by("w1", 1)
                )
                .unwrap_err()
                .code(),
            Code::Invalid
        );
    }

    #[test]
    fn clears_the_owners_of_expired_claims() {
        let (_dir, writer) = temp_database();
        send(&writer, "jobs", "1");
        writer.claim(jobs_claim(1), by("w1", 1_000)).unwrap();
        assert_eq!(writer.release_expired_claims(60_999).unwrap(), 0);
        let head = writer.head().unwrap().seq;
        assert_eq!(writer.release_expired_claims(61_000).unwrap(), 1);
        assert_eq!(writer.mail("1").unwrap().unwrap().claimed_by, "");
        assert_eq!(writer.head().unwrap().seq, head + 1, "the change is in the log");
        // The former owner can still acknowledge it, unless another one has claimed it.
        assert_eq!(writer.ack_mail("1", by("w1", 62_000)).unwrap().status, "read");
    }

    #[test]
    fn refuses_to_finish_mail_that_another_owner_has_claimed_meanwhile() {
        let (_dir, writer) = temp_database();
        let question = send(&writer, "jobs", "1");
        let refused = |now: i64, reason: &str| {
            let answer = NewInboxMessage::answer(&question, "w1".to_owned(), "done".to_owned());
            let reply = writer.reply(&question, &answer, by("w1", now));
            for error in [
                writer.ack_mail("1", by("w1", now)).unwrap_err(),
                writer.set_mail_status("1", "read", by("w1", now)).unwrap_err(),
                reply.unwrap_err(),
            ] {
                assert_eq!(error.code(), Code::Conflict);
                assert!(error.message().contains(reason), "{error}");
            }
        };
        writer.claim(jobs_claim(1), by("w1", 1_000)).unwrap();
        writer.claim(jobs_claim(1), by("w2", 62_000)).unwrap();
        refused(63_000, "is claimed by w2");
        // The lease of the second owner has ended too.
        refused(130_000, "was claimed by w2 last");
        let done = writer.ack_mail("1", by("w2", 131_000)).unwrap();
        assert_eq!((done.status.as_str(), done.claimed_by.as_str()), ("read", "w2"));
        refused(132_000, "w2, who has finished it");
        // The owner may repeat it.
        writer.ack_mail("1", by("w2", 133_000)).unwrap();
        let receipts = writer.receipts(&question.message_id).unwrap();
        let acked: Vec<_> = receipts
            .iter()
            .filter(|r| r.state == "acked")
            .map(|r| &r.reader)
            .collect();
        assert_eq!(acked, ["w2"]);
        let answers = writer.mail_in_correlation(question.correlation(), question.n).unwrap();
        assert!(answers.is_empty(), "{answers:?}");
        // The person decides about all mail.
        assert_eq!(
            writer
                .set_mail_status("1", "archived", by("human", 134_000))
                .unwrap()
                .status,
            "archived"
        );
    }

    #[test]
    fn others_can_answer_claimed_mail_that_they_did_not_work_on() {
        let (_dir, writer) = temp_database();
        let question = send(&writer, "jobs", "1");
        writer.claim(jobs_claim(1), by("w1", 1_000)).unwrap();
        for author in ["human", "other", question.from_agent.as_str()] {
            let answer = NewInboxMessage::answer(&question, author.to_owned(), "a comment".to_owned());
            writer.reply(&question, &answer, by(author, 2_000)).unwrap();
        }
        assert_eq!(writer.mail("1").unwrap().unwrap().status, "unread");
    }

    #[test]
    fn mail_is_read_by_the_inbox_owner_and_seen_by_others() {
        let (_dir, writer) = temp_database();
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        let id = send(&writer, "planner", "hello").message_id;
        assert_eq!(writer.read_mail(&id, by("human", 1)).unwrap().status, "unread");
        assert_eq!(writer.read_mail(&id, by("planner", 2)).unwrap().status, "read");
        writer.ack_mail(&id, by("planner", 3)).unwrap();
        writer.ack_mail(&id, by("planner", 4)).unwrap();
        let receipts: Vec<_> = reader
            .receipts(&id)
            .unwrap()
            .into_iter()
            .map(|r| (r.reader, r.state, r.created_at))
            .collect();
        let expected = |reader: &str, state: &str, at| (reader.to_owned(), state.to_owned(), at);
        assert_eq!(
            receipts,
            [
                expected("human", "seen", 1),
                expected("planner", "seen", 2),
                expected("planner", "acked", 3)
            ]
        );
        assert_eq!(
            writer.ack_mail("nowhere", by("planner", 4)).unwrap_err().code(),
            Code::NotFound
        );
        assert_eq!(
            writer.set_mail_status(&id, "archived", by("human", 5)).unwrap().read_at,
            Some(2)
        );
        let restored = writer.set_mail_status(&id, "unread", by("human", 6)).unwrap();
        assert_eq!((restored.status.as_str(), restored.read_at), ("unread", None));
        let rejected = writer.set_mail_status(&id, " ", by("human", 7));
        assert_eq!(rejected.unwrap_err().code(), Code::Invalid);
    }
}

//! Claims: who works on which mail, and until when; and the other states of mail.
//!
//! For: taking mail out of an inbox that several read, so that each piece is worked on by
//! one of them; giving it back; `status` as such.
//! Not for: having read (`receipts`).
//!
//! A claim is an owner and the end of a lease. While the lease runs nobody else gets the
//! mail, be it a second process of the same name. When it has run out the mail is free
//! again, whether or not a hub is there to take the name off.

use std::time::Duration;

use rusqlite::params;

use crate::error::{Code, Error, Result};
use crate::store::connection::{Reader, Writer};
use crate::store::inbox::addressing::{EVERYBODY, ReadContext};
use crate::store::inbox::messages::InboxRow;
use crate::store::inbox::receipts::Receipt;

/// The longest lease: what is not done within a week is not being worked on.
pub const MAX_LEASE: Duration = Duration::from_secs(7 * 86_400);

/// What each reader says for himself of mail to everybody.
const PERSONAL: [&str; 3] = ["unread", "read", "archived"];

/// What to take from an inbox, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The inbox. What was sent to `all` is claimed from the inbox `all` only.
    pub inbox: &'a str,
    /// Only mail from this sender.
    pub from: Option<&'a str>,
    /// From a millisecond to [`MAX_LEASE`].
    pub lease: Duration,
    /// Pieces of mail at most.
    pub limit: usize,
}

/// What can be claimed: `?1` inbox, `?2` sender, `?3` now.
const FREE: &str = "to_inbox = ?1 AND status = 'unread' AND (?2 IS NULL OR from_agent = ?2) \
     AND (expires_at IS NULL OR expires_at > ?3) AND coalesce(claim_expires_at, 0) <= ?3";

impl Reader {
    /// Whether [`Writer::claim`] would find something.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn has_free_mail(&self, claim: Claim<'_>, now: i64) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE {FREE})");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row(params![claim.inbox, claim.from, now], |row| row.get(0))?)
    }
}

impl Writer {
    /// Takes the oldest unread mail nobody works on. Each piece counts as seen by the one
    /// who takes it. Oldest first; empty if there is none.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a lease out of range, a `Store…` code.
    pub fn claim(&self, claim: Claim<'_>, owner: ReadContext<'_>) -> Result<Vec<InboxRow>> {
        let until = end_of(claim.lease, owner.now)?;
        self.atomically(|| {
            let sql = format!("SELECT n FROM inbox_messages WHERE {FREE} ORDER BY n LIMIT ?4");
            let mut statement = self.conn.prepare_cached(&sql)?;
            let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
            let found = statement.query_map(params![claim.inbox, claim.from, owner.now, limit], |row| row.get(0))?;
            let mut taken = Vec::new();
            for n in found.collect::<rusqlite::Result<Vec<i64>>>()? {
                taken.push(self.take(n, until, owner)?);
            }
            Ok(taken)
        })
    }

    /// Takes one piece of mail, or takes it for longer. It counts as seen.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such mail; [`Code::Conflict`] if it is not unread,
    /// is for everybody, has expired, or somebody else holds it; [`Code::Invalid`] for a lease out of range; a `Store…`
    /// code.
    pub fn claim_mail(&self, id: &str, lease: Duration, owner: ReadContext<'_>) -> Result<InboxRow> {
        let until = end_of(lease, owner.now)?;
        self.atomically(|| {
            let mail = self.demand_mail(id)?;
            if let Some(why) = why_not_claimed(&mail, owner.now) {
                return Err(Error::new(Code::Conflict, format!("{id} {why}")));
            }
            held_by_another(&mail, id, owner)?;
            self.take(mail.n, until, owner)
        })
    }

    /// Gives a piece of mail back before its lease ends. Mail nobody holds stays as it is.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such mail; [`Code::Conflict`] if somebody else
    /// holds it; a `Store…` code.
    pub fn release_mail(&self, id: &str, owner: ReadContext<'_>) -> Result<InboxRow> {
        self.atomically(|| {
            let mail = self.demand_mail(id)?;
            held_by_another(&mail, id, owner)?;
            self.conn
                .prepare_cached(
                    "UPDATE inbox_messages SET claimed_by = NULL, claim_expires_at = NULL \
                     WHERE n = ?1 AND status = 'unread'",
                )?
                .execute([mail.n])?;
            self.demand_mail(&mail.message_id)
        })
    }

    /// Takes the names off claims that have run out. Returns how many.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn free_claims(&self, now: i64) -> Result<usize> {
        let due = self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE claim_expires_at <= ?1)")?
            .query_row([now], |row| row.get::<_, bool>(0))?;
        // A look takes no lock; most find nothing.
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

    /// Sets the status of a piece of mail: unread, read, archived, deleted, or another word.
    /// It is read from the first time on that it is not unread, and a claim on it ends. Mail
    /// to everybody is read or archived for `by` alone: the others still have it before them.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such mail, [`Code::Invalid`] for an empty word,
    /// [`Code::Conflict`] for mail to everybody that is to be unread again, a `Store…` code.
    pub fn set_mail_status(&self, id: &str, status: &str, by: ReadContext<'_>) -> Result<InboxRow> {
        if status.trim().is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "the status is empty; give unread, read, archived or deleted",
            ));
        }
        self.atomically(|| {
            let mail = self.demand_mail(id)?;
            if mail.is_for_all() && mail.status == "unread" && PERSONAL.contains(&status) {
                return self.set_standing(mail, status, by);
            }
            self.conn
                .prepare_cached(
                    "UPDATE inbox_messages SET status = ?2, claim_expires_at = NULL, \
                     read_at = CASE ?2 WHEN 'unread' THEN NULL ELSE coalesce(read_at, ?3) END, \
                     claimed_by = CASE ?2 WHEN 'unread' THEN NULL ELSE claimed_by END WHERE n = ?1 AND status <> ?2",
                )?
                .execute(params![mail.n, status, by.now])?;
            self.demand_mail(&mail.message_id)
        })
    }

    /// The status of mail to everybody for one reader, by receipts; these are never taken back.
    fn set_standing(&self, mail: InboxRow, status: &str, by: ReadContext<'_>) -> Result<InboxRow> {
        match status {
            "read" => self.receipt(&mail.message_id, Receipt::Seen, by)?,
            "archived" => self.receipt(&mail.message_id, Receipt::Archived, by)?,
            _ => {}
        }
        let receipts = self.receipts(&mail.message_id)?;
        let has = |state: &str| receipts.iter().any(|r| r.reader == by.reader && r.state == state);
        let standing = if has("archived") {
            "archived"
        } else if has("seen") || has("acked") {
            "read"
        } else {
            "unread"
        };
        if status == "unread" && standing != status {
            return Err(Error::new(
                Code::Conflict,
                "mail to all that was read stays read: its receipt is kept; send it again to one inbox",
            ));
        }
        Ok(InboxRow {
            status: standing.to_owned(),
            ..mail
        })
    }

    fn take(&self, n: i64, until: i64, owner: ReadContext<'_>) -> Result<InboxRow> {
        self.conn
            .prepare_cached("UPDATE inbox_messages SET claimed_by = ?2, claim_expires_at = ?3 WHERE n = ?1")?
            .execute(params![n, owner.reader, until])?;
        let mail = self
            .inbox_row(n)?
            .ok_or_else(|| Error::new(Code::Internal, "the mail just claimed is not there"))?;
        self.receipt(&mail.message_id, Receipt::Seen, owner)?;
        Ok(mail)
    }
}

impl InboxRow {
    /// Who works on it now.
    pub fn holder(&self, now: i64) -> Option<&str> {
        let runs = self.claim_expires_at.is_some_and(|end| end > now);
        Some(self.claimed_by.as_str()).filter(|name| runs && !name.is_empty())
    }

    /// Whether it went to everybody.
    pub fn is_for_all(&self) -> bool {
        self.to_inbox == EVERYBODY
    }
}

/// Why nobody can take this piece of mail for himself, and what to do instead.
fn why_not_claimed(mail: &InboxRow, now: i64) -> Option<String> {
    if mail.is_for_all() {
        // A claim would hide it from everybody else.
        return Some("is for everybody; read it, or have it sent to one inbox that several claim from".to_owned());
    }
    if mail.status != "unread" {
        return Some(format!("is {}; claim unread mail only", mail.status));
    }
    let expired = mail.expires_at.is_some_and(|end| end <= now);
    expired.then(|| "has expired; have it sent again".to_owned())
}

fn held_by_another(mail: &InboxRow, id: &str, owner: ReadContext<'_>) -> Result<()> {
    match mail.holder(owner.now) {
        Some(holder) if holder != owner.reader => Err(Error::new(
            Code::Conflict,
            format!("{holder} works on {id} already; take another, or wait until their claim runs out"),
        )),
        _ => Ok(()),
    }
}

fn end_of(lease: Duration, now: i64) -> Result<i64> {
    if lease.is_zero() || lease > MAX_LEASE {
        return Err(Error::new(
            Code::Invalid,
            format!("a lease lasts from 1 to {} seconds", MAX_LEASE.as_secs()),
        ));
    }
    let millis = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX).max(1);
    Ok(now.saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NetworkFs, NewInbox};

    const LEASE: Duration = Duration::from_secs(60);

    fn file() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        (folder, writer)
    }

    fn by<'a>(reader: &'a str, now: i64) -> ReadContext<'a> {
        ReadContext {
            reader,
            via: "test",
            now,
        }
    }

    fn from_jobs(limit: usize) -> Claim<'static> {
        Claim {
            inbox: "jobs",
            from: None,
            lease: LEASE,
            limit,
        }
    }

    fn send(writer: &Writer, to: &str, text: &str) -> InboxRow {
        writer.send(&NewInbox::new("boss", to, text)).unwrap().into_row()
    }

    fn texts(mail: &[InboxRow]) -> Vec<&str> {
        mail.iter().map(|m| m.payload.as_str()).collect()
    }

    #[test]
    fn nobody_gets_what_another_has_until_the_lease_ends() {
        let (_folder, writer) = file();
        let other = Writer::open(writer.path(), NetworkFs::Refuse).unwrap();
        for text in ["1", "2", "3"] {
            send(&writer, "jobs", text);
        }
        send(&writer, "all", "to all");
        assert_eq!(texts(&writer.claim(from_jobs(2), by("w1", 1_000)).unwrap()), ["1", "2"]);
        assert_eq!(texts(&other.claim(from_jobs(9), by("w1", 2_000)).unwrap()), ["3"]);
        assert!(other.claim(from_jobs(9), by("w2", 2_000)).unwrap().is_empty());
        // The first two leases have ended, the third has not.
        assert_eq!(texts(&other.claim(from_jobs(9), by("w2", 61_000)).unwrap()), ["1", "2"]);
        let first = writer.mail("1").unwrap().unwrap();
        let readers: Vec<_> = writer
            .receipts(&first.message_id)
            .unwrap()
            .into_iter()
            .map(|r| r.reader)
            .collect();
        assert_eq!(readers, ["w1", "w2"]);
    }

    #[test]
    fn a_claim_is_kept_by_its_owner_and_ends_with_the_work() {
        let (_folder, writer) = file();
        let id = send(&writer, "jobs", "1").message_id;
        writer.claim_mail(&id, LEASE, by("w1", 1_000)).unwrap();
        for refused in [
            writer.claim_mail(&id, LEASE, by("w2", 2_000)),
            writer.release_mail(&id, by("w2", 2_000)),
            writer.ack_mail(&id, by("w2", 2_000)),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.code(), Code::Conflict);
            assert!(error.message().contains("w1 works on"), "{error}");
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
                        ..from_jobs(1)
                    },
                    by("w1", 1)
                )
                .unwrap_err()
                .code(),
            Code::Invalid
        );
    }

    #[test]
    fn claims_that_run_out_lose_their_names() {
        let (_folder, writer) = file();
        send(&writer, "jobs", "1");
        writer.claim(from_jobs(1), by("w1", 1_000)).unwrap();
        assert_eq!(writer.free_claims(60_999).unwrap(), 0);
        let head = writer.head().unwrap().seq;
        assert_eq!(writer.free_claims(61_000).unwrap(), 1);
        assert_eq!(writer.mail("1").unwrap().unwrap().claimed_by, "");
        assert_eq!(writer.head().unwrap().seq, head + 1, "everybody hears of it");
        // Work that took longer than the lease is still done, unless another has begun it.
        assert_eq!(writer.ack_mail("1", by("w1", 62_000)).unwrap().status, "read");
    }

    #[test]
    fn mail_is_read_by_its_owner_and_seen_by_others() {
        let (_folder, writer) = file();
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
        let is = |who: &str, state: &str, at| (who.to_owned(), state.to_owned(), at);
        assert_eq!(
            receipts,
            [
                is("human", "seen", 1),
                is("planner", "seen", 2),
                is("planner", "acked", 3)
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
        let back = writer.set_mail_status(&id, "unread", by("human", 6)).unwrap();
        assert_eq!((back.status.as_str(), back.read_at), ("unread", None));
        let refused = writer.set_mail_status(&id, " ", by("human", 7));
        assert_eq!(refused.unwrap_err().code(), Code::Invalid);
    }
}

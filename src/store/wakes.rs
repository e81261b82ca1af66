//! The `wakes` table: which idle sessions got a prompt because of mail, and what came of it.
//!
//! 1. A wake is `begun` in the transaction that decides on it, so that two processes never wake an agent for the same
//!    mail. From then on, no wake follows for this mail or older mail of the agent.
//! 2. It is `given` when the tool has the prompt, where a hook of the tool fetches it. A hook that comes twice gets it once.
//! 3. It is `woken` when the session has begun a turn with the prompt; `failed` with a reason; or `cancelled`, because
//!    the agent got the mail without it.

use rusqlite::params;
use serde::Serialize;

use super::connection::{Reader, Writer};
use super::inbox::addressing::ALL_INBOXES;
use super::inbox::deliveries::deliverable;
use super::inbox::messages::InboxMessageRow;
use super::wake_rules::WakeMode;
use crate::config::HUMAN;
use crate::error::Result;

/// Maximum milliseconds after which a session begins a turn with the prompt of a wake.
const LATE: i64 = 600_000;

const COLUMNS: &str = "n, session, agent, mail, chain, state, via, reason, asked_by, at, ended_at";

/// One row of the `wakes` table. Values of another type count as missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WakeRow {
    /// Primary key.
    pub n: i64,
    /// The session: `sessions.id`.
    pub session: String,
    /// The agent's name.
    pub agent: String,
    /// The newest `inbox_messages.n` that the wake is for.
    pub mail: i64,
    /// The `inbox_messages.n` with which the chain of replies began.
    pub chain: i64,
    /// begun, given, woken, failed, cancelled.
    pub state: String,
    /// How the tool gets the prompt.
    pub via: String,
    /// Why the wake failed or was cancelled; empty otherwise.
    pub reason: String,
    /// `human` if the person asked for the wake; empty otherwise.
    pub asked_by: String,
    /// When it was begun, Unix milliseconds.
    pub at: i64,
    /// When the session began the turn, or the wake failed, Unix milliseconds.
    pub ended_at: Option<i64>,
}

impl WakeRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let text = |i| Ok::<_, rusqlite::Error>(row.get_ref(i)?.as_str().unwrap_or_default().to_owned());
        let maybe_int = |i| Ok::<_, rusqlite::Error>(row.get_ref(i)?.as_i64().ok());
        let int = |i| maybe_int(i).map(Option::unwrap_or_default);
        Ok(Self {
            n: int(0)?,
            session: text(1)?,
            agent: text(2)?,
            mail: int(3)?,
            chain: int(4)?,
            state: text(5)?,
            via: text(6)?,
            reason: text(7)?,
            asked_by: text(8)?,
            at: int(9)?,
            ended_at: maybe_int(10)?,
        })
    }

    /// Returns whether it is not known yet what came of the wake.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Returns whether the wake counts for the limits. A failed one does: the tool may have got the prompt.
    pub fn counts(&self) -> bool {
        self.state != "cancelled"
    }
}

/// A wake to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewWake<'a> {
    /// As in [`WakeRow`].
    pub session: &'a str,
    /// As in [`WakeRow`].
    pub agent: &'a str,
    /// As in [`WakeRow`].
    pub mail: i64,
    /// As in [`WakeRow`].
    pub chain: i64,
    /// As in [`WakeRow`].
    pub via: &'a str,
    /// The person asked for it.
    pub is_asked_for: bool,
    /// Unix milliseconds.
    pub at: i64,
}

impl Reader {
    fn wakes_where(&self, condition: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<WakeRow>> {
        let sql = format!("SELECT {COLUMNS} FROM wakes WHERE {condition}");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map(parameters, WakeRow::read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the wakes of a session that were begun after `since` (Unix milliseconds), and those that are open: the
    /// newest first, at most 100.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wakes_of_session(&self, session: &str, since: i64) -> Result<Vec<WakeRow>> {
        self.wakes_where(
            "session = ?1 AND (at > ?2 OR ended_at IS NULL) ORDER BY n DESC LIMIT 100",
            params![session, since],
        )
    }

    /// Returns the newest wake of a session that has begun and whose prompt the tool has not fetched.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn begun_wake(&self, session: &str) -> Result<Option<WakeRow>> {
        let found = self.wakes_where(
            "session = ?1 AND state = 'begun' ORDER BY n DESC LIMIT 1",
            params![session],
        )?;
        Ok(found.into_iter().next())
    }

    /// Returns the last wake of an agent that was begun at `at` (Unix milliseconds) or before and reached a session.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_wake_before(&self, agent: &str, at: i64) -> Result<Option<WakeRow>> {
        let found = self.wakes_where(
            "agent = ?1 AND state = 'woken' AND at <= ?2 ORDER BY n DESC LIMIT 1",
            params![agent, at],
        )?;
        Ok(found.into_iter().next())
    }

    /// Returns the wakes that have been open since before `before` (Unix milliseconds).
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wakes_open_since_before(&self, before: i64) -> Result<Vec<WakeRow>> {
        self.wakes_where("ended_at IS NULL AND at < ?1", params![before])
    }

    /// Returns the wakes that were begun after `since` (Unix milliseconds): the newest first, at most 1,000.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wakes_since(&self, since: i64) -> Result<Vec<WakeRow>> {
        self.wakes_where("at > ?1 ORDER BY n DESC LIMIT 1000", params![since])
    }

    /// Returns the wake of `agent` for this mail, if there was one.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wake_for(&self, mail: &InboxMessageRow, agent: &str) -> Result<Option<WakeRow>> {
        let found = self.wakes_where("agent = ?1 AND mail >= ?2 ORDER BY n LIMIT 1", params![agent, mail.n])?;
        Ok(found.into_iter().next())
    }

    /// Returns the wakes of all agents for mail to all: the first of each agent.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wakes_for_all(&self, mail: &InboxMessageRow) -> Result<Vec<WakeRow>> {
        self.wakes_where(
            "n IN (SELECT min(n) FROM wakes WHERE mail >= ?1 GROUP BY agent) ORDER BY n LIMIT 100",
            params![mail.n],
        )
    }

    /// Returns the number of times that a session was woken in a chain of replies.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn wakes_in_chain(&self, session: &str, chain: i64) -> Result<usize> {
        let wakes = self.wakes_where(
            "session = ?1 AND chain = ?2 AND state <> 'cancelled'",
            params![session, chain],
        )?;
        Ok(wakes.len())
    }

    /// Returns the number of the newest mail for which `agent` was woken; 0 without any.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn newest_woken_mail(&self, agent: &str) -> Result<i64> {
        Ok(self
            .conn
            .prepare_cached("SELECT coalesce(max(mail), 0) FROM wakes WHERE agent = ?1")?
            .query_row([agent], |row| row.get(0))?)
    }

    /// Returns the mail after number `after` that can wake `agent` and that a hook would deliver: the newest first, at
    /// most `limit`. With [`WakeMode::Important`], that is mail with priority `action` or `urgent`, and answers to the
    /// agent's questions. Of mail to all, only the person's.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn waking_mail(
        &self,
        agent: &str,
        (after, mode): (i64, WakeMode),
        now: i64,
        limit: usize,
    ) -> Result<Vec<InboxMessageRow>> {
        if mode == WakeMode::Off {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT m.n FROM inbox_messages m WHERE m.n > ?6 AND m.n IN ({}) \
             AND (m.to_inbox <> ?2 OR m.from_agent = ?7) AND (?8 OR m.priority IN ('action', 'urgent') OR EXISTS ( \
               SELECT 1 FROM inbox_messages q WHERE q.correlation_id = m.correlation_id AND q.n < m.n \
               AND q.from_agent = ?1)) \
             ORDER BY m.n DESC",
            deliverable()
        );
        let no_state: Option<&str> = None;
        let mut statement = self.conn.prepare_cached(&sql)?;
        let numbers = statement.query_map(
            params![
                agent,
                ALL_INBOXES,
                now,
                no_state,
                super::inbox::deliveries::CONFIRM_TIMEOUT,
                after,
                HUMAN,
                mode == WakeMode::All
            ],
            |row| row.get(0),
        )?;
        let mut found = Vec::new();
        for n in numbers {
            let row = self.inbox_row(n?)?;
            found.extend(row.filter(|mail| !mail.is_for_all() || mail.verified));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the number of the newest mail; 0 without any.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn newest_mail(&self) -> Result<i64> {
        Ok(self
            .conn
            .prepare_cached("SELECT coalesce(max(n), 0) FROM inbox_messages")?
            .query_row([], |row| row.get(0))?)
    }

    /// Returns the inboxes with unread mail whose number is in the range, each once.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inboxes_with_mail(&self, (after, up_to): (i64, i64)) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT CAST(to_inbox AS TEXT) FROM inbox_messages \
             WHERE n > ?1 AND n <= ?2 AND status = 'unread' AND to_inbox IS NOT NULL",
        )?;
        let found = statement.query_map([after, up_to], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the agents with an open session whose events are recorded.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agents_with_open_session(&self) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT agent FROM sessions INDEXED BY sessions_agent WHERE agent > '' AND ended_at IS NULL",
        )?;
        let found = statement.query_map([], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

impl Writer {
    /// Records a wake that begins. Returns its number.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn begin_wake(&self, wake: &NewWake<'_>) -> Result<i64> {
        self.conn
            .prepare_cached(
                "INSERT INTO wakes(session, agent, mail, chain, state, via, asked_by, at) \
                 VALUES(?1, ?2, ?3, ?4, 'begun', ?5, ?6, ?7)",
            )?
            .execute(params![
                wake.session,
                wake.agent,
                wake.mail,
                wake.chain,
                wake.via,
                wake.is_asked_for.then_some(HUMAN),
                wake.at
            ])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Records that the tool of a session gets the prompt now. Returns whether a wake of the session had begun.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn give_wake(&self, session: &str) -> Result<bool> {
        let changed = self
            .conn
            .prepare_cached("UPDATE wakes SET state = 'given' WHERE session = ?1 AND state = 'begun'")?
            .execute([session])?;
        Ok(changed > 0)
    }

    /// Records that a session has begun a turn with the prompt of its newest wake. That may come after the wake has
    /// counted as failed, at most ten minutes after its begin. Returns whether there was such a wake.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirm_wake(&self, session: &str, at: i64) -> Result<bool> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE wakes SET state = 'woken', reason = NULL, ended_at = ?2 \
                 WHERE n = (SELECT max(n) FROM wakes WHERE session = ?1) AND state <> 'woken' AND at > ?2 - ?3",
            )?
            .execute(params![session, at, LATE])?;
        Ok(changed > 0)
    }

    /// Records why an open wake has failed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn fail_wake(&self, n: i64, reason: &str, at: i64) -> Result<()> {
        self.end_wake(n, "failed", reason, at)
    }

    /// Records why an open wake is not needed any more.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn cancel_wake(&self, n: i64, reason: &str, at: i64) -> Result<()> {
        self.end_wake(n, "cancelled", reason, at)
    }

    /// Records that the open wakes of a session have failed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn fail_wakes_of_session(&self, session: &str, reason: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE wakes SET state = 'failed', reason = ?2, ended_at = ?3 WHERE session = ?1 AND ended_at IS NULL",
            )?
            .execute(params![session, reason, at])?;
        Ok(())
    }

    fn end_wake(&self, n: i64, state: &str, reason: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE wakes SET state = ?2, reason = ?3, ended_at = ?4 WHERE n = ?1 AND ended_at IS NULL",
            )?
            .execute(params![n, state, reason, at])?;
        Ok(())
    }

    /// Deletes the wakes that were begun before `before` (Unix milliseconds), except the last one of each agent that
    /// exists: no wake follows for its mail.
    ///
    /// # Errors
    /// A `Store…` code.
    pub(in crate::store) fn delete_wakes(&self, before: i64) -> Result<()> {
        self.conn.execute(
            "DELETE FROM wakes WHERE at < ?1 AND n NOT IN ( \
             SELECT max(w.n) FROM wakes w JOIN agents a ON a.id = w.agent GROUP BY w.agent)",
            [before],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{by, temp_database};
    use super::*;
    use crate::store::{NewInboxMessage, Receipt};

    #[test]
    fn values_of_other_types_count_as_missing() {
        let (_dir, writer) = temp_database();
        let sql = "INSERT INTO wakes(session, agent, mail, chain, state, at, ended_at) \
                   VALUES(x'ff', 5, 'many', x'00', 1.5, 1, NULL), (CAST(x'ff' AS TEXT), 'a', 1, 1, 'begun', 2, NULL)";
        writer.conn.execute_batch(sql).unwrap();
        let open = writer.wakes_open_since_before(9).unwrap();
        let texts: Vec<&str> = open.iter().map(|wake| wake.state.as_str()).collect();
        assert_eq!(
            (texts, open[0].mail, open[1].session.as_str()),
            (vec!["1.5", "begun"], 0, "")
        );
        for wake in open {
            writer.fail_wake(wake.n, "no turn", 9).unwrap();
        }
        assert!(writer.wakes_open_since_before(9).unwrap().is_empty());
    }

    #[test]
    fn mail_that_a_hook_would_deliver_wakes() {
        let (_dir, writer) = temp_database();
        writer.register_agent("a").unwrap();
        let waking = |after: i64, mode: WakeMode| {
            let mail = writer.waking_mail("a", (after, mode), 9, 10).unwrap();
            mail.iter().map(|mail| mail.n).collect::<Vec<_>>()
        };
        let send = |priority: &str| {
            let mail = NewInboxMessage {
                priority: Some(priority.to_owned()),
                ..NewInboxMessage::new("boss", "a", "x")
            };
            writer.send(&mail).unwrap().into_row()
        };
        let (news, urgent) = (send("info"), send("urgent"));
        assert_eq!(waking(0, WakeMode::All), [urgent.n, news.n]);
        assert_eq!(waking(0, WakeMode::Important), [urgent.n]);
        assert_eq!(waking(news.n, WakeMode::All), [urgent.n]);
        assert!(waking(0, WakeMode::Off).is_empty());
        // Mail of another agent, and mail that the agent has read, wake it no more.
        writer.send(&NewInboxMessage::new("boss", "b", "x")).unwrap();
        let (n, urgent) = (news.n, [urgent]);
        writer.add_receipts(&urgent, Receipt::Seen, by("a", 9)).unwrap();
        assert_eq!(waking(0, WakeMode::All), [n]);
    }

    #[test]
    fn the_last_wake_of_an_existing_agent_is_kept() {
        let (_dir, writer) = temp_database();
        writer.register_agent("a").unwrap();
        for (agent, at) in [("a", 1), ("a", 2), ("gone", 3), ("a", 9)] {
            writer
                .begin_wake(&NewWake {
                    session: "s",
                    agent,
                    mail: at,
                    chain: at,
                    via: "hook",
                    is_asked_for: false,
                    at,
                })
                .unwrap();
        }
        writer.delete_wakes(5).unwrap();
        assert_eq!(writer.wakes_since(0).unwrap().len(), 1);
        writer.delete_wakes(99).unwrap();
        assert_eq!(writer.newest_woken_mail("a").unwrap(), 9);
    }
}

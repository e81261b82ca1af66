//! Retention (`agenthub prune`, `serve --keep`): deletes old rows in short transactions.
//!
//! The database file does not shrink: SQLite reuses the freed pages for new rows.
//!
//! 1. Rows are deleted in insertion order, up to the first row that is recent enough by its
//!    `created_at`. Writers choose that time, so a row with an old time after more recent rows is kept,
//!    and a row with a time in the future is ignored. A thread loses its beginning, never a message in
//!    between.
//! 2. Unread and claimed inbox messages are kept. So is the newest old telemetry row of each
//!    instance: the differences of its running totals need a first value. Mail to `all` stays unread in the
//!    table, so it is kept as long as agents are.
//! 3. The change log keeps at least 7 days. Its entries have no time: the time of their rows counts,
//!    or, if those are deleted, the notes that earlier prunes left in the table `hub`.
//! 4. Agents that were not seen for some time ([`AGENTS_AGE`]) are deleted with their deliveries and
//!    subscriptions. An agent was seen when it wrote, was offered or read mail, when it subscribed and when it acknowledged.
//!    The times of acknowledgements before schema version 3 are unknown: that of the migration counts.
//! 5. One step holds the write lock for about [`STEP`]. It sets the key `pruning`, without which the
//!    triggers refuse a DELETE. A pause longer than the step follows.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::{Reader, Writer};

/// Time that one step deletes rows before it commits. The commit takes additional time.
const STEP: Duration = Duration::from_millis(8);
/// Maximum number of rows of one step.
const STEP_ROWS: i64 = 500;
/// Minimum pause between two steps. A pause is also at least twice as long as the step before it.
const MIN_PAUSE: Duration = Duration::from_millis(2);
/// Minimum age of deleted entries of the change log, in milliseconds: clients can resume after a
/// week.
const MIN_LOG_AGE: i64 = 7 * 86_400_000;
/// Minimum time between two notes of the change log's newest entry, in milliseconds.
const NOTE_INTERVAL: i64 = 3_600_000;

/// Time after which agents that were not seen are deleted unless the user chooses another, in milliseconds:
/// 90 days.
pub const AGENTS_AGE: i64 = 90 * 86_400_000;

/// Whether old unread inbox messages are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Keep them.
    Keep,
    /// Delete them: the user passed `--force`.
    Remove,
}

/// The rows to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Delete rows older than this, Unix milliseconds.
    pub before: i64,
    /// The current time, Unix milliseconds.
    pub now: i64,
    /// Whether to delete unread inbox messages.
    pub unread: Unread,
    /// Delete agents not seen since, Unix milliseconds, and mail to `all` that is older; see [`AGENTS_AGE`].
    pub agents_before: i64,
}

/// Number of rows deleted, or to be deleted, per table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Entries of the change log.
    pub changes: i64,
    /// Messages in threads.
    pub messages: i64,
    /// Inbox messages.
    pub inbox_messages: i64,
    /// Receipts of deleted inbox messages.
    pub receipts: i64,
    /// Telemetry rows.
    pub telemetry: i64,
    /// Task events.
    pub task_stream: i64,
    /// Agents.
    pub agents: i64,
    /// Subscriptions of deleted agents, and of clients that are no agents.
    pub subscriptions: i64,
    /// Deliveries of deleted agents, and of inbox messages that are not unread any more.
    pub deliveries: i64,
    /// Old inbox messages that are kept because they are unread.
    pub unread_kept: i64,
    /// The longest time that one step held the write lock, in milliseconds.
    pub longest_step_ms: i64,
}

/// Which rows of a table can be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// Those before the first one that is recent enough by its `created_at`.
    Old,
    /// All except the newest.
    NotNewest,
    /// All.
    All,
}

/// A table, an integer column that identifies rows or groups of rows, and the condition under which a row is
/// deleted. Parameters of the condition: ?1 the current time, ?2 whether unread inbox messages are deleted, ?3
/// the time since which deleted agents were not seen, ?4 the first row that is kept.
struct PrunedTable {
    name: &'static str,
    key: &'static str,
    range: Range,
    condition: &'static str,
}

/// In order of deletion: receipts after their inbox messages, subscriptions and deliveries after their agents.
const TABLES: [PrunedTable; 8] = [
    PrunedTable {
        name: "messages",
        key: "n",
        range: Range::Old,
        condition: "1",
    },
    PrunedTable {
        name: "inbox_messages",
        key: "n",
        range: Range::Old,
        condition: "(?2 OR r.status <> 'unread' OR r.to_inbox = 'all' AND r.created_at < ?3) \
                    AND coalesce(r.claim_expires_at, 0) <= ?1",
    },
    PrunedTable {
        name: "receipts",
        key: "n",
        range: Range::Old,
        condition: "NOT EXISTS (SELECT 1 FROM inbox_messages i WHERE i.message_id = r.message_id)",
    },
    PrunedTable {
        name: "telemetry",
        key: "id",
        range: Range::Old,
        condition: "EXISTS (SELECT 1 FROM telemetry t WHERE t.instance_id = r.instance_id AND t.id > r.id AND t.id < ?4)",
    },
    PrunedTable {
        name: "task_stream",
        key: "id",
        range: Range::Old,
        condition: "1",
    },
    PrunedTable {
        name: "agents",
        key: "n",
        range: Range::NotNewest,
        condition: "r.last_active_at < ?3 \
                    AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.reader = r.id AND d.at >= ?3) \
                    AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.instance_id = r.id AND (s.subscribed_at >= ?3 \
                      OR coalesce(s.acked_at, iif(s.last_ack_seq > 0, ?1, 0)) >= ?3))",
    },
    PrunedTable {
        name: "subscriptions",
        key: "n",
        range: Range::NotNewest,
        condition: "r.subscribed_at < ?3 AND coalesce(r.acked_at, iif(r.last_ack_seq > 0, ?1, 0)) < ?3 \
                    AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = r.instance_id)",
    },
    PrunedTable {
        name: "deliveries",
        key: "mail",
        range: Range::All,
        condition: "(NOT EXISTS (SELECT 1 FROM inbox_messages i WHERE i.n = r.mail AND i.status = 'unread') \
                    OR r.at < ?3 AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = r.reader))",
    },
];

const CHANGES: PrunedTable = PrunedTable {
    name: "changes",
    key: "seq",
    range: Range::Old,
    condition: "1",
};

/// The result of one step.
struct Step {
    /// The last row it processed.
    last: Option<i64>,
    deleted: i64,
    /// Time that it held the write lock.
    held: Duration,
}

/// A prune in progress. The caller pauses between its steps.
#[derive(Debug)]
pub(in crate::store) struct PruneRun {
    retention: Retention,
    /// The rows deleted so far.
    pub(in crate::store) pruned: Pruned,
    /// Index of the current table; the change log is the first.
    table: usize,
    /// The first row of the current table that is kept, and the last one processed.
    range: Option<(i64, i64)>,
}

impl PruneRun {
    pub(in crate::store) fn start(reader: &Reader, retention: Retention) -> Result<Self> {
        Ok(Self {
            retention,
            pruned: reader.unread_kept(&retention)?,
            table: 0,
            range: None,
        })
    }

    /// Runs one step. Returns the time it took, or `None` if there are no more rows to delete. After an error,
    /// another call continues.
    pub(in crate::store) fn step(&mut self, writer: &Writer) -> Result<Option<Duration>> {
        // The change log first: the age of its entries is that of rows which are deleted later.
        while let Some(table) = std::iter::once(&CHANGES).chain(&TABLES).nth(self.table) {
            let (end, after) = match self.range {
                Some(range) => range,
                None if self.table == 0 => (writer.first_kept_change(&self.retention)?, i64::MIN),
                None => (writer.first_kept(table, &self.retention)?, i64::MIN),
            };
            self.range = Some((end, after));
            let rows = writer.next_rows(table, after, end, &self.retention)?;
            let Some(last) = rows.last() else {
                if self.table == 0 {
                    writer.note_log_head(&self.retention)?;
                }
                self.table += 1;
                self.range = None;
                continue;
            };
            let started = Instant::now();
            let step = writer.step(table, &rows, end, &self.retention)?;
            *self.pruned.count_of(table) += step.deleted;
            let held = i64::try_from(step.held.as_millis()).unwrap_or(i64::MAX);
            self.pruned.longest_step_ms = self.pruned.longest_step_ms.max(held);
            self.range = Some((end, step.last.unwrap_or(*last)));
            return Ok(Some(started.elapsed()));
        }
        writer.delete_continuations_of_deleted_agents()?;
        writer.delete_sessions_of_deleted_agents(self.retention.agents_before)?;
        writer.delete_wakes(self.retention.agents_before)?;
        Ok(None)
    }
}

impl Pruned {
    fn count_of(&mut self, table: &PrunedTable) -> &mut i64 {
        match table.name {
            "changes" => &mut self.changes,
            "messages" => &mut self.messages,
            "inbox_messages" => &mut self.inbox_messages,
            "receipts" => &mut self.receipts,
            "telemetry" => &mut self.telemetry,
            "agents" => &mut self.agents,
            "subscriptions" => &mut self.subscriptions,
            "deliveries" => &mut self.deliveries,
            _ => &mut self.task_stream,
        }
    }

    /// Returns the number of rows of all tables.
    pub fn rows(&self) -> i64 {
        let mail = self.inbox_messages + self.receipts + self.deliveries;
        self.changes + self.messages + mail + self.telemetry + self.task_stream + self.agents + self.subscriptions
    }
}

impl Reader {
    /// Returns the number of rows that [`Writer::prune`] would delete now.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn prunable(&self, retention: &Retention) -> Result<Pruned> {
        self.snapshot(|| {
            let mut pruned = self.unread_kept(retention)?;
            pruned.changes = self.count(&CHANGES, self.first_kept_change(retention)?, retention)?;
            for table in &TABLES {
                *pruned.count_of(table) = self.count(table, self.first_kept(table, retention)?, retention)?;
            }
            Ok(pruned)
        })
    }

    /// Returns counts of zero, except for the unread inbox messages that are kept.
    fn unread_kept(&self, retention: &Retention) -> Result<Pruned> {
        let unread_kept = match retention.unread {
            Unread::Remove => 0,
            Unread::Keep => self.conn.query_row(
                "SELECT count(*) FROM inbox_messages WHERE status = 'unread' AND created_at < ?1 \
                 AND NOT (to_inbox = 'all' AND created_at < ?2)",
                [retention.before, retention.agents_before],
                |row| row.get(0),
            )?,
        };
        Ok(Pruned {
            unread_kept,
            ..Pruned::default()
        })
    }

    fn count(&self, table: &PrunedTable, end: i64, retention: &Retention) -> Result<i64> {
        let (name, key, condition) = (table.name, table.key, table.condition);
        let sql = format!("SELECT count(*) FROM {name} r WHERE r.{key} < ?4 AND {condition}");
        let given = params![
            retention.now,
            retention.unread == Unread::Remove,
            retention.agents_before,
            end
        ];
        Ok(self.conn.query_row(&sql, given, |row| row.get(0))?)
    }

    /// Returns the first row of a table that is kept. The newest row always is.
    fn first_kept(&self, table: &PrunedTable, retention: &Retention) -> Result<i64> {
        let (name, key) = (table.name, table.key);
        let newest = format!("SELECT coalesce(max({key}), 0) FROM {name}");
        match table.range {
            Range::Old => {}
            Range::NotNewest => return Ok(self.conn.query_row(&newest, [], |row| row.get(0))?),
            Range::All => return Ok(i64::MAX),
        }
        let sql = format!(
            "SELECT coalesce((SELECT {key} FROM {name} WHERE created_at BETWEEN ?1 AND ?2 ORDER BY {key} LIMIT 1), \
             ({newest}))"
        );
        Ok(self
            .conn
            .query_row(&sql, params![retention.before, retention.now], |row| row.get(0))?)
    }

    /// Returns the first entry of the change log that is kept.
    fn first_kept_change(&self, retention: &Retention) -> Result<i64> {
        let before = retention.before.min(retention.now - MIN_LOG_AGE);
        let noted: i64 = self.conn.query_row(
            "SELECT coalesce(max(value), 0) FROM hub WHERE key BETWEEN 'pruned_at:' AND 'pruned_at:' || ?1",
            [before],
            |row| row.get(0),
        )?;
        let mut statement = self.conn.prepare(
            "SELECT seq, CASE tbl \
               WHEN 'messages' THEN (SELECT created_at FROM messages WHERE n = row) \
               WHEN 'inbox_messages' THEN (SELECT created_at FROM inbox_messages WHERE n = row) \
               WHEN 'telemetry' THEN (SELECT created_at FROM telemetry WHERE id = row) \
               WHEN 'task_stream' THEN (SELECT created_at FROM task_stream WHERE id = row) \
               WHEN 'threads' THEN (SELECT created_at FROM threads WHERE n = row) \
               WHEN 'agents' THEN (SELECT created_at FROM agents WHERE n = row) END AS at \
             FROM changes WHERE op = 'insert' AND seq > ?1 AND at <= ?2 ORDER BY seq",
        )?;
        let mut rows = statement.query(params![noted, retention.now])?;
        let mut old = noted;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? >= before {
                break;
            }
            old = row.get(0)?;
        }
        let newest: i64 = self
            .conn
            .query_row("SELECT coalesce(max(seq), 0) FROM changes", [], |row| row.get(0))?;
        Ok((old + 1).min(newest))
    }
}

impl Writer {
    /// Deletes old rows step by step. After an error the steps before it stay committed, and another
    /// call continues.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn prune(&self, retention: &Retention) -> Result<Pruned> {
        let mut run = PruneRun::start(self, *retention)?;
        while let Some(took) = run.step(self)? {
            #[expect(
                clippy::disallowed_methods,
                reason = "other processes write meanwhile; async runtime threads never prune"
            )]
            std::thread::sleep(MIN_PAUSE.max(took * 2));
        }
        Ok(run.pruned)
    }

    /// Deletes what [`Writer::count_continuation`] has stored of agents that do not exist any more.
    fn delete_continuations_of_deleted_agents(&self) -> Result<()> {
        let condition = "key BETWEEN 'continued:' AND 'continued;' \
             AND NOT EXISTS (SELECT 1 FROM agents WHERE id = substr(key, 11))";
        let found = format!("SELECT EXISTS (SELECT 1 FROM hub WHERE {condition})");
        if self.conn.query_row(&found, [], |row| row.get(0))? {
            self.conn.execute(&format!("DELETE FROM hub WHERE {condition}"), [])?;
        }
        Ok(())
    }

    fn next_rows(&self, table: &PrunedTable, after: i64, end: i64, retention: &Retention) -> Result<Vec<i64>> {
        let (name, key, condition) = (table.name, table.key, table.condition);
        let sql = format!(
            "SELECT DISTINCT r.{key} FROM {name} r WHERE r.{key} > ?5 AND r.{key} < ?4 AND {condition} \
             ORDER BY r.{key} LIMIT {STEP_ROWS}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let given = params![
            retention.now,
            retention.unread == Unread::Remove,
            retention.agents_before,
            end,
            after
        ];
        let found = statement.query_map(given, |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes as many of `rows` as possible in one step.
    fn step(&self, table: &PrunedTable, rows: &[i64], end: i64, retention: &Retention) -> Result<Step> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let locked = Instant::now();
        let (mut last, mut deleted) = (None, 0);
        allow_deletes(&transaction)?;
        {
            // Checks the condition again: an inbox message may have become unread since the rows
            // were selected.
            let (name, key, condition) = (table.name, table.key, table.condition);
            let sql = format!("DELETE FROM {name} AS r WHERE r.{key} = ?5 AND r.{key} < ?4 AND {condition}");
            let mut delete = transaction.prepare_cached(&sql)?;
            for row in rows {
                let changed = delete.execute(params![
                    retention.now,
                    retention.unread == Unread::Remove,
                    retention.agents_before,
                    end,
                    row
                ])?;
                deleted += i64::try_from(changed).unwrap_or(i64::MAX);
                last = Some(*row);
                if locked.elapsed() >= STEP {
                    break;
                }
            }
        }
        transaction.execute("DELETE FROM hub WHERE key = 'pruning'", [])?;
        transaction.commit()?;
        Ok(Step {
            last,
            deleted,
            held: locked.elapsed(),
        })
    }

    /// Notes the newest entry of the change log with the current time, for later prunes, and deletes
    /// the notes that are not needed any more. (Times of 13 digits have the same order as text and as
    /// numbers.)
    fn note_log_head(&self, retention: &Retention) -> Result<()> {
        let now = retention.now;
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        transaction.execute(
            "DELETE FROM hub WHERE key BETWEEN 'pruned_at:' AND 'pruned_at:' || ?1",
            [retention.before.min(now - MIN_LOG_AGE)],
        )?;
        transaction.execute(
            "INSERT OR IGNORE INTO hub(key, value) SELECT 'pruned_at:' || ?1, max(seq) FROM changes \
             WHERE NOT EXISTS (SELECT 1 FROM hub WHERE key BETWEEN 'pruned_at:' || ?2 AND 'pruned_at:' || ?1)",
            params![now, now - NOTE_INTERVAL],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

/// Makes the triggers allow deletes until the transaction ends.
fn allow_deletes(conn: &Connection) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO hub(key, value) VALUES('pruning', 1)")?
        .execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NetworkFs, NewInboxMessage, NewMessage};

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_800_000_000_000;

    fn temp_database() -> (tempfile::TempDir, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        (dir, writer)
    }

    fn message(writer: &Writer, age_days: i64) {
        let sql = "INSERT INTO messages(thread_id, from_id, content, created_at) VALUES('t', 'a', 'x', ?1)";
        writer.conn.execute(sql, [NOW - age_days * DAY]).unwrap();
    }

    fn numbers(writer: &Writer, sql: &str) -> Vec<i64> {
        let mut statement = writer.conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn older_than(days: i64) -> Retention {
        Retention {
            before: NOW - days * DAY,
            now: NOW,
            unread: Unread::Keep,
            agents_before: NOW - AGENTS_AGE,
        }
    }

    #[test]
    fn deletes_only_the_beginning_of_a_thread() {
        let (_dir, writer) = temp_database();
        // The second has a time in the future, the fifth one older than those before it.
        for age in [50, -400, 40, 20, 60, 1] {
            message(&writer, age);
        }
        let would = writer.prunable(&older_than(30)).unwrap();
        let did = writer.prune(&older_than(30)).unwrap();
        assert_eq!((would.messages, did.messages), (3, 3));
        assert_eq!(would.changes, did.changes);
        assert_eq!(
            numbers(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [4, 5, 6]
        );
        assert_eq!(numbers(&writer, "SELECT count(*) FROM hub WHERE key = 'pruning'"), [0]);
        writer.post_message(&NewMessage::new("t", "a", "next")).unwrap();
        assert_eq!(numbers(&writer, "SELECT max(message_seq) FROM messages"), [7]);
    }

    #[test]
    fn keeps_the_newest_row() {
        let (_dir, writer) = temp_database();
        message(&writer, 50);
        message(&writer, 49);
        writer.prune(&older_than(30)).unwrap();
        assert_eq!(
            numbers(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [2]
        );
        assert_eq!(writer.prune(&older_than(30)).unwrap().rows(), 0);
    }

    #[test]
    fn keeps_unread_inbox_messages_unless_forced() {
        let (_dir, writer) = temp_database();
        for status in ["unread", "read", "unread", "read"] {
            let row = writer.send(&NewInboxMessage::new("a", "b", "x")).unwrap().into_row();
            let sql = "UPDATE inbox_messages SET status = ?1 WHERE n = ?2";
            writer.conn.execute(sql, params![status, row.n]).unwrap();
            let sql = "INSERT INTO receipts(message_id, reader, state) VALUES(?1, 'b', 'seen')";
            writer.conn.execute(sql, [row.message_id]).unwrap();
        }
        let now = crate::protocol::now_ms();
        let mut retention = Retention {
            before: now + 1,
            now: now + 1,
            unread: Unread::Keep,
            agents_before: now - AGENTS_AGE,
        };
        let pruned = writer.prune(&retention).unwrap();
        assert_eq!((pruned.inbox_messages, pruned.unread_kept), (1, 2));
        assert_eq!(numbers(&writer, "SELECT n FROM inbox_messages ORDER BY n"), [1, 3, 4]);
        assert_eq!(numbers(&writer, "SELECT n FROM receipts ORDER BY n"), [1, 3, 4]);
        retention.unread = Unread::Remove;
        writer.prune(&retention).unwrap();
        assert_eq!(numbers(&writer, "SELECT n FROM inbox_messages ORDER BY n"), [4]);
    }

    #[test]
    fn keeps_totals_of_telemetry() {
        let (_dir, writer) = temp_database();
        for (instance, age) in [("i", 50), ("i", 40), ("j", 45), ("i", 1)] {
            let sql = "INSERT INTO telemetry(instance_id, tokens_in, created_at) VALUES(?1, 100 - ?2, ?3)";
            writer
                .conn
                .execute(sql, params![instance, age, NOW - age * DAY])
                .unwrap();
        }
        let before = writer.costs(crate::store::CostsBy::Agent, 0).unwrap().1.tokens_in;
        writer.prune(&older_than(30)).unwrap();
        assert_eq!(numbers(&writer, "SELECT id FROM telemetry ORDER BY id"), [2, 3, 4]);
        let after = writer.costs(crate::store::CostsBy::Agent, 0).unwrap().1.tokens_in;
        assert_eq!(before, after);
    }

    #[test]
    fn keeps_a_week_of_the_change_log_also_for_deleted_rows() {
        let (_dir, writer) = temp_database();
        for age in [9, 8, 5, 3, 0] {
            message(&writer, age);
        }
        let log = |writer: &Writer| numbers(writer, "SELECT count(*) FROM changes WHERE tbl = 'messages'")[0];
        let day = older_than(1);
        // The rows of the thread and the agent have the machine's current time.
        writer.prune(&day).unwrap();
        assert_eq!(
            numbers(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [5]
        );
        assert_eq!(log(&writer), 3);
        writer.prune(&day).unwrap();
        assert_eq!(log(&writer), 3, "the age of the entries is not known yet");
        message(&writer, -6);
        let later = Retention {
            before: NOW + 7 * DAY,
            now: NOW + 8 * DAY,
            unread: Unread::Keep,
            agents_before: 0,
        };
        writer.prune(&later).unwrap();
        assert_eq!(log(&writer), 1, "the entries of the first prune are over a week old");
    }

    #[test]
    fn deletes_agents_that_were_not_seen_with_their_subscriptions_and_deliveries() {
        let (_dir, writer) = temp_database();
        let mail = writer
            .send(&NewInboxMessage::new("boss", "gone", "x"))
            .unwrap()
            .into_row();
        // The newest agent always stays.
        for (name, age) in [
            ("gone", 91),
            ("reads", 91),
            ("subscribes", 91),
            ("acks", 91),
            ("recent", 89),
            ("newest", 200),
        ] {
            let sql = "INSERT INTO agents(id, last_active_at) VALUES(?1, ?2)";
            writer.conn.execute(sql, params![name, NOW - age * DAY]).unwrap();
        }
        for (reader, age) in [("gone", 91), ("reads", 1), ("subscribes", 91), ("other", 91)] {
            let sql = "INSERT INTO deliveries(mail, reader, session, state, at) VALUES(?1, ?2, 's', 'printed', ?3)";
            writer
                .conn
                .execute(sql, params![mail.n, reader, NOW - age * DAY])
                .unwrap();
        }
        for (instance, subscribed, acked) in [
            ("gone", 91, Some(92)),
            ("gone", 92, None),
            ("subscribes", 1, None),
            ("acks", 200, Some(1)),
            ("recent", 200, Some(200)),
            ("page", 200, Some(200)),
            ("page that acks", 200, Some(1)),
            ("unknown", 200, None),
            ("newest", 1, None),
        ] {
            let sql = "INSERT INTO subscriptions(instance_id, thread_id, subscribed_at, acked_at, last_ack_seq) \
                VALUES(?1, ?2, ?3, ?4, ?5)";
            let acked_at = acked.map(|age| NOW - age * DAY);
            let seq = i64::from(acked.is_some() || instance == "unknown");
            let given = params![instance, subscribed.to_string(), NOW - subscribed * DAY, acked_at, seq];
            writer.conn.execute(sql, given).unwrap();
        }
        writer
            .conn
            .execute(
                "INSERT INTO hub(key, value) VALUES('continued:gone', '1 1'), ('continued:acks', '1 1')",
                [],
            )
            .unwrap();
        let texts = |sql: &str| -> Vec<String> {
            let mut statement = writer.conn.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        assert_eq!(writer.prunable(&older_than(30)).unwrap().agents, 1);
        let pruned = writer.prune(&older_than(30)).unwrap();
        assert_eq!((pruned.agents, pruned.subscriptions, pruned.deliveries), (1, 3, 2));
        assert_eq!(
            texts("SELECT id FROM agents ORDER BY n"),
            ["boss", "reads", "subscribes", "acks", "recent", "newest"]
        );
        assert_eq!(
            texts("SELECT instance_id FROM subscriptions ORDER BY n"),
            ["subscribes", "acks", "recent", "page that acks", "unknown", "newest"]
        );
        assert_eq!(
            texts("SELECT reader FROM deliveries ORDER BY reader"),
            ["reads", "subscribes"]
        );
        assert_eq!(
            texts("SELECT key FROM hub WHERE key LIKE 'continued:%'"),
            ["continued:acks"]
        );
        // Its unread mail is kept, and the agent can come back.
        assert_eq!(texts("SELECT payload FROM inbox_messages"), ["x"]);
        assert!(writer.is_known_recipient("gone").unwrap());
        writer.register_agent("gone").unwrap();
        let pruned = writer.prune(&older_than(30)).unwrap();
        assert_eq!((pruned.agents, pruned.subscriptions, pruned.deliveries), (0, 0, 0));
    }

    #[test]
    fn keeps_mail_to_all_as_long_as_agents() {
        let (_dir, writer) = temp_database();
        for (to, age) in [("all", 91), ("a", 91), ("all", 89), ("a", 31), ("a", 0)] {
            let sql = "INSERT INTO inbox_messages(from_agent, to_inbox, payload, created_at) VALUES('b', ?1, ?2, ?3)";
            writer.conn.execute(sql, params![to, age, NOW - age * DAY]).unwrap();
        }
        let would = writer.prunable(&older_than(30)).unwrap();
        let did = writer.prune(&older_than(30)).unwrap();
        assert_eq!((would.inbox_messages, would.unread_kept), (1, 3));
        assert_eq!((did.inbox_messages, did.unread_kept), (1, 3));
        assert_eq!(
            numbers(&writer, "SELECT n FROM inbox_messages ORDER BY n"),
            [2, 3, 4, 5]
        );
        let receipts =
            "INSERT INTO receipts(message_id, reader, state) SELECT message_id, 'x', 'seen' FROM inbox_messages";
        writer.conn.execute(receipts, []).unwrap();
        // A longer retention applies to it as well.
        assert_eq!(writer.prune(&older_than(400)).unwrap().rows(), 0);
    }
}

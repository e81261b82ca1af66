//! Retention: old rows go, in steps so small that nobody notices.
//!
//! For: `agenthub prune`.
//! Not for: making the file smaller: freed pages are used again by the rows that come.
//!
//! 1. Rows go in the order in which they came, up to the first one that is young enough.
//!    What a writer said about the time decides, but a row that claims to be from the
//!    past and came after younger ones stays, and one from the future proves nothing. So
//!    a thread loses its beginning, never a message in between.
//! 2. Unread mail stays, and mail somebody works on. Of each instance's telemetry the
//!    newest old row stays: totals need something to be compared with.
//! 3. The log keeps 7 days whatever is asked for. Its entries carry no time: that of the
//!    rows they are about counts, and where those are gone, the notes earlier prunes left.
//! 4. One step holds the write lock for about [`STEP`], marks itself with the key
//!    `pruning` (the file's triggers refuse a DELETE without it), and is followed by a
//!    pause longer than itself.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::{Reader, Writer};

/// How long one step deletes before it lets others write. Its commit comes on top.
const STEP: Duration = Duration::from_millis(8);
/// Rows looked up for one step.
const STEP_ROWS: i64 = 500;
/// The shortest pause between two steps; it is at least twice as long as the step.
const PAUSE: Duration = Duration::from_millis(2);
/// What the log keeps at least, in milliseconds: clients come back after a week.
const LOG_KEEPS: i64 = 7 * 86_400_000;
/// Time between two notes of where the log stood, in milliseconds.
const NOTE_INTERVAL: i64 = 3_600_000;

/// What becomes of unread mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It stays, however old.
    Keep,
    /// It goes like any other: the owner insists.
    Remove,
}

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Rows written before this go, Unix milliseconds.
    pub before: i64,
    /// The time now, Unix milliseconds.
    pub now: i64,
    /// Unread mail.
    pub unread: Unread,
}

/// How many rows of each table went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Entries of the log.
    pub changes: i64,
    /// Messages of threads.
    pub messages: i64,
    /// Mail.
    pub inbox_messages: i64,
    /// Receipts for mail that is gone.
    pub receipts: i64,
    /// Telemetry.
    pub telemetry: i64,
    /// Events of tasks.
    pub task_stream: i64,
    /// Old mail that stays because nobody has read it.
    pub unread_kept: i64,
    /// The longest time the write lock was held, in milliseconds.
    pub longest_step_ms: i64,
}

/// A table, its integer primary key, and which of its old rows go. The condition knows
/// ?1, the time now; ?2, whether unread mail goes; and ?3, the first row that stays.
struct Table {
    name: &'static str,
    key: &'static str,
    goes: &'static str,
}

/// In this order: receipts go when their mail is gone.
const TABLES: [Table; 5] = [
    Table {
        name: "messages",
        key: "n",
        goes: "1",
    },
    Table {
        name: "inbox_messages",
        key: "n",
        goes: "(?2 OR r.status <> 'unread') AND coalesce(r.claim_expires_at, 0) <= ?1",
    },
    Table {
        name: "receipts",
        key: "n",
        goes: "NOT EXISTS (SELECT 1 FROM inbox_messages i WHERE i.message_id = r.message_id)",
    },
    Table {
        name: "telemetry",
        key: "id",
        goes: "EXISTS (SELECT 1 FROM telemetry t WHERE t.instance_id = r.instance_id AND t.id > r.id AND t.id < ?3)",
    },
    Table {
        name: "task_stream",
        key: "id",
        goes: "1",
    },
];

const CHANGES: Table = Table {
    name: "changes",
    key: "seq",
    goes: "1",
};

/// What one step did.
struct Step {
    /// The last row it came to.
    last: Option<i64>,
    removed: i64,
    /// How long it had the write lock.
    held: Duration,
}

impl Pruned {
    fn of(&mut self, table: &Table) -> &mut i64 {
        match table.name {
            "changes" => &mut self.changes,
            "messages" => &mut self.messages,
            "inbox_messages" => &mut self.inbox_messages,
            "receipts" => &mut self.receipts,
            "telemetry" => &mut self.telemetry,
            _ => &mut self.task_stream,
        }
    }

    /// All rows together.
    pub fn rows(&self) -> i64 {
        self.changes + self.messages + self.inbox_messages + self.receipts + self.telemetry + self.task_stream
    }
}

impl Reader {
    /// What [`Writer::prune`] would remove now.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn prunable(&self, retention: &Retention) -> Result<Pruned> {
        self.snapshot(|| {
            let mut pruned = self.kept(retention)?;
            pruned.changes = self.count(&CHANGES, self.log_end(retention)?, retention)?;
            for table in &TABLES {
                *pruned.of(table) = self.count(table, self.end_of(table, retention)?, retention)?;
            }
            Ok(pruned)
        })
    }

    fn kept(&self, retention: &Retention) -> Result<Pruned> {
        let unread_kept = match retention.unread {
            Unread::Remove => 0,
            Unread::Keep => self.conn.query_row(
                "SELECT count(*) FROM inbox_messages WHERE status = 'unread' AND created_at < ?1",
                [retention.before],
                |row| row.get(0),
            )?,
        };
        Ok(Pruned {
            unread_kept,
            ..Pruned::default()
        })
    }

    fn count(&self, table: &Table, end: i64, retention: &Retention) -> Result<i64> {
        let (name, key, goes) = (table.name, table.key, table.goes);
        let sql = format!("SELECT count(*) FROM {name} r WHERE r.{key} < ?3 AND {goes}");
        let given = params![retention.now, retention.unread == Unread::Remove, end];
        Ok(self.conn.query_row(&sql, given, |row| row.get(0))?)
    }

    /// The first row of a table that stays; the newest always does.
    fn end_of(&self, table: &Table, retention: &Retention) -> Result<i64> {
        let (name, key) = (table.name, table.key);
        let sql = format!(
            "SELECT coalesce((SELECT {key} FROM {name} WHERE created_at BETWEEN ?1 AND ?2 ORDER BY {key} LIMIT 1), \
             (SELECT max({key}) FROM {name}), 0)"
        );
        Ok(self
            .conn
            .query_row(&sql, params![retention.before, retention.now], |row| row.get(0))?)
    }

    /// The first entry of the log that stays.
    fn log_end(&self, retention: &Retention) -> Result<i64> {
        let before = retention.before.min(retention.now - LOG_KEEPS);
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
    /// Removes what `retention` says, step by step. What is gone when an error comes
    /// stays gone; calling again goes on.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn prune(&self, retention: &Retention) -> Result<Pruned> {
        let mut pruned = self.kept(retention)?;
        // The log first: its age is that of rows which are about to go.
        let end = self.log_end(retention)?;
        self.clear(&CHANGES, end, retention, &mut pruned)?;
        self.note(retention)?;
        for table in &TABLES {
            let end = self.end_of(table, retention)?;
            self.clear(table, end, retention, &mut pruned)?;
        }
        Ok(pruned)
    }

    fn clear(&self, table: &Table, end: i64, retention: &Retention, pruned: &mut Pruned) -> Result<()> {
        let mut after = i64::MIN;
        loop {
            let rows = self.next_rows(table, after, end, retention)?;
            let Some(last) = rows.last() else { return Ok(()) };
            let started = Instant::now();
            let step = self.step(table, &rows, end, retention)?;
            let took = started.elapsed();
            *pruned.of(table) += step.removed;
            let held = i64::try_from(step.held.as_millis()).unwrap_or(i64::MAX);
            pruned.longest_step_ms = pruned.longest_step_ms.max(held);
            after = step.last.unwrap_or(*last);
            #[expect(
                clippy::disallowed_methods,
                reason = "others write meanwhile; no runtime's thread prunes"
            )]
            std::thread::sleep(PAUSE.max(took * 2));
        }
    }

    fn next_rows(&self, table: &Table, after: i64, end: i64, retention: &Retention) -> Result<Vec<i64>> {
        let (name, key, goes) = (table.name, table.key, table.goes);
        let sql = format!(
            "SELECT r.{key} FROM {name} r WHERE r.{key} > ?4 AND r.{key} < ?3 AND {goes} ORDER BY r.{key} LIMIT {STEP_ROWS}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let given = params![retention.now, retention.unread == Unread::Remove, end, after];
        let found = statement.query_map(given, |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes of `rows` what it can in one step.
    fn step(&self, table: &Table, rows: &[i64], end: i64, retention: &Retention) -> Result<Step> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let locked = Instant::now();
        let (mut last, mut removed) = (None, 0);
        mark(&transaction)?;
        {
            // What was true when the rows were looked up is asked again: mail may have
            // become unread.
            let (name, key, goes) = (table.name, table.key, table.goes);
            let sql = format!("DELETE FROM {name} AS r WHERE r.{key} = ?4 AND {goes}");
            let mut delete = transaction.prepare_cached(&sql)?;
            for row in rows {
                let gone = delete.execute(params![retention.now, retention.unread == Unread::Remove, end, row])?;
                removed += i64::from(gone > 0);
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
            removed,
            held: locked.elapsed(),
        })
    }

    /// Notes where the log stands, for prunes to come, and forgets notes that have served.
    /// (Times of 13 digits sort as text as they do as numbers.)
    fn note(&self, retention: &Retention) -> Result<()> {
        let now = retention.now;
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        transaction.execute(
            "DELETE FROM hub WHERE key BETWEEN 'pruned_at:' AND 'pruned_at:' || ?1",
            [retention.before.min(now - LOG_KEEPS)],
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

/// Allows deletes until the transaction ends.
fn mark(conn: &Connection) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO hub(key, value) VALUES('pruning', 1)")?
        .execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NetworkFs, NewInbox, NewMessage};

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_800_000_000_000;

    fn file() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        (folder, writer)
    }

    fn message(writer: &Writer, age_days: i64) {
        let sql = "INSERT INTO messages(thread_id, from_id, content, created_at) VALUES('t', 'a', 'x', ?1)";
        writer.conn.execute(sql, [NOW - age_days * DAY]).unwrap();
    }

    fn kept(writer: &Writer, sql: &str) -> Vec<i64> {
        let mut statement = writer.conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn older_than(days: i64) -> Retention {
        Retention {
            before: NOW - days * DAY,
            now: NOW,
            unread: Unread::Keep,
        }
    }

    #[test]
    fn a_thread_loses_its_beginning_and_nothing_else() {
        let (_folder, writer) = file();
        // The second claims to be from the future, the fifth to be older than it is.
        for age in [50, -400, 40, 20, 60, 1] {
            message(&writer, age);
        }
        let would = writer.prunable(&older_than(30)).unwrap();
        let did = writer.prune(&older_than(30)).unwrap();
        assert_eq!((would.messages, did.messages), (3, 3));
        assert_eq!(would.changes, did.changes);
        assert_eq!(
            kept(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [4, 5, 6]
        );
        assert_eq!(kept(&writer, "SELECT count(*) FROM hub WHERE key = 'pruning'"), [0]);
        writer.post_message(&NewMessage::new("t", "a", "goes on")).unwrap();
        assert_eq!(kept(&writer, "SELECT max(message_seq) FROM messages"), [7]);
    }

    #[test]
    fn the_newest_row_stays_however_old() {
        let (_folder, writer) = file();
        message(&writer, 50);
        message(&writer, 49);
        writer.prune(&older_than(30)).unwrap();
        assert_eq!(
            kept(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [2]
        );
        assert_eq!(writer.prune(&older_than(30)).unwrap().rows(), 0);
    }

    #[test]
    fn unread_mail_stays_unless_the_owner_insists() {
        let (_folder, writer) = file();
        for status in ["unread", "read", "unread", "read"] {
            let row = writer.send(&NewInbox::new("a", "b", "x")).unwrap().into_row();
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
        };
        let pruned = writer.prune(&retention).unwrap();
        assert_eq!((pruned.inbox_messages, pruned.unread_kept), (1, 2));
        assert_eq!(kept(&writer, "SELECT n FROM inbox_messages ORDER BY n"), [1, 3, 4]);
        assert_eq!(kept(&writer, "SELECT n FROM receipts ORDER BY n"), [1, 3, 4]);
        retention.unread = Unread::Remove;
        writer.prune(&retention).unwrap();
        assert_eq!(kept(&writer, "SELECT n FROM inbox_messages ORDER BY n"), [4]);
    }

    #[test]
    fn totals_keep_something_to_be_compared_with() {
        let (_folder, writer) = file();
        for (instance, age) in [("i", 50), ("i", 40), ("j", 45), ("i", 1)] {
            let sql = "INSERT INTO telemetry(instance_id, tokens_in, created_at) VALUES(?1, 100 - ?2, ?3)";
            writer
                .conn
                .execute(sql, params![instance, age, NOW - age * DAY])
                .unwrap();
        }
        let before = writer.costs(crate::store::CostsBy::Agent, 0).unwrap().1.tokens_in;
        writer.prune(&older_than(30)).unwrap();
        assert_eq!(kept(&writer, "SELECT id FROM telemetry ORDER BY id"), [2, 3, 4]);
        let after = writer.costs(crate::store::CostsBy::Agent, 0).unwrap().1.tokens_in;
        assert_eq!(before, after);
    }

    #[test]
    fn the_log_keeps_a_week_also_of_rows_that_are_gone() {
        let (_folder, writer) = file();
        for age in [9, 8, 5, 3, 0] {
            message(&writer, age);
        }
        let log = |writer: &Writer| kept(writer, "SELECT count(*) FROM changes WHERE tbl = 'messages'")[0];
        let day = older_than(1);
        // The thread and the agent were made just now, on the machine's clock.
        writer.prune(&day).unwrap();
        assert_eq!(
            kept(&writer, "SELECT message_seq FROM messages ORDER BY message_seq"),
            [5]
        );
        assert_eq!(log(&writer), 3);
        writer.prune(&day).unwrap();
        assert_eq!(log(&writer), 3, "nothing tells how old they are yet");
        message(&writer, -6);
        let later = Retention {
            before: NOW + 7 * DAY,
            now: NOW + 8 * DAY,
            unread: Unread::Keep,
        };
        writer.prune(&later).unwrap();
        assert_eq!(log(&writer), 1, "what was there at the first prune is over a week old");
    }
}

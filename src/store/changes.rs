//! The change log: every insert and every state change in the database, in commit order.
//!
//! Triggers write one row to the table `changes` for each. [`Reader::log_after`] reads the changes
//! after a [`Position`], each with its row as it is now.

use rusqlite::{OptionalExtension, params};

use super::agents::AgentRow;
use super::connection::Reader;
use super::inbox::messages::InboxMessageRow;
use super::logged_table::{LastInserts, Table};
use super::messages::{self, MessageRow};
use super::position::{self, Position};
use super::row_reader::UnreadableRow;
use super::task_events::TaskEventRow;
use super::telemetry::TelemetryRow;
use super::threads::{self, ThreadRow};
use crate::error::Result;

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The row is new.
    Insert,
    /// The row's state changed.
    Update,
}

/// The row of a change, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A message, and the state of its thread.
    Message(MessageRow, ThreadRow),
    /// An inbox message.
    Inbox(InboxMessageRow),
    /// Telemetry.
    Telemetry(TelemetryRow),
    /// A task event.
    Task(TaskEventRow),
    /// A thread.
    Thread(ThreadRow),
    /// An agent.
    Agent(AgentRow),
    /// The row has invalid values. Never a message or an inbox message: their invalid values are
    /// converted.
    Unreadable(UnreadableRow),
    /// The row was pruned.
    Pruned(Table),
    /// The row is of a table that this program does not know.
    Unknown,
}

/// One entry of the change log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The position after this change.
    pub pos: Position,
    /// The kind of the change.
    pub op: Op,
    /// The changed row.
    pub row: Row,
}

/// Consecutive entries of the change log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogPage {
    /// In commit order, without a gap.
    pub changes: Vec<Change>,
    /// Whether the log has more changes after these.
    pub has_more: bool,
}

impl Reader {
    /// Returns `PRAGMA data_version`, which changes when another connection commits.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn data_version(&self) -> Result<i64> {
        Ok(self
            .conn
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?)
    }

    /// Returns the changes after `after`: at most `limit`, and about `bytes` bytes of rows (a larger
    /// row is returned alone). [`Position::START`] begins at the oldest change that is kept.
    ///
    /// # Errors
    /// [`Code::PositionLost`](crate::error::Code::PositionLost) if the database does not have this epoch, or
    /// its log does not have `after`; a `Store…` code.
    pub fn log_after(&self, epoch: &str, after: Position, limit: usize, bytes: usize) -> Result<LogPage> {
        self.snapshot(|| {
            position::require_epoch(&self.conn, epoch)?;
            self.page_after(after, limit, bytes)
        })
    }

    /// Returns the first changes kept, as [`log_after`](Self::log_after), if the change at `after` was
    /// pruned from the log. `anchor` is a newer position of the same log.
    ///
    /// # Errors
    /// [`Code::PositionLost`](crate::error::Code::PositionLost) if `after` was not pruned, the database does
    /// not have this epoch, or its log does not have `anchor`; a `Store…` code.
    pub fn log_after_pruned(
        &self,
        epoch: &str,
        after: Position,
        anchor: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<LogPage> {
        self.snapshot(|| {
            position::require_epoch(&self.conn, epoch)?;
            position::require(&self.conn, anchor)?;
            let sql = "SELECT seq FROM changes ORDER BY seq LIMIT 1";
            let oldest: Option<i64> = self.conn.query_row(sql, [], |row| row.get(0)).optional()?;
            if oldest.is_none_or(|oldest| oldest <= after.seq) {
                return Err(position::lost());
            }
            self.page_after(Position::START, limit, bytes)
        })
    }

    fn page_after(&self, after: Position, limit: usize, bytes: usize) -> Result<LogPage> {
        // The query includes the row at the position itself, which proves the position.
        let mut statement = self
            .conn
            .prepare_cached("SELECT seq, tag, tbl, row, op FROM changes WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
        let rows = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(2);
        let mut found = statement.query(params![after.seq.max(1), rows])?;
        if after != Position::START && found.next()?.map(position::from_row).transpose()? != Some(after) {
            return Err(position::lost());
        }
        let mut page = LogPage::default();
        let mut weight = 0;
        let mut last = self.last_inserts.take().before((after.seq, after.tag));
        while let Some(row) = found.next()? {
            if page.changes.len() == limit || weight >= bytes {
                page.has_more = true;
                break;
            }
            let change = self.change(row, &mut last)?;
            last.advance((change.pos.seq, change.pos.tag));
            weight += change.row.weight();
            page.changes.push(change);
        }
        self.last_inserts.replace(last);
        Ok(page)
    }

    /// Reads an entry and its row. An entry that no trigger wrote is an unreadable row of `changes`.
    fn change(&self, entry: &rusqlite::Row<'_>, last: &mut LastInserts) -> Result<Change> {
        let pos = position::from_row(entry)?;
        let rejected = |reason: &str| Change {
            pos,
            op: Op::Insert,
            row: Row::Unreadable(UnreadableRow {
                table: "changes",
                row: pos.seq,
                reason: format!("no trigger wrote this entry: {reason}"),
            }),
        };
        let (Ok(name), Ok(op)) = (entry.get_ref(2)?.as_str(), entry.get_ref(4)?.as_str()) else {
            return Ok(rejected("tbl and op must be text"));
        };
        let op = match op {
            "insert" => Op::Insert,
            "update" => Op::Update,
            _ => return Ok(rejected("op must be insert or update")),
        };
        let Ok(n) = entry.get_ref(3)?.as_i64() else {
            return Ok(rejected("row must be an integer"));
        };
        let Some(table) = Table::from_name(name) else {
            let row = Row::Unknown;
            return Ok(Change { pos, op, row });
        };
        let row = self.row_of(table, n)?;
        if matches!(row, Row::Pruned(_)) && !self.has_had_row(table, n)? {
            return Ok(rejected("its row does not exist"));
        }
        if op == Op::Insert
            && let Some(reason) = self.check_insert(last, pos.seq, table, n)?
        {
            return Ok(rejected(reason));
        }
        Ok(Change { pos, op, row })
    }

    fn row_of(&self, table: Table, n: i64) -> Result<Row> {
        let found = match table {
            Table::Messages => {
                let sql = format!(
                    "SELECT {}, {} FROM messages m LEFT JOIN threads t ON t.id = m.thread_id WHERE m.n = ?1",
                    messages::COLUMNS,
                    threads::COLUMNS
                );
                self.conn
                    .prepare_cached(&sql)?
                    .query_row([n], |row| {
                        let message = MessageRow::read(row, &self.proofs);
                        let thread = ThreadRow::read_at(row, messages::WIDTH).unwrap_or_default();
                        Ok(Row::Message(message, thread))
                    })
                    .optional()?
            }
            Table::Inbox => self.inbox_row(n)?.map(Row::Inbox),
            Table::Telemetry => self
                .telemetry_row(n)?
                .map(|r| r.map_or_else(Row::Unreadable, Row::Telemetry)),
            Table::Tasks => self.task_row(n)?.map(|r| r.map_or_else(Row::Unreadable, Row::Task)),
            Table::Threads => self.thread_row(n)?.map(|r| r.map_or_else(Row::Unreadable, Row::Thread)),
            Table::Agents => self.agent_row(n)?.map(|r| r.map_or_else(Row::Unreadable, Row::Agent)),
        };
        Ok(found.unwrap_or(Row::Pruned(table)))
    }
}

impl Row {
    /// Returns the thread id of a message or a thread.
    pub fn thread_id(&self) -> Option<&str> {
        match self {
            Self::Message(message, _) => Some(&message.thread_id),
            Self::Thread(thread) => Some(&thread.id),
            _ => None,
        }
    }

    /// Returns the approximate size of the row in bytes, in memory and on the wire: all its texts plus
    /// a constant for the rest.
    pub fn weight(&self) -> usize {
        match self {
            Self::Message(message, thread) => message.weight() + thread.weight(),
            Self::Inbox(row) => row.weight(),
            Self::Task(row) => row.weight(),
            Self::Telemetry(row) => row.weight(),
            Self::Thread(row) => row.weight(),
            Self::Agent(row) => row.weight(),
            Self::Unreadable(_) | Self::Pruned(_) | Self::Unknown => 200,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::store::test_support::temp_database;
    use crate::store::{NetworkFs, NewMessage, Writer};

    fn post(writer: &Writer, count: usize) {
        for _ in 0..count {
            writer.post_message(&NewMessage::new("t", "a", "x")).unwrap();
        }
    }

    fn open(writer: &Writer) -> (Reader, String) {
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        let epoch = reader.epoch().unwrap();
        (reader, epoch)
    }

    fn messages(page: &LogPage) -> Vec<i64> {
        let number = |change: &Change| match &change.row {
            Row::Message(message, _) if change.op == Op::Insert => Some(message.message_seq),
            _ => None,
        };
        page.changes.iter().filter_map(number).collect()
    }

    /// Returns the positions of the changes in the log.
    fn positions(reader: &Reader, epoch: &str) -> Vec<Position> {
        let page = reader.log_after(epoch, Position::START, 1000, usize::MAX).unwrap();
        page.changes.iter().map(|change| change.pos).collect()
    }

    #[test]
    fn data_version_changes_with_each_commit_of_another_connection() {
        let (_dir, writer) = temp_database();
        let (reader, _) = open(&writer);
        let before = reader.data_version().unwrap();
        assert_eq!(reader.data_version().unwrap(), before);
        for _ in 0..3 {
            let before = reader.data_version().unwrap();
            post(&writer, 1);
            assert_ne!(reader.data_version().unwrap(), before);
        }
    }

    #[test]
    fn page_ends_at_the_row_limit_or_at_the_byte_limit() {
        let (_dir, writer) = temp_database();
        post(&writer, 5);
        let (reader, epoch) = open(&writer);
        let all = reader.log_after(&epoch, Position::START, 1000, usize::MAX).unwrap();
        assert!(!all.has_more);
        let count = all.changes.len();
        for limit in 1..count {
            let page = reader.log_after(&epoch, Position::START, limit, usize::MAX).unwrap();
            assert_eq!((page.changes.len(), page.has_more), (limit, true));
        }
        let exact = reader.log_after(&epoch, Position::START, count, usize::MAX).unwrap();
        assert_eq!((exact.changes.len(), exact.has_more), (count, false));
        // The row that reaches the limit is the last of its page.
        let mut weight = 0;
        for (i, change) in all.changes.iter().enumerate() {
            weight += change.row.weight();
            for (bytes, rows) in [(weight, i + 1), (weight + 1, i + 2)] {
                let page = reader.log_after(&epoch, Position::START, 1000, bytes).unwrap();
                assert_eq!((page.changes.len(), page.has_more), (rows.min(count), rows < count));
            }
        }
    }

    #[test]
    fn pruned_position_continues_at_the_oldest_change() {
        let (_dir, writer) = temp_database();
        post(&writer, 4);
        let (reader, epoch) = open(&writer);
        let log = positions(&reader, &epoch);
        let head = *log.last().unwrap();
        let oldest = log[3];
        let prune = format!(
            "INSERT INTO hub(key) VALUES('pruning'); DELETE FROM changes WHERE seq < {}; \
             DELETE FROM hub WHERE key = 'pruning'",
            oldest.seq
        );
        writer.conn.execute_batch(&prune).unwrap();
        let lost = |after: Position, anchor: Position| {
            let page = reader.log_after_pruned(&epoch, after, anchor, 1000, usize::MAX);
            page.unwrap_err().code() == Code::PositionLost
        };
        let page = reader.log_after_pruned(&epoch, log[2], head, 1000, usize::MAX).unwrap();
        assert_eq!(page.changes.first().map(|change| change.pos), Some(oldest));
        assert_eq!(page.changes.len(), log.len() - 3);
        assert_eq!(messages(&page).last(), Some(&4));
        // This position is in the log, or newer than the log: it was not pruned.
        assert!(lost(oldest, head));
        assert!(lost(head, head));
        // The position that must be in the log is not.
        assert!(lost(log[1], log[2]));
    }

    #[test]
    fn updates_are_read_and_rows_that_were_pruned_are_marked() {
        let (_dir, writer) = temp_database();
        post(&writer, 2);
        writer.change_thread("t", None, Some("Builds")).unwrap();
        let (reader, epoch) = open(&writer);
        let page = reader.log_after(&epoch, Position::START, 1000, usize::MAX).unwrap();
        let updated: Vec<&Row> = page
            .changes
            .iter()
            .filter(|c| c.op == Op::Update)
            .map(|c| &c.row)
            .collect();
        assert!(updated.iter().any(|row| matches!(row, Row::Thread(_))), "{updated:?}");
        assert!(updated.iter().all(|row| row.thread_id() == Some("t")), "{updated:?}");
        let prune = "INSERT INTO hub(key) VALUES('pruning'); DELETE FROM messages WHERE n = 1; \
             DELETE FROM hub WHERE key = 'pruning'";
        writer.conn.execute_batch(prune).unwrap();
        let page = reader.log_after(&epoch, Position::START, 1000, usize::MAX).unwrap();
        let pruned = page
            .changes
            .iter()
            .filter(|c| matches!(c.row, Row::Pruned(Table::Messages)));
        assert_eq!(pruned.count(), 1);
        assert_eq!(messages(&page), [2]);
    }

    #[test]
    fn weight_of_a_message_counts_its_texts_and_those_of_its_thread() {
        let (_dir, writer) = temp_database();
        let weigh = |thread: &str, text: &str| {
            writer.post_message(&NewMessage::new(thread, "a", text)).unwrap();
            let (reader, epoch) = open(&writer);
            let page = reader.log_after(&epoch, Position::START, 1000, usize::MAX).unwrap();
            let is_message = |change: &&Change| matches!(change.row, Row::Message(..));
            let row = &page.changes.iter().rfind(|change| is_message(change)).unwrap().row;
            let Row::Message(message, thread) = row else {
                unreachable!()
            };
            (row.weight(), message.weight(), thread.weight())
        };
        let (weight, message, thread) = weigh("t", "x");
        assert_eq!(weight, message + thread);
        assert!(message > 1 && thread > 1);
        let (longer, ..) = weigh("t", &"x".repeat(1001));
        assert_eq!(longer, weight + 1000);
    }
}

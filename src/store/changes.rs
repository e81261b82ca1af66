//! The change log: every insert and every state change in the database, in commit order.
//!
//! Triggers write one row to the table `changes` for each. [`Reader::log_after`] reads the changes
//! after a [`Position`], each with its row as it is now.

use rusqlite::{OptionalExtension, params};

use super::agents::AgentRow;
use super::connection::Reader;
use super::inbox::messages::InboxMessageRow;
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

/// The tables whose changes are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `threads`
    Threads,
    /// `messages`
    Messages,
    /// `inbox_messages`
    Inbox,
    /// `telemetry`
    Telemetry,
    /// `task_stream`
    Tasks,
    /// `agents`
    Agents,
}

impl Table {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "threads" => Self::Threads,
            "messages" => Self::Messages,
            "inbox_messages" => Self::Inbox,
            "telemetry" => Self::Telemetry,
            "task_stream" => Self::Tasks,
            "agents" => Self::Agents,
            _ => return None,
        })
    }
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
    /// [`Code::PositionLost`](crate::error::Code::PositionLost) if the log does not have `after`; a
    /// `Store…` code.
    pub fn log_after(&self, after: Position, limit: usize, bytes: usize) -> Result<LogPage> {
        self.snapshot(|| self.page_after(after, limit, bytes))
    }

    /// Returns the first changes kept, as [`log_after`](Self::log_after), if the change at `after` was
    /// pruned from the log. `anchor` is a newer position of the same log.
    ///
    /// # Errors
    /// [`Code::PositionLost`](crate::error::Code::PositionLost) if `after` was not pruned, or the log
    /// does not have `anchor`; a `Store…` code.
    pub fn log_after_pruned(&self, after: Position, anchor: Position, limit: usize, bytes: usize) -> Result<LogPage> {
        self.snapshot(|| {
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
        let mut found = statement.query(params![after.seq, rows])?;
        if after != Position::START && found.next()?.map(position::from_row).transpose()? != Some(after) {
            return Err(position::lost());
        }
        let mut page = LogPage::default();
        let mut weight = 0;
        while let Some(row) = found.next()? {
            if page.changes.len() == limit || weight >= bytes {
                page.has_more = true;
                break;
            }
            let pos = position::from_row(row)?;
            let op = if row.get_ref(4)?.as_str() == Ok("update") {
                Op::Update
            } else {
                Op::Insert
            };
            let row = match row.get_ref(3)?.as_i64() {
                Ok(n) => self.row_of(row.get_ref(2)?.as_str().unwrap_or_default(), n)?,
                Err(_) => Row::Unknown,
            };
            weight += row.weight();
            page.changes.push(Change { pos, op, row });
        }
        Ok(page)
    }

    fn row_of(&self, table: &str, n: i64) -> Result<Row> {
        let Some(table) = Table::from_name(table) else {
            return Ok(Row::Unknown);
        };
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

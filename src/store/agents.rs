//! Agents: who has written or read here.
//!
//! For: the agents table, and finding a name somebody meant.
//! Not for: what they do (`telemetry`, `tasks`).

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::cells::{Cells, Rejected};
use super::open::{Reader, Writer};
use crate::error::Result;

const COLUMNS: &str = "n, id, label, status, workspace, pid, created_at, last_active_at";

/// One row of the agents table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AgentRow {
    /// The row's number.
    #[serde(skip)]
    pub n: i64,
    /// Its name.
    pub id: String,
    /// A name for people.
    pub label: String,
    /// idle, running, error.
    pub status: String,
    /// Working directory.
    pub workspace: String,
    /// Its process id.
    pub pid: Option<i64>,
    /// When it first appeared, Unix milliseconds.
    pub created_at: i64,
    /// When it last wrote, Unix milliseconds; kept to about a second.
    pub last_active_at: i64,
}

impl AgentRow {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, Rejected> {
        let mut cells = Cells::new(row);
        let agent = Self {
            n: cells.int(),
            id: cells.text(),
            label: cells.text(),
            status: cells.text(),
            workspace: cells.text(),
            pid: cells.maybe_int(),
            created_at: cells.int(),
            last_active_at: cells.int(),
        };
        cells.accept("agents", agent.n, agent)
    }
}

impl Reader {
    /// Every agent, the last active first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agents(&self) -> Result<Vec<AgentRow>> {
        let sql = format!("SELECT {COLUMNS} FROM agents ORDER BY last_active_at DESC, n DESC");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map([], |row| Ok(AgentRow::read(row)))?;
        let rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(rows.into_iter().filter_map(Result::ok).collect())
    }

    /// Whether an agent of this name has ever been here.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn knows_agent(&self, id: &str) -> Result<bool> {
        let found = self
            .conn
            .prepare_cached("SELECT 1 FROM agents WHERE id = ?1")?
            .query_row([id], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    pub(super) fn agent_row(&self, n: i64) -> Result<Option<Result<AgentRow, Rejected>>> {
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE n = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([n], |row| Ok(AgentRow::read(row)))
            .optional()?)
    }
}

impl Writer {
    /// Makes an agent known that has only read so far.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn meet_agent(&self, id: &str) -> Result<()> {
        if !self.knows_agent(id)? {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO agents(id) VALUES(?1)")?
                .execute(params![id])?;
        }
        Ok(())
    }
}

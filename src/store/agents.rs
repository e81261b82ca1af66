//! Agents: who has written or read here.
//!
//! For: the agents table, and finding a name somebody meant.
//! Not for: what they do (`telemetry`, `tasks`).

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::{Reader, Writer};
use super::inbox::messages::EVERYBODY;
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::config::HUMAN;
use crate::error::{Code, Error, Result};

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
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, UnreadableRow> {
        let mut cells = RowReader::new(row);
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

    /// Roughly the bytes it takes in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [&self.id, &self.label, &self.status, &self.workspace];
        100 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// What an agent says about itself. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// A name for people.
    pub label: Option<String>,
    /// idle, running, error.
    pub status: Option<String>,
    /// Working directory.
    pub workspace: Option<String>,
    /// Its process id.
    pub pid: Option<i64>,
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

    /// At most `limit` agents and about 8 MiB of them, the last active first, after the one
    /// that was last active then and has this number.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agents_page(&self, after: Option<(i64, i64)>, limit: usize) -> Result<Page<AgentRow>> {
        let (last_active_at, n) = after.unwrap_or((i64::MAX, i64::MAX));
        let sql = format!(
            "SELECT {COLUMNS} FROM agents WHERE (last_active_at, n) < (?1, ?2) ORDER BY last_active_at DESC, n DESC"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query([last_active_at, n])?;
        Page::draw(
            found,
            limit,
            PAGE_BYTES,
            |row| AgentRow::read(row).ok(),
            AgentRow::weight,
        )
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

    /// Whether mail to this name can be expected to be read: an agent that has been here,
    /// an inbox that has mail, the person.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn knows(&self, name: &str) -> Result<bool> {
        if matches!(name, HUMAN | EVERYBODY) || self.knows_agent(name)? {
            return Ok(true);
        }
        Ok(self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE to_inbox = ?1)")?
            .query_row([name], |row| row.get(0))?)
    }

    /// The inboxes that mail from `from` to `to` goes to: one, or for `all` one of each
    /// other agent.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a name nobody has, with the one that was probably meant;
    /// [`Code::Invalid`] for none; a `Store…` code.
    pub fn recipients(&self, to: &str, from: &str) -> Result<Vec<String>> {
        if to.trim().is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "the name is empty; say to whom: a name, human or all",
            ));
        }
        if to != EVERYBODY && self.knows(to)? {
            return Ok(vec![to.to_owned()]);
        }
        let agents = self.agents()?.into_iter().map(|agent| agent.id);
        if to == EVERYBODY {
            let others: Vec<_> = agents.filter(|name| name != from && name != EVERYBODY).collect();
            return match others.is_empty() {
                true => Err(Error::new(Code::NotFound, "nobody else has been here yet")),
                false => Ok(others),
            };
        }
        let names: Vec<_> = agents.chain([HUMAN, EVERYBODY].map(str::to_owned)).collect();
        let meant = match closest(to, names.iter().map(String::as_str)) {
            Some(name) => format!("; did you mean {name}?"),
            None => String::new(),
        };
        let to: String = to.chars().take(60).collect();
        Err(Error::new(
            Code::NotFound,
            format!("no agent {to} has been here{meant}"),
        ))
    }

    pub(super) fn agent_row(&self, n: i64) -> Result<Option<Result<AgentRow, UnreadableRow>>> {
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

    /// Writes what an agent says about itself, making it known if need be.
    ///
    /// # Errors
    /// [`Code::Invalid`] for what the file refuses, a `Store…` code.
    pub fn set_agent(&self, id: &str, state: &AgentState) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO agents(id, label, status, workspace, pid) VALUES(?1, ?2, coalesce(?3, 'idle'), ?4, ?5) \
                 ON CONFLICT(id) DO UPDATE SET label = coalesce(?2, label), status = coalesce(?3, status), \
                 workspace = coalesce(?4, workspace), pid = coalesce(?5, pid), \
                 last_active_at = max(last_active_at, excluded.last_active_at)",
            )?
            .execute(params![id, state.label, state.status, state.workspace, state.pid])?;
        Ok(())
    }
}

/// Returns the name most similar to `typed`: one that begins with it, or differs in at most a third
/// of its characters.
fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let max_distance = typed.chars().count().div_ceil(3).max(1);
    let typed = typed.to_lowercase();
    names
        .map(|name| {
            let lower = name.to_lowercase();
            // Counts a transposition of neighbours as one edit.
            let distance = strsim::osa_distance(&typed, &lower);
            // A prefix is at least as likely as a typing error.
            (
                if lower.starts_with(&typed) {
                    distance.min(1)
                } else {
                    distance
                },
                name,
            )
        })
        .filter(|(distance, _)| *distance <= max_distance)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_most_similar_name() {
        let names = ["planner", "reviewer", "human"];
        assert_eq!(closest("plannr", names.into_iter()), Some("planner"));
        assert_eq!(closest("reveiwer", names.into_iter()), Some("reviewer"));
        assert_eq!(closest("plan", names.into_iter()), Some("planner"));
        assert_eq!(closest("Rev", names.into_iter()), Some("reviewer"));
        assert_eq!(closest("ALL", ["planner", "all"].into_iter()), Some("all"));
        assert_eq!(closest("deploy", names.into_iter()), None);
        // One transposition, which Levenshtein distance counts as two edits.
        assert_eq!(closest("bbo", ["bob", "planner"].into_iter()), Some("bob"));
    }
}

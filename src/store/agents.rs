//! The `agents` table: every agent that has written or read, and resolving the name of a recipient.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::{Reader, Writer};
use super::inbox::addressing::ALL_INBOXES;
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::config::{HUMAN, composed, is_human};
use crate::error::{Code, Error, Result};

const COLUMNS: &str = "n, id, label, status, workspace, pid, created_at, last_active_at";

/// One row of the `agents` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AgentRow {
    /// Primary key.
    #[serde(skip)]
    pub n: i64,
    /// The agent's name.
    pub id: String,
    /// Display name.
    pub label: String,
    /// idle, running, error.
    pub status: String,
    /// Working directory.
    pub workspace: String,
    /// Process id.
    pub pid: Option<i64>,
    /// When it was first seen, Unix milliseconds.
    pub created_at: i64,
    /// When it last wrote, Unix milliseconds; accurate to about a second.
    pub last_active_at: i64,
}

impl AgentRow {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, UnreadableRow> {
        let mut values = RowReader::new(row);
        let agent = Self {
            n: values.int(),
            id: values.text(),
            label: values.text(),
            status: values.text(),
            workspace: values.text(),
            pid: values.maybe_int(),
            created_at: values.int(),
            last_active_at: values.int(),
        };
        values.accept("agents", agent.n, agent)
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [&self.id, &self.label, &self.status, &self.workspace];
        100 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// Changes to an agent's row. `None` keeps the current value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// Display name.
    pub label: Option<String>,
    /// idle, running, error.
    pub status: Option<String>,
    /// Working directory.
    pub workspace: Option<String>,
    /// Process id.
    pub pid: Option<i64>,
}

impl Reader {
    /// Returns all agents, most recently active first.
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

    /// Returns at most `limit` agents, and about 8 MiB, most recently active first. `after` is
    /// `(last_active_at, n)` of the last agent of the previous page.
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

    /// Returns whether there is an agent with this name.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agent_exists(&self, id: &str) -> Result<bool> {
        let found = self
            .conn
            .prepare_cached("SELECT 1 FROM agents WHERE id = ?1")?
            .query_row([id], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    /// Returns the name of the agent, inbox or thread that `given` names: `given` itself if a program has
    /// written rows with exactly this name, otherwise its [`composed`] form.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn stored_name(&self, given: &str) -> Result<String> {
        let name = composed(given);
        let is_stored = name != given && (self.is_known_recipient(given)? || self.thread(given)?.is_some());
        Ok(if is_stored { given.to_owned() } else { name })
    }

    /// Returns whether mail to this name is likely to be read: it is `human`, `all`, an existing agent,
    /// or an inbox that has mail.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn is_known_recipient(&self, name: &str) -> Result<bool> {
        if is_human(name) || name == ALL_INBOXES || self.agent_exists(name)? {
            return Ok(true);
        }
        Ok(self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox_messages WHERE to_inbox = ?1)")?
            .query_row([name], |row| row.get(0))?)
    }

    /// Resolves the recipient `to` of mail from `from` to inboxes: one, or for `all` that of each
    /// other agent.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown name, with the most similar known one as a suggestion;
    /// [`Code::Invalid`] for an empty name; a `Store…` code.
    pub fn recipients(&self, to: &str, from: &str) -> Result<Vec<String>> {
        if to.trim().is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "the recipient is empty; use an agent's name, human or all",
            ));
        }
        if is_human(to) {
            return Ok(vec![HUMAN.to_owned()]);
        }
        if to == ALL_INBOXES {
            let agents = self.agents()?.into_iter().map(|agent| agent.id);
            let others: Vec<_> = agents.filter(|name| name != from && name != ALL_INBOXES).collect();
            return match others.is_empty() {
                true => Err(Error::new(Code::NotFound, "there are no other agents yet")),
                false => Ok(others),
            };
        }
        let to = self.stored_name(to)?;
        self.require_known_recipient(&to)?;
        Ok(vec![to])
    }

    /// As [`Reader::is_known_recipient`], with an error for an unknown name.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown name, with the most similar known one as a suggestion; a
    /// `Store…` code.
    pub fn require_known_recipient(&self, name: &str) -> Result<()> {
        if self.is_known_recipient(name)? {
            return Ok(());
        }
        let agents = self.agents()?.into_iter().map(|agent| agent.id);
        let names: Vec<_> = agents.chain([HUMAN, ALL_INBOXES].map(str::to_owned)).collect();
        let suggestion = match closest(name, names.iter().map(String::as_str)) {
            Some(similar) => format!("; did you mean {similar}?"),
            None => String::new(),
        };
        let name: String = name.chars().take(60).collect();
        Err(Error::new(
            Code::NotFound,
            format!("no agent named \"{name}\" yet{suggestion}"),
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
    /// Creates the row of an agent that has only read so far.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn register_agent(&self, id: &str) -> Result<()> {
        if !self.agent_exists(id)? {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO agents(id) VALUES(?1)")?
                .execute(params![id])?;
        }
        Ok(())
    }

    /// Updates an agent's row, creating it if needed.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the schema rejects a value, a `Store…` code.
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

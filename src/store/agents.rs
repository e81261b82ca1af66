//! The `agents` table: every agent that has written or read, and resolving the name of a recipient.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::{Reader, Writer};
use super::inbox::addressing::ALL_INBOXES;
use super::inbox::messages::InboxMessageRow;
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::config::{HUMAN, composed, is_human};
use crate::error::{Code, Error, Result};
use crate::text::safe_text::replace_hidden;

const COLUMNS: &str = "n, id, label, status, workspace, pid, created_at, last_active_at";

/// The agents active after `?1`, most recently active first.
const ACTIVE_AGENTS: &str = "SELECT n, id, label, status, workspace, pid, created_at, last_active_at FROM agents \
     WHERE last_active_at > ?1 ORDER BY last_active_at DESC, n DESC";

/// The number of unread messages in the inbox `?1`.
const UNREAD: &str = "SELECT count(*) FROM inbox_messages WHERE to_inbox = ?1 AND status = 'unread'";

/// The labels that several agents have, or that are the name of another agent.
const AMBIGUOUS_LABELS: &str = "SELECT a.label FROM agents a WHERE typeof(a.label) = 'text' AND a.label <> '' \
     GROUP BY a.label HAVING count(*) > 1 OR EXISTS (SELECT 1 FROM agents b WHERE b.id = a.label AND b.id <> a.id)";

/// Maximum number of agents in an error message.
const MAX_CANDIDATES: usize = 5;
/// Maximum characters of a name in an error message.
const MAX_SHOWN: usize = 60;

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
    /// idle, running, error, gone (its process has ended).
    pub status: String,
    /// Working directory.
    pub workspace: String,
    /// Process id.
    pub pid: Option<i64>,
    /// When it was first seen, Unix milliseconds.
    pub created_at: i64,
    /// When it last wrote, or was offered or read mail, Unix milliseconds; accurate to about a second.
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

/// The labels of some agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Returns the label of an agent, unless it has none.
    pub fn of(&self, agent: &str) -> Option<&str> {
        self.0.get(agent).map(String::as_str)
    }
}

/// Changes to an agent's row. `None` keeps the current value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// Display name.
    pub label: Option<String>,
    /// idle, running, error, gone (its process has ended).
    pub status: Option<String>,
    /// Working directory.
    pub workspace: Option<String>,
    /// Process id.
    pub pid: Option<i64>,
}

/// Selects the agents after `(last_active_at, n) = (?1, ?2)`, most recently active first.
fn agents_page_sql() -> String {
    format!("SELECT {COLUMNS} FROM agents WHERE (last_active_at, n) < (?1, ?2) ORDER BY last_active_at DESC, n DESC")
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
        let mut statement = self.conn.prepare_cached(&agents_page_sql())?;
        let found = statement.query([last_active_at, n])?;
        Page::draw(
            found,
            limit,
            PAGE_BYTES,
            |row| AgentRow::read(row).ok(),
            AgentRow::weight,
        )
    }

    /// Returns at most `limit` agents that were active after `active_after` (Unix milliseconds), most
    /// recently active first, each with the number of unread messages in its inbox.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agents_with_unread(&self, active_after: i64, limit: usize) -> Result<Vec<(AgentRow, i64)>> {
        self.snapshot(|| {
            let mut statement = self.conn.prepare_cached(ACTIVE_AGENTS)?;
            let found = statement.query([active_after])?;
            let page = Page::draw(
                found,
                limit,
                PAGE_BYTES,
                |row| AgentRow::read(row).ok(),
                AgentRow::weight,
            )?;
            let mut unread = self.conn.prepare_cached(UNREAD)?;
            let with_unread = |agent: AgentRow| {
                let unread = unread.query_row([&agent.id], |row| row.get(0))?;
                Ok((agent, unread))
            };
            page.items.into_iter().map(with_unread).collect()
        })
    }

    /// Returns the agent with this name. `None` if there is none, or if its row cannot be read.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agent(&self, id: &str) -> Result<Option<AgentRow>> {
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE id = ?1");
        let found = self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(AgentRow::read(row)))
            .optional()?;
        Ok(found.and_then(Result::ok))
    }

    /// Returns the label of an agent; "" if it has none, or if there is no such agent.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn label(&self, id: &str) -> Result<String> {
        let label: Option<Option<String>> = self
            .conn
            .prepare_cached("SELECT label FROM agents WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(label.flatten().unwrap_or_default())
    }

    /// Returns the labels of the agents that have sent this mail. A label that imitates the person or another agent is
    /// none.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn sender_labels(&self, mail: &[InboxMessageRow]) -> Result<Labels> {
        let mut labels = BTreeMap::new();
        let ambiguous = self.ambiguous_labels()?;
        for mail in mail {
            let label = self.label(&mail.from_agent)?;
            if !label.is_empty() && !is_human(&label) && !ambiguous.contains(&label) {
                labels.insert(mail.from_agent.clone(), label);
            }
        }
        Ok(Labels(labels))
    }

    /// Removes the labels that imitate the person or another agent from agents in a list.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn hide_ambiguous_labels<'a>(&self, agents: impl IntoIterator<Item = &'a mut AgentRow>) -> Result<()> {
        let ambiguous = self.ambiguous_labels()?;
        for agent in agents {
            if is_human(&agent.label) || ambiguous.contains(&agent.label) {
                agent.label.clear();
            }
        }
        Ok(())
    }

    /// Returns the labels that several agents have, or that are the name of another agent.
    fn ambiguous_labels(&self) -> Result<BTreeSet<String>> {
        let mut statement = self.conn.prepare_cached(AMBIGUOUS_LABELS)?;
        let found = statement.query_map([], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
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

    /// Returns whether there is an agent with this name that was active since `since`, Unix milliseconds.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agent_active_since(&self, id: &str, since: i64) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM agents WHERE id = ?1 AND last_active_at >= ?2)")?
            .query_row(params![id, since], |row| row.get(0))?)
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

    /// Resolves the recipient `to` of mail to an inbox: that of the agent with this name, else of the agent with this
    /// label, else an inbox that only has mail, else that of the agent whose name or label begins so. Mail to `all` is
    /// one row, in the inbox `all`.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown name, with the most similar known one as a suggestion;
    /// [`Code::Conflict`] if it names several agents; [`Code::Invalid`] for an empty name; a `Store…` code.
    pub fn recipient(&self, to: &str) -> Result<String> {
        if let Some(inbox) = self.exact_recipient(to)? {
            return Ok(inbox);
        }
        let to = composed(to);
        match self.agent_called(&to)? {
            Some(agent) => Ok(agent),
            None => self.require_known_recipient(&to).map(|()| to),
        }
    }

    /// As [`Reader::recipient`], but an unknown name is that of a new inbox. So is the beginning of a name.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it is the label of several agents; [`Code::Invalid`] for an empty name; a `Store…` code.
    pub fn recipient_or_new(&self, to: &str) -> Result<String> {
        if let Some(inbox) = self.exact_recipient(to)? {
            return Ok(inbox);
        }
        let to = composed(to);
        let agents = self.agents()?;
        match agents.iter().any(|agent| agent.label == to) {
            true => Ok(self.agent_called(&to)?.unwrap_or(to)),
            false => Ok(to),
        }
    }

    /// Returns the inbox with exactly this name, or that of the only agent with this label.
    fn exact_recipient(&self, to: &str) -> Result<Option<String>> {
        if to.trim().is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "the recipient is empty; use an agent's name, human or all",
            ));
        }
        if is_human(to) {
            return Ok(Some(HUMAN.to_owned()));
        }
        let name = self.agent_labelled(&self.stored_name(to)?)?;
        Ok(self.is_known_recipient(&name)?.then_some(name))
    }

    /// Returns the name of the agent that `given` names: an agent's name, its label, or a unique beginning of either.
    /// `None` if there is no such agent.
    ///
    /// # Errors
    /// [`Code::Conflict`] with the names if there are several; a `Store…` code.
    pub fn agent_called(&self, given: &str) -> Result<Option<String>> {
        if self.agent_exists(given)? {
            return Ok(Some(given.to_owned()));
        }
        let agents = self.agents()?;
        let labelled: Vec<_> = agents.iter().filter(|agent| agent.label == given).collect();
        let begins = |agent: &&AgentRow| agent.id.starts_with(given) || agent.label.starts_with(given);
        let found = match labelled.is_empty() {
            true => agents.iter().filter(begins).collect(),
            false => labelled,
        };
        match found.as_slice() {
            [] => Ok(None),
            [agent] => Ok(Some(agent.id.clone())),
            several => {
                let message = format!(
                    "{} is the beginning of several agents' names: {}",
                    shown_name(given),
                    candidates(several)
                );
                Err(Error::new(Code::Conflict, message))
            }
        }
    }

    /// Returns the name of the agent with this label, or `given` if no single agent has it. An agent of this name
    /// takes precedence, as do `human` and `all`. Never returns the person's name for another one.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn agent_labelled(&self, given: &str) -> Result<String> {
        if is_human(given) || given == ALL_INBOXES {
            return Ok(given.to_owned());
        }
        let mut statement = self
            .conn
            .prepare_cached("SELECT id FROM agents WHERE label = ?1 AND label <> '' LIMIT 2")?;
        let found = statement.query_map([given], |row| row.get(0))?;
        let mut found: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
        match found.pop() {
            Some(agent) if found.is_empty() && !is_human(&agent) && !self.agent_exists(given)? => Ok(agent),
            _ => Ok(given.to_owned()),
        }
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

    /// Gives the label of one agent to another one, creating its row if needed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn move_label(&self, label: &str, from: &str, to: &str) -> Result<()> {
        let with_label = |label: &str| AgentState {
            label: Some(label.to_owned()),
            ..AgentState::default()
        };
        self.atomically(|| {
            self.set_agent(from, &with_label(""))?;
            self.set_agent(to, &with_label(label))
        })
    }

    /// Records that the agent is active now, creating its row if needed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn note_agent(&self, id: &str) -> Result<()> {
        self.conn
            .prepare_cached("INSERT INTO active(id) VALUES(?1)")?
            .execute([id])?;
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

/// Returns the names of agents for an error message, each with its label.
fn candidates(agents: &[&AgentRow]) -> String {
    let mut shown: Vec<String> = agents
        .iter()
        .take(MAX_CANDIDATES)
        .map(|agent| match agent.label.is_empty() {
            true => shown_name(&agent.id),
            false => format!("{} ({})", shown_name(&agent.id), shown_name(&agent.label)),
        })
        .collect();
    if agents.len() > MAX_CANDIDATES {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// Returns a name or label for an error message: quoted, without hidden characters, and cut.
fn shown_name(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN).map(replace_hidden).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
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
    use super::super::test_support::{send, temp_database, vm_steps};
    use super::*;

    #[test]
    fn a_list_of_agents_reads_only_their_unread_mail() {
        let (_dir, writer) = temp_database();
        for i in 0..1000 {
            let sql = "INSERT INTO agents(id, last_active_at) VALUES('agent ' || ?1, 1000 + ?1)";
            writer.conn.execute(sql, [i]).unwrap();
            if i % 3 == 0 {
                send(&writer, &format!("agent {i}"), "x");
            }
        }
        send(&writer, "agent 999", "y");
        writer
            .conn
            .execute("UPDATE inbox_messages SET status = 'read' WHERE n = 2", [])
            .unwrap();
        let found = writer.agents_with_unread(1996, 2).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(agent, unread)| (agent.id.as_str(), *unread))
            .collect();
        // The sender is active now.
        assert_eq!(found, [("boss", 0), ("agent 999", 2)]);
        assert_eq!(writer.agents_with_unread(1996, 9).unwrap().len(), 4);
        assert_eq!(writer.agents_with_unread(0, 9999).unwrap().len(), 1001);
        let unread: i64 = writer
            .agents_with_unread(0, 9999)
            .unwrap()
            .iter()
            .map(|(_, unread)| unread)
            .sum();
        assert_eq!(unread, 334);

        let (_dir, writer) = temp_database();
        let sql = "WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 2000) \
            INSERT INTO agents(id, last_active_at) SELECT 'agent ' || i, i FROM i";
        writer.conn.execute(sql, []).unwrap();
        assert_eq!(writer.agents_with_unread(0, 2).unwrap().len(), 2);
        let steps = vm_steps(&writer, &[ACTIVE_AGENTS, UNREAD]);
        assert!(steps < 300, "{steps} steps");
    }

    #[test]
    fn a_page_of_agents_is_read_in_index_order() {
        let (_dir, writer) = temp_database();
        let sql = format!("EXPLAIN QUERY PLAN {}", agents_page_sql());
        let mut statement = writer.conn.prepare(&sql).unwrap();
        let plan = statement
            .query_map(params![5, 5], |row| row.get::<_, String>(3))
            .unwrap();
        let plan = plan.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ");
        assert!(
            plan.contains("agents_active") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }

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

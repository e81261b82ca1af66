//! The `sessions` table: which agent a session of a tool is, the process and terminal it runs in, and whether
//! it is open. A row whose agent is the empty text is a session that is not recorded.

use rusqlite::{OptionalExtension, params};

use super::connection::{Reader, Writer};
use crate::error::Result;
use crate::process::ProcessId;

const COLUMNS: &str = "id, agent, pid, pid_started, terminal, greeted_at, ended_at, last_event_at, permission_mode, prompted_at, created_at";

/// The sessions whose end the tool may not report.
const OPEN_WITH_PROCESS: &str = "SELECT id, agent, pid, pid_started, terminal, greeted_at, ended_at, last_event_at, \
     permission_mode, prompted_at, created_at FROM sessions WHERE pid IS NOT NULL AND ended_at IS NULL";

/// Returns the id of a session, which is also the id of its task.
pub fn session_key(tool: &str, session: &str) -> String {
    format!("{tool}-{session}")
}

/// End of the key of the process that `agenthub run` has started, after the id of its task.
const RUN_PROCESS: &str = "/process";

/// Returns the key of the process that `agenthub run` has started for a task.
pub fn run_process_key(task: &str) -> String {
    format!("{task}{RUN_PROCESS}")
}

/// One row of the `sessions` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The key: see [`session_key`].
    pub id: String,
    /// The agent's name.
    pub agent: String,
    /// The tool's process, if it runs this session only.
    pub process: Option<ProcessId>,
    /// The terminal, as [`Process::terminal`](crate::process::Process::terminal) returns it.
    pub terminal: Option<String>,
    /// When the model was told its name, Unix milliseconds.
    pub greeted_at: Option<i64>,
    /// When the session ended, Unix milliseconds; `None` if it is open.
    pub ended_at: Option<i64>,
    /// When its last event occurred, Unix milliseconds.
    pub last_event_at: i64,
    /// The tool's name of the permission mode; empty if it is not known.
    pub permission_mode: String,
    /// When the person sent the last prompt, Unix milliseconds.
    pub prompted_at: Option<i64>,
    /// When its first event occurred, Unix milliseconds.
    pub created_at: Option<i64>,
}

impl SessionRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let pid: Option<i64> = row.get(2)?;
        let started: Option<String> = row.get(3)?;
        let process = pid
            .and_then(|pid| u32::try_from(pid).ok())
            .map(|pid| ProcessId { pid, started });
        Ok(Self {
            id: row.get(0)?,
            agent: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            process,
            terminal: row.get(4)?,
            greeted_at: row.get(5)?,
            ended_at: row.get(6)?,
            last_event_at: row.get::<_, Option<i64>>(7)?.unwrap_or_default(),
            permission_mode: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            prompted_at: row.get(9)?,
            created_at: row.get(10)?,
        })
    }

    /// Returns the id of the session's task.
    pub fn task(&self) -> &str {
        self.id.strip_suffix(RUN_PROCESS).unwrap_or(&self.id)
    }

    /// Returns whether the session is one of the tool with this id.
    pub fn is_of(&self, tool: &str) -> bool {
        self.id.strip_prefix(tool).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// An event of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionEvent<'a> {
    /// The key: see [`session_key`].
    pub id: &'a str,
    /// The agent's name.
    pub agent: &'a str,
    /// The tool's process; `None` keeps the known one.
    pub process: Option<&'a ProcessId>,
    /// The terminal; `None` keeps the known one.
    pub terminal: Option<&'a str>,
    /// The tool's name of the permission mode; `None` keeps the known one.
    pub permission_mode: Option<&'a str>,
    /// When the event occurred, Unix milliseconds.
    pub at: i64,
}

impl Reader {
    /// Returns the session with this key.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn session(&self, id: &str) -> Result<Option<SessionRow>> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], SessionRow::read)
            .optional()?)
    }

    /// Returns whether the events of the session are recorded; `None` if that is not decided yet.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn is_session_recorded(&self, id: &str) -> Result<Option<bool>> {
        // The agent is NULL if only `agenthub run` has recorded the session.
        let is_recorded: Option<Option<bool>> = self
            .conn
            .prepare_cached("SELECT agent <> '' FROM sessions WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(is_recorded.flatten())
    }

    /// Returns the open session of a process, the one with the newest event if there are several.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn open_session_of(&self, process: &ProcessId) -> Result<Option<SessionRow>> {
        let sql = format!("{OPEN_WITH_PROCESS} AND pid = ?1 AND pid_started IS ?2 ORDER BY last_event_at DESC LIMIT 1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row(params![process.pid, process.started], SessionRow::read)
            .optional()?)
    }

    /// Returns the last session of the tool in a process, open or not.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_session_of(&self, process: &ProcessId, tool: &str) -> Result<Option<SessionRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE pid = ?1 AND pid_started IS ?2 AND substr(id, 1, length(?3)) = ?3 \
             ORDER BY last_event_at DESC LIMIT 1"
        );
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row(
                params![process.pid, process.started, session_key(tool, "")],
                SessionRow::read,
            )
            .optional()?)
    }

    /// Returns the last session of the tool in a terminal, open or not, other than `except`.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_session_in(&self, terminal: &str, tool: &str, except: &str) -> Result<Option<SessionRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE terminal = ?1 AND substr(id, 1, length(?2)) = ?2 \
             AND id <> ?3 ORDER BY last_event_at DESC LIMIT 1"
        );
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([terminal, &session_key(tool, ""), except], SessionRow::read)
            .optional()?)
    }

    /// Returns the open sessions whose process is known.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn sessions_with_process(&self) -> Result<Vec<SessionRow>> {
        let mut statement = self.conn.prepare_cached(OPEN_WITH_PROCESS)?;
        let found = statement.query_map([], SessionRow::read)?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Returns the sessions of an agent, the one with the newest event first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn sessions_of_agent(&self, agent: &str) -> Result<Vec<SessionRow>> {
        self.last_sessions_of_agent(agent, usize::MAX)
    }

    /// As [`Reader::sessions_of_agent`], but at most `limit`.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_sessions_of_agent(&self, agent: &str, limit: usize) -> Result<Vec<SessionRow>> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE agent = ?1 ORDER BY last_event_at DESC LIMIT ?2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query_map(params![agent, limit], SessionRow::read)?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}

impl Writer {
    /// Records an event of an open session. A session that has ended stays ended.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn record_session_event(&self, event: &SessionEvent<'_>) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO sessions(id, agent, pid, pid_started, terminal, created_at, last_event_at, permission_mode) \
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) \
                 ON CONFLICT(id) DO UPDATE SET agent = excluded.agent, pid = coalesce(excluded.pid, pid), \
                 pid_started = iif(excluded.pid IS NULL, pid_started, excluded.pid_started), \
                 terminal = coalesce(excluded.terminal, terminal), \
                 permission_mode = coalesce(excluded.permission_mode, permission_mode), \
                 last_event_at = max(coalesce(last_event_at, 0), excluded.last_event_at)",
            )?
            .execute(params![
                event.id,
                event.agent,
                event.process.map(|process| process.pid),
                event.process.and_then(|process| process.started.as_deref()),
                event.terminal,
                event.at,
                event.permission_mode
            ])?;
        Ok(())
    }

    /// Records that a session is not recorded. `at` is the time of its event, Unix milliseconds. Has no effect on a
    /// session that is recorded.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn leave_session_out(&self, id: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO sessions(id, agent, created_at, last_event_at) VALUES(?1, '', ?2, ?2) \
                 ON CONFLICT(id) DO UPDATE SET agent = '', \
                 last_event_at = max(coalesce(last_event_at, 0), excluded.last_event_at) WHERE coalesce(agent, '') = ''",
            )?
            .execute(params![id, at])?;
        Ok(())
    }

    /// Records an event that begins or continues a session. Opens it, and ends the other sessions of its
    /// process, of which one is open at a time.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn open_session(&self, event: &SessionEvent<'_>) -> Result<()> {
        self.record_session_event(event)?;
        self.conn
            .prepare_cached("UPDATE sessions SET ended_at = NULL WHERE id = ?1 AND ended_at IS NOT NULL")?
            .execute([event.id])?;
        if let Some(process) = event.process {
            self.conn
                .prepare_cached(
                    "UPDATE sessions SET ended_at = ?1 \
                     WHERE pid = ?2 AND pid_started IS ?3 AND id <> ?4 AND pid IS NOT NULL AND ended_at IS NULL",
                )?
                .execute(params![event.at, process.pid, process.started, event.id])?;
        }
        Ok(())
    }

    /// Records that a session has ended.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn end_session(&self, id: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE sessions SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL")?
            .execute(params![id, at])?;
        Ok(())
    }

    /// Records that the person has sent a prompt in a session.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn note_prompt(&self, id: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE sessions SET prompted_at = ?2 WHERE id = ?1")?
            .execute(params![id, at])?;
        Ok(())
    }

    /// Records that the model of a session was told its name.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn note_greeting(&self, id: &str, at: i64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE sessions SET greeted_at = ?2 WHERE id = ?1")?
            .execute(params![id, at])?;
        Ok(())
    }

    /// Deletes the sessions of agents that do not exist any more, if their last event was before `before`
    /// (Unix milliseconds).
    ///
    /// # Errors
    /// A `Store…` code.
    pub(in crate::store) fn delete_sessions_of_deleted_agents(&self, before: i64) -> Result<()> {
        self.conn.execute(
            "DELETE FROM sessions WHERE coalesce(last_event_at, 0) < ?1 \
             AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = sessions.agent)",
            [before],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::*;

    fn process(pid: u32, started: &str) -> ProcessId {
        ProcessId {
            pid,
            started: Some(started.to_owned()),
        }
    }

    fn event<'a>(id: &'a str, agent: &'a str, process: &'a ProcessId, at: i64) -> SessionEvent<'a> {
        SessionEvent {
            id,
            agent,
            process: Some(process),
            terminal: Some("tty"),
            permission_mode: None,
            at,
        }
    }

    #[test]
    fn a_process_has_one_open_session() {
        let (_dir, writer) = temp_database();
        let (tool, later) = (process(7, "a"), process(7, "b"));
        writer.open_session(&event("claude-1", "one", &tool, 1)).unwrap();
        writer.open_session(&event("claude-2", "two", &tool, 2)).unwrap();
        writer.open_session(&event("codex-3", "three", &later, 3)).unwrap();
        // A late event of the first session does not open it.
        writer
            .record_session_event(&event("claude-1", "one", &tool, 4))
            .unwrap();
        let agent = |process: &ProcessId| writer.open_session_of(process).unwrap().map(|row| row.agent);
        assert_eq!(agent(&tool).as_deref(), Some("two"));
        assert_eq!(agent(&later).as_deref(), Some("three"));
        assert_eq!(agent(&process(8, "a")), None);
        let open = writer.sessions_with_process().unwrap();
        let open: Vec<&str> = open.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(open, ["claude-2", "codex-3"]);
        writer.end_session("claude-2", 5).unwrap();
        assert_eq!(agent(&tool), None);
        let last = writer.last_session_of(&tool, "claude").unwrap().unwrap();
        assert_eq!((last.id.as_str(), last.ended_at), ("claude-1", Some(2)));
        assert_eq!(writer.last_session_of(&tool, "codex").unwrap(), None);
        let last = writer.last_session_in("tty", "codex", "").unwrap().unwrap();
        assert_eq!(writer.last_session_in("tty", "codex", "codex-3").unwrap(), None);
        assert_eq!(
            (last.task(), run_process_key("build").as_str()),
            ("codex-3", "build/process")
        );
        assert!(last.is_of("codex") && !last.is_of("cod") && last.agent == "three");
    }

    #[test]
    fn unknown_process_keeps_the_known_one() {
        let (_dir, writer) = temp_database();
        let tool = process(7, "a");
        writer.open_session(&event("claude-1", "one", &tool, 1)).unwrap();
        let without = SessionEvent {
            process: None,
            terminal: None,
            ..event("claude-1", "renamed", &tool, 2)
        };
        writer.record_session_event(&without).unwrap();
        writer.note_greeting("claude-1", 3).unwrap();
        let row = writer.session("claude-1").unwrap().unwrap();
        assert_eq!((row.process, row.terminal.as_deref()), (Some(tool), Some("tty")));
        assert_eq!((row.agent.as_str(), row.greeted_at), ("renamed", Some(3)));
        assert_eq!(writer.sessions_of_agent("one").unwrap(), []);
    }

    #[test]
    fn sessions_of_deleted_agents_are_deleted() {
        let (_dir, writer) = temp_database();
        writer.register_agent("one").unwrap();
        let tool = process(7, "a");
        for (id, agent, at) in [("claude-1", "one", 1), ("claude-2", "gone", 1), ("claude-3", "gone", 9)] {
            writer.open_session(&event(id, agent, &tool, at)).unwrap();
        }
        writer.delete_sessions_of_deleted_agents(5).unwrap();
        assert_eq!(writer.session("claude-2").unwrap(), None);
        assert!(writer.session("claude-1").unwrap().is_some() && writer.session("claude-3").unwrap().is_some());
    }
    #[test]
    fn session_that_is_not_recorded_stays_so() {
        let (_dir, writer) = temp_database();
        writer
            .open_session(&event("claude-1", "one", &process(7, "a"), 1))
            .unwrap();
        let run = super::super::TranscriptRow {
            session: "claude-2".into(),
            state: "{}".into(),
            ..Default::default()
        };
        writer.set_transcript(&run).unwrap();
        let is_recorded = |id: &str| writer.is_session_recorded(id).unwrap();
        assert_eq!(
            ["claude-1", "claude-2", "claude-3"].map(is_recorded),
            [Some(true), None, None]
        );
        for id in ["claude-1", "claude-2", "claude-3"] {
            writer.leave_session_out(id, 3).unwrap();
        }
        assert_eq!(
            ["claude-1", "claude-2", "claude-3"].map(is_recorded),
            [Some(true), Some(false), Some(false)]
        );
        writer.leave_session_out("claude-3", 9).unwrap();
        assert_eq!(writer.sessions_with_process().unwrap().len(), 1);
        writer.register_agent("one").unwrap();
        writer.delete_sessions_of_deleted_agents(9).unwrap();
        assert_eq!(is_recorded("claude-3"), Some(false));
        writer.delete_sessions_of_deleted_agents(10).unwrap();
        assert_eq!(is_recorded("claude-3"), None);
    }
}

//! Finds sessions that have ended, or whose turn has, without a hook: the tool was killed, its terminal was
//! closed, or the user has interrupted it.
//!
//! The hub records what it finds. Without a hub, listings show the same.

use super::spec::{Integration, RunningSession};
use super::task_builder::truncate;
use super::{registry, wake};
use crate::error::Result;
use crate::protocol::{TaskStreamEventType as Kind, now_ms};
use crate::store::{AgentRow, AgentState, NewTaskEvent, Reader, SessionRow, Writer};

/// The status of an agent whose process is gone.
const GONE: &str = "gone";
/// The status of an agent that waits for a prompt.
const IDLE: &str = "idle";
/// Milliseconds after the last event of a session after which a tool that waits for a prompt has ended the turn.
const IDLE_GRACE: i64 = 4000;
/// The error of a turn that the user has interrupted.
pub const INTERRUPTED: &str = "the user has interrupted the turn";

/// What a session does, other than its rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Its process is gone.
    Ended,
    /// It waits for a prompt, but its turn is open.
    Interrupted,
    /// It waits for a prompt after a completed turn, but its task runs.
    Completed,
}

impl Finding {
    fn of(reader: &Reader, session: &SessionRow) -> Result<Option<Self>> {
        let Some(process) = &session.process else {
            return Ok(None);
        };
        if !process.is_alive() {
            return Ok(Some(Self::Ended));
        }
        let Some(tool) = tool_of(session) else { return Ok(None) };
        let Some(running) = running_session(tool, session, process.pid) else {
            return Ok(None);
        };
        // A hook that ran at the same time as the interruption may have recorded its event later.
        let is_later = |since| since > session.last_event_at || now_ms() - session.last_event_at > IDLE_GRACE;
        if !running.idle_since.is_some_and(is_later) {
            return Ok(None);
        }
        Ok(if running.is_completed {
            let is_active = is_active(&reader.task_progress(&session.id)?.status);
            is_active.then_some(Self::Completed)
        } else {
            reader.is_turn_open(&session.id)?.then_some(Self::Interrupted)
        })
    }

    /// Returns the status of the session's agent.
    fn agent_status(self) -> &'static str {
        match self {
            Self::Ended => GONE,
            Self::Interrupted | Self::Completed => IDLE,
        }
    }
}

/// Returns what the tool has recorded about the session, if the process runs it.
fn running_session(tool: &Integration, session: &SessionRow, pid: u32) -> Option<RunningSession> {
    let id = session.id.strip_prefix(tool.id)?.strip_prefix('-')?;
    let running = (tool.processes.running_session)(pid).or_else(|| (tool.processes.recorded_session)(pid, id));
    running.filter(|running| running.id == id)
}

/// Returns whether a task with this status has not ended.
fn is_active(status: &str) -> bool {
    matches!(status, "running" | "waiting")
}

fn tool_of(session: &SessionRow) -> Option<&'static Integration> {
    registry::ALL.iter().copied().find(|tool| session.is_of(tool.id))
}

/// Records the end of sessions and turns that have ended without a hook. Returns the number of sessions checked.
///
/// # Errors
/// A `Store…` code.
pub fn record_ends(writer: &Writer) -> Result<usize> {
    let open = writer.sessions_with_process()?;
    for session in &open {
        let Some(finding) = Finding::of(writer, session)? else {
            continue;
        };
        writer.atomically(|| {
            // A hook may have ended or continued the session meanwhile.
            let is_current = writer.session(&session.id)?.is_some_and(|row| row == *session);
            if is_current {
                record(writer, session, finding)?;
            }
            Ok(())
        })?;
    }
    Ok(open.len())
}

fn record(writer: &Writer, session: &SessionRow, finding: Finding) -> Result<()> {
    let progress = writer.task_progress(&session.id)?;
    if is_active(&progress.status) {
        let row = |stream_type| NewTaskEvent {
            task_id: session.id.clone(),
            stream_type,
            turn_num: progress.turn,
            agent_id: session.agent.clone(),
            source_type: tool_of(session).map_or_else(String::new, |tool| tool.id.to_owned()),
            ..NewTaskEvent::default()
        };
        let reason = match finding {
            Finding::Ended => Some("the process has ended".to_owned()),
            Finding::Interrupted => Some(turn_error(session).unwrap_or_else(|| INTERRUPTED.to_owned())),
            Finding::Completed => None,
        };
        let status = if reason.is_some() { "failed" } else { "completed" };
        if let Some(reason) = reason {
            writer.record_task_event(&NewTaskEvent {
                error_msg: truncate(&reason),
                ..row(Kind::ERROR)
            })?;
        }
        if writer.is_turn_open(&session.id)? {
            writer.record_task_event(&row(Kind::TURN_END))?;
        }
        writer.record_task_event(&NewTaskEvent {
            status: status.to_owned(),
            ..row(Kind::STATUS)
        })?;
    }
    if finding == Finding::Ended {
        writer.end_session(&session.id, now_ms())?;
        writer.fail_wakes_of_session(&session.id, "the session has ended", now_ms())?;
        wake::remove(writer.path(), &session.id);
    }
    if session.agent.is_empty() || finding == Finding::Ended && runs_elsewhere(writer, session)? {
        return Ok(());
    }
    let state = AgentState {
        status: Some(finding.agent_status().to_owned()),
        ..AgentState::default()
    };
    writer.set_agent(&session.agent, &state)
}

/// Returns why the last turn of a session has failed, as its tool has recorded it.
fn turn_error(session: &SessionRow) -> Option<String> {
    running_session(tool_of(session)?, session, session.process.as_ref()?.pid)?.error
}

/// Returns whether the agent of a session has another open session, whose process runs or is not known.
fn runs_elsewhere(reader: &Reader, session: &SessionRow) -> Result<bool> {
    let sessions = reader.sessions_of_agent(&session.agent)?;
    Ok(sessions.iter().any(|other| {
        let is_open = other.id != session.id && other.ended_at.is_none();
        is_open && other.process.as_ref().is_some_and(crate::process::ProcessId::is_alive)
    }))
}

/// Returns whether no process of the agent runs, as far as its sessions tell.
///
/// # Errors
/// A `Store…` code.
pub fn is_gone(reader: &Reader, agent: &AgentRow) -> Result<bool> {
    let sessions = reader.sessions_of_agent(&agent.id)?;
    let is_open = |session: &SessionRow| {
        session.ended_at.is_none() && session.process.as_ref().is_none_or(crate::process::ProcessId::is_alive)
    };
    Ok(agent.status == GONE || !sessions.is_empty() && !sessions.iter().any(is_open))
}

/// Sets the status of agents in a list to what the hub would record.
///
/// # Errors
/// A `Store…` code.
pub fn apply<'a>(reader: &Reader, agents: impl IntoIterator<Item = &'a mut AgentRow>) -> Result<()> {
    let mut found = Vec::new();
    for session in reader.sessions_with_process()? {
        match Finding::of(reader, &session)? {
            Some(Finding::Ended) if runs_elsewhere(reader, &session)? => {}
            Some(finding) => found.push((session.agent, finding)),
            None => {}
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    for agent in agents {
        if let Some((_, finding)) = found.iter().find(|(name, _)| *name == agent.id) {
            finding.agent_status().clone_into(&mut agent.status);
        }
    }
    Ok(())
}

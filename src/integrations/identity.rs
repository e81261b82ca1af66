//! Determines the agent name of the current process.
//!
//! The sources in order of precedence: a name given on the command line, `AGENTHUB_AGENT`, the session
//! of the tool that has started the process, `human`.
//!
//! `agenthub run` starts a tool with `AGENTHUB_AGENT` and `AGENTHUB_TASK_VENDOR` (the tool's id)
//! and without any session variable. If a session variable of another tool is set nevertheless,
//! the process belongs to a tool that the first one has started: a different agent, to which
//! `AGENTHUB_AGENT` does not apply.

use super::agent_name;
use super::environment::variable;
use super::registry;
use super::spec::Integration;
use crate::config::HUMAN;

/// Returns the speaker: `given` (from `--from` or `--as`), or else the name that the environment gives,
/// or else `human`.
pub fn speaker(given: Option<&str>) -> String {
    declared_speaker(given).unwrap_or_else(|| HUMAN.to_owned())
}

/// As [`speaker`], but `None` instead of `human`.
pub fn declared_speaker(given: Option<&str>) -> Option<String> {
    given.map(str::to_owned).or_else(assigned_name).or_else(session_name)
}

/// Returns `AGENTHUB_AGENT`, if it applies to this process.
pub fn assigned_name() -> Option<String> {
    variable("AGENTHUB_AGENT").filter(|_| session_of_another_tool().is_none())
}

/// As [`assigned_name`], for a process that `tool` has started.
pub fn assigned_name_within(tool: &Integration) -> Option<String> {
    variable("AGENTHUB_AGENT").filter(|_| recorded_tool().is_none_or(|id| id == tool.id))
}

/// Returns the id of the tool under `agenthub run` that has started this process.
pub fn recorded_tool() -> Option<String> {
    variable("AGENTHUB_TASK_VENDOR")
}

/// Returns the default agent name of the session that has started this process.
pub fn session_name() -> Option<String> {
    session_of_another_tool()
        .or_else(|| sessions().next())
        .map(|(tool, session)| agent_name::of_session(tool.id, &session))
}

/// Returns whether the environment names `session` as one of `tool`.
pub fn is_session_of(tool: &Integration, session: &str) -> bool {
    tool.session_variables
        .iter()
        .any(|name| variable(name).is_some_and(|value| value == session))
}

/// Returns the sessions that the environment names.
fn sessions() -> impl Iterator<Item = (&'static Integration, String)> {
    registry::session_variables().filter_map(|(name, tool)| Some((tool, variable(name)?)))
}

/// Returns the session of a tool other than the one that `agenthub run` has started.
fn session_of_another_tool() -> Option<(&'static Integration, String)> {
    let recorded = recorded_tool()?;
    sessions().find(|(tool, _)| tool.id != recorded)
}

/// Returns Ok if the person runs this process in a terminal.
pub fn person_present() -> Result<(), String> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err("stdin and stdout are not a terminal".to_owned())
}

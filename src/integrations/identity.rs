//! Determines the agent name of the current process, and whether the person can be the one who runs it.
//!
//! The sources of the name in order of precedence: a name given on the command line, `AGENTHUB_AGENT`, the
//! session of the innermost tool that has started the process ([`session_agent`]), the session that a variable
//! names, the tool whose shell the process runs in, `human`.
//!
//! `AGENTHUB_AGENT` and `AGENTHUB_DB` do not count below a process that serves many sessions, if they have the
//! value that this process was started with.
//!
//! `agenthub run` starts a tool with `AGENTHUB_AGENT` and `AGENTHUB_TASK_VENDOR` (the tool's id)
//! and without any session variable. If a session variable of another tool is set nevertheless,
//! the process belongs to a tool that the first one has started: a different agent, to which
//! `AGENTHUB_AGENT` does not apply.
//!
//! A process in an agent's shell never speaks as `human`. The shell is recognized by the variables in this
//! process's environment and, on Linux, in those of all ancestors: `env -u` removes a variable from the first
//! only.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::agent_name;
use super::environment::variable;
use super::registry;
use super::session_agent::{self, CallingSession};
use super::spec::{Integration, ShellAccess};
use crate::config::{HUMAN, composed, is_human};
use crate::error::{Code, Error, Result};
use crate::process::{Process, ProcessId, ancestors};
use crate::store::Reader;

/// The agent's name, given to a process.
const AGENT: &str = "AGENTHUB_AGENT";
/// The path of the database.
const DB: &str = "AGENTHUB_DB";
/// The task that `agenthub run` records.
const TASK: &str = "AGENTHUB_TASK";
/// The process of that `agenthub run`.
pub const TASK_PROCESS: &str = "AGENTHUB_TASK_PROCESS";
/// The id of the tool under `agenthub run`.
const TASK_VENDOR: &str = "AGENTHUB_TASK_VENDOR";

/// Returns the speaker: `given` (from `--from` or `--as`), or else the name that the environment gives,
/// or else `human`.
///
/// # Errors
/// As [`declared_speaker`].
pub fn speaker(given: Option<&str>, reader: &Reader) -> Result<String> {
    Ok(declared_speaker(given, reader)?.unwrap_or_else(|| HUMAN.to_owned()))
}

/// Returns the owner of a claim made by a process without a name: the inbox and the process id of the parent.
/// So each worker script is an owner of its own, and its later commands are recognized by
/// [`is_unnamed_owner`].
pub fn unnamed_owner(inbox: &str) -> String {
    format!("{inbox}.{}", std::os::unix::process::parent_id())
}

/// Returns whether a claim of mail in `inbox` was made by a process without a name that has the same parent
/// as this process, or on Linux another ancestor of it as its parent.
pub fn is_unnamed_owner(owner: &str, inbox: &str) -> bool {
    let pid = owner.strip_prefix(inbox).and_then(|rest| rest.strip_prefix('.'));
    let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else {
        return false;
    };
    // Process 1 is an ancestor of all processes.
    pid == std::os::unix::process::parent_id() || (pid > 1 && ancestors().iter().any(|ancestor| ancestor.pid == pid))
}

/// As [`speaker`], but `None` instead of a `human` that is not given.
///
/// # Errors
/// [`Code::Usage`] if the name is `human` and the process runs in an agent's shell; a `Store…` code.
pub fn declared_speaker(given: Option<&str>, reader: &Reader) -> Result<Option<String>> {
    let (name, source) = match given {
        Some(name) => (Some(name.to_owned()), Source::Argument),
        None => (assigned_name(), Source::Variable),
    };
    match name {
        Some(name) if is_human(&name) => match agent_shell() {
            Some(marker) => Err(refusal(&marker, source)),
            None => Ok(Some(HUMAN.to_owned())),
        },
        // A name that was assigned is never looked up as a label: an agent could take it before its owner is known.
        Some(name) => match source {
            Source::Argument => reader.agent_labelled(&name).map(Some),
            Source::Variable => Ok(Some(name)),
        },
        None => {
            let name = calling_session(reader)?.map(|session| session.agent);
            Ok(name.or_else(|| agent_shell().map(|marker| marker.agent_name())))
        }
    }
}

/// Where a name comes from.
#[derive(Clone, Copy)]
enum Source {
    Argument,
    Variable,
}

/// Explains why the name `human` is refused, and what to do.
fn refusal(marker: &Marker, source: Source) -> Error {
    let message = match source {
        Source::Argument => format!(
            "{marker}, so this command cannot act as {HUMAN}; leave out --from and --as to act as {:?}, or let the \
             person run the command in a terminal of their own",
            marker.agent_name()
        ),
        Source::Variable => format!(
            "{AGENT} is {HUMAN:?}, which is reserved for the person, and {marker}; set {AGENT} to the agent's own \
             name, or unset it"
        ),
    };
    Error::new(Code::Usage, message)
}

/// How an agent's shell was recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The variable or the program.
    pub sign: Sign,
    /// The name of the tool, if the sign is one tool's.
    pub tool: Option<&'static str>,
    /// The ancestor of this process that has the sign; `None` if this process has it.
    pub ancestor: Option<u32>,
    name: String,
}

/// The sign of an agent's shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A variable in a process's environment.
    Variable(&'static str),
    /// A tool's program.
    Program(&'static str),
}

impl Marker {
    /// Returns the agent's name for a process that was given none.
    pub fn agent_name(&self) -> String {
        self.name.clone()
    }
}

impl std::fmt::Display for Marker {
    /// The beginning of a sentence, such as "`CLAUDECODE` is set: this is a shell of Claude Code".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.sign, self.ancestor) {
            (Sign::Variable(name), None) => write!(f, "{name} is set")?,
            (Sign::Variable(name), Some(pid)) => {
                write!(f, "{name} is set for process {pid}, which has started this one")?;
            }
            (Sign::Program(name), pid) => {
                write!(
                    f,
                    "{name} (process {}) has started this command",
                    pid.unwrap_or_default()
                )?;
            }
        }
        match self.tool {
            Some(tool) => write!(f, ": this is a shell of {tool}"),
            None => f.write_str(": this is an agent's shell"),
        }
    }
}

/// Returns the sign that this process runs in an agent's shell: a variable of a tool, `AGENTHUB_TASK`, or an
/// agent's name in `AGENTHUB_AGENT`, in the environment of this process or of an ancestor; or an ancestor that
/// is the program of a tool.
pub fn agent_shell() -> Option<Marker> {
    find_marker(&variable, ancestors())
}

fn find_marker(own: &dyn Fn(&str) -> Option<String>, ancestors: &[Process]) -> Option<Marker> {
    let at = |ancestor: &Process| {
        let marker = marker_in(&|name| ancestor.variable(name), ancestors)?;
        Some(Marker {
            ancestor: Some(ancestor.pid),
            ..marker
        })
    };
    marker_in(own, ancestors)
        .or_else(|| ancestors.iter().find_map(at))
        .or_else(|| program_among(ancestors))
}

/// Returns the nearest ancestor that is the program of a tool. A tool may have replaced the process of its
/// shell, whose variables are then gone.
fn program_among(ancestors: &[Process]) -> Option<Marker> {
    ancestors.iter().find_map(|ancestor| {
        let tool = registry::agent_programs().find(|tool| tool.program == ancestor.program)?;
        Some(Marker {
            sign: Sign::Program(tool.program),
            tool: Some(tool.name),
            ancestor: Some(ancestor.pid),
            name: format!("{}-{}", tool.id, ancestor.pid),
        })
    })
}

/// Returns the first marker in one environment, as one of this process.
fn marker_in(get: &dyn Fn(&str) -> Option<String>, ancestors: &[Process]) -> Option<Marker> {
    let found = |variable, tool, name| Marker {
        sign: Sign::Variable(variable),
        tool,
        ancestor: None,
        name,
    };
    if let Some(name) = get(AGENT).filter(|name| names_an_agent(name)) {
        return Some(found(AGENT, None, composed(&name)));
    }
    let of_tool = registry::marker_variables().find_map(|marker| {
        let value = get(marker.variable)?;
        let name = match marker.is_session {
            true => agent_name::of_session(marker.id, &value),
            false => name_of_shell(marker.id, marker.variable, ancestors),
        };
        Some(found(marker.variable, Some(marker.name), name))
    });
    of_tool.or_else(|| {
        get(TASK)?;
        let tool = get(TASK_VENDOR).unwrap_or_else(|| "agent".to_owned());
        Some(found(TASK, None, name_of_shell(&tool, TASK, ancestors)))
    })
}

fn names_an_agent(name: &str) -> bool {
    !name.trim().is_empty() && !is_human(name)
}

/// Returns a name for a tool that gives its shells no session: the tool's id and its process id, which is
/// that of the parent of the oldest process with the variable. The same in all shells of a running tool.
fn name_of_shell(id: &str, variable: &str, ancestors: &[Process]) -> String {
    let oldest = ancestors
        .iter()
        .rev()
        .find(|ancestor| ancestor.variable(variable).is_some());
    let tool = match oldest {
        Some(ancestor) if ancestor.parent == 0 => Some(ancestor.pid),
        Some(ancestor) => Some(ancestor.parent),
        None => ancestors.first().map(|parent| parent.pid),
    };
    tool.map_or_else(|| id.to_owned(), |pid| format!("{id}-{pid}"))
}

/// Checks that the person can be the one who runs this process: stdin and stdout are terminals, and it does
/// not run in an agent's shell.
///
/// # Errors
/// The reason why not, a sentence for the user.
pub fn person_present() -> std::result::Result<(), String> {
    if let Some(marker) = agent_shell() {
        return Err(format!(
            "{marker}; only the person can do this, in a terminal of their own"
        ));
    }
    for (stream, is_terminal) in [
        ("stdin", std::io::stdin().is_terminal()),
        ("stdout", std::io::stdout().is_terminal()),
    ] {
        if !is_terminal {
            return Err(format!(
                "{stream} is not a terminal; only the person can do this, in a terminal of their own"
            ));
        }
    }
    Ok(())
}

/// Returns `AGENTHUB_AGENT`, if it applies to this process.
pub fn assigned_name() -> Option<String> {
    agent_variable().filter(|_| session_of_another_tool().is_none())
}

/// Returns the agent's name for a process that `tool` has started, if `AGENTHUB_AGENT` gives one.
pub fn assigned_name_within(tool: &Integration) -> Option<String> {
    let applies = recorded_tool().is_none_or(|id| id == tool.id);
    agent_variable().filter(|name| applies && names_an_agent(name))
}

fn agent_variable() -> Option<String> {
    // A tool that does not expand variables in its settings passes on their text.
    let name = variable(AGENT).filter(|name| !name.starts_with("${"))?;
    let is_inherited = session_agent::is_inherited_from_shared(AGENT, &name);
    (!is_inherited).then(|| composed(&name))
}

/// Returns the path in `AGENTHUB_DB`, if it applies to this process. An empty one is an error of the user.
pub fn database_variable() -> Option<PathBuf> {
    let path = std::env::var_os(DB)?;
    let is_inherited = path
        .to_str()
        .is_some_and(|path| session_agent::is_inherited_from_shared(DB, path));
    (!is_inherited).then(|| path.into())
}

/// Returns the task that `agenthub run` records, if it still runs and records the session of this process.
pub fn recorded_task() -> Option<String> {
    let process = variable(TASK_PROCESS).and_then(|text| ProcessId::parse(&text));
    let is_recorded = process.is_none_or(|process| process.is_alive()) && session_of_another_tool().is_none();
    variable(TASK).filter(|_| is_recorded)
}

/// Returns the id of the tool under `agenthub run` that has started this process.
pub fn recorded_tool() -> Option<String> {
    variable(TASK_VENDOR)
}

/// Returns the session that has started this process.
///
/// # Errors
/// A `Store…` code.
pub fn calling_session(reader: &Reader) -> Result<Option<CallingSession>> {
    if let Some(session) = session_agent::of_this_process(reader)? {
        return Ok(Some(session));
    }
    match session_of_another_tool().or_else(|| sessions().next()) {
        Some((tool, session)) => session_agent::of_session(reader, tool, &session).map(Some),
        None => Ok(None),
    }
}

/// Returns whether the shell that this process runs in can write the database, as far as its tool is known.
pub fn shell_access() -> ShellAccess {
    let name = agent_shell().and_then(|marker| marker.tool);
    let tool = registry::ALL.iter().find(|tool| Some(tool.name) == name);
    tool.map_or(ShellAccess::Full, |tool| tool.shell_access)
}

/// Returns whether the environment names `session` as one of `tool`.
pub fn is_session_of(tool: &Integration, session: &str) -> bool {
    tool.session_variables
        .iter()
        .any(|name| variable(name).is_some_and(|value| value == session))
}

/// Returns the sessions that the environment names.
fn sessions() -> impl Iterator<Item = (&'static Integration, String)> {
    registry::session_variables().filter_map(|(name, tool)| {
        let session = variable(name)?;
        (!session_agent::is_inherited_from_shared(name, &session)).then_some((tool, session))
    })
}

/// Returns the session of a tool other than the one that `agenthub run` has started.
fn session_of_another_tool() -> Option<(&'static Integration, String)> {
    let recorded = recorded_tool()?;
    sessions().find(|(tool, _)| tool.id != recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        }
    }

    #[test]
    fn every_variable_of_a_tool_marks_its_shells() {
        for marker in registry::marker_variables() {
            let get = |name: &str| (name == marker.variable).then(|| "s1".to_owned());
            let found = find_marker(&get, &[]).unwrap();
            assert_eq!(
                (found.sign, found.tool),
                (Sign::Variable(marker.variable), Some(marker.name))
            );
            let name = if marker.is_session {
                format!("{}-s1", marker.id)
            } else {
                marker.id.to_owned()
            };
            assert_eq!(found.agent_name(), name);
        }
        let get = own(&[("AGENTHUB_TASK", "t"), ("AGENTHUB_TASK_VENDOR", "codex")]);
        assert_eq!(find_marker(&get, &[]).unwrap().agent_name(), "codex");
        for (name, is_agent) in [("planner", true), ("human", false), (" Human ", false), (" ", false)] {
            let get = |variable: &str| (variable == AGENT).then(|| name.to_owned());
            assert_eq!(find_marker(&get, &[]).is_some(), is_agent, "{name:?}");
        }
        assert_eq!(
            find_marker(&own(&[("PATH", "/bin"), ("CLAUDE_CODE_SSE_PORT", "1")]), &[]),
            None
        );
    }

    #[test]
    fn every_program_of_a_tool_marks_what_it_starts() {
        for tool in registry::agent_programs() {
            let chain = [
                Process::new(30, 20, &[]),
                Process::new(20, 1, &[]).running(tool.program),
            ];
            let found = find_marker(&|_| None, &chain).unwrap();
            let expected = (Sign::Program(tool.program), Some(tool.name), Some(20));
            assert_eq!((found.sign, found.tool, found.ancestor), expected);
            assert_eq!(found.agent_name(), format!("{}-20", tool.id));
        }
    }

    #[test]
    fn variable_of_an_ancestor_marks_the_shell() {
        let chain = [
            Process::new(30, 20, &[]),
            Process::new(20, 10, &["GEMINI_CLI=1", "GEMINI_SESSION_ID="]),
            Process::new(10, 5, &["GEMINI_CLI=1"]),
            Process::new(5, 0, &["PATH=/bin"]),
        ];
        let marker = find_marker(&own(&[]), &chain).unwrap();
        assert_eq!((marker.sign, marker.ancestor), (Sign::Variable("GEMINI_CLI"), Some(20)));
        assert_eq!(marker.agent_name(), "gemini-5");
        let text = refusal(&marker, Source::Argument).to_string();
        assert!(
            text.contains("GEMINI_CLI is set for process 20") && text.contains("Gemini CLI"),
            "{text}"
        );
        let chain = [Process::new(30, 1, &["AGENTHUB_AGENT=planner", "CLAUDECODE=1"])];
        assert_eq!(find_marker(&own(&[]), &chain).unwrap().agent_name(), "planner");
        // A shell that has replaced itself by a command without variables.
        let chain = [
            Process::new(30, 20, &[]),
            Process::new(20, 10, &[]).running("claude"),
            Process::new(10, 1, &[]),
        ];
        let marker = find_marker(&own(&[]), &chain).unwrap();
        assert_eq!((marker.agent_name().as_str(), marker.ancestor), ("claude-20", Some(20)));
        assert!(
            marker
                .to_string()
                .starts_with("claude (process 20) has started this command")
        );
        // Without a shell in between, the parent is the tool.
        let marker = find_marker(&own(&[("GEMINI_CLI", "1")]), &[Process::new(30, 1, &[])]).unwrap();
        assert_eq!((marker.agent_name().as_str(), marker.ancestor), ("gemini-30", None));
    }
}

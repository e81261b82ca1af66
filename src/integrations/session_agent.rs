//! Determines which agent a session is: for a hook from its input, for any other process from the tool that
//! has started it.
//!
//! A session keeps its agent. A session that the user begins in the same process with an empty context
//! (`/clear`) is the same agent, so that its name, inbox and unread mail stay with the terminal.

use super::agent_name;
use super::environment::variable;
use super::registry;
use super::spec::{HookSpec, Integration};
use crate::config::is_human;
use crate::error::Result;
use crate::process::{Process, ProcessId, ancestors};
use crate::store::{Reader, SessionRow, session_key};

/// The sources of a session that continues in the process of an earlier one.
const CONTINUING_SOURCES: [&str; 2] = ["clear", "compact"];

/// The process of a tool that has started this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolProcess {
    /// The identity.
    pub id: ProcessId,
    /// The process, if the system reports its details.
    pub process: Option<Process>,
}

/// Returns the process of `tool` that runs this hook. `None` if it is not known, or if it runs many sessions.
pub fn tool_process(tool: &Integration, hooks: &HookSpec) -> Option<ToolProcess> {
    let named = hooks.pid_variable.and_then(variable).and_then(|pid| pid.parse().ok());
    if let Some(pid) = named.filter(|pid| ancestors().iter().all(|process| process.pid != *pid)) {
        return Some(ToolProcess {
            id: ProcessId::of(pid),
            process: Process::read(pid),
        });
    }
    let process = process_among(tool, named, ancestors(), &variable)?;
    (!(tool.processes.is_shared)(process)).then(|| ToolProcess {
        id: process.id(),
        process: Some(process.clone()),
    })
}

/// Returns the nearest ancestor that is a program of the tool or that the tool's variable names, or else the
/// nearest one that is no shell and has started a process with the variables of the tool. A tool in a shell of
/// the same tool inherits the variable of the outer one.
fn process_among<'a>(
    tool: &Integration,
    named: Option<u32>,
    ancestors: &'a [Process],
    own: &dyn Fn(&str) -> Option<String>,
) -> Option<&'a Process> {
    let is_tool = |process: &&Process| Some(process.pid) == named || registry::is_program_of(tool, process);
    ancestors.iter().find(is_tool).or_else(|| {
        // A process whose parent has ended is a child of process 1, or of the user's service manager: neither has
        // started it with the variables of a tool.
        let process = ancestors.iter().find(|process| !process.is_launcher())?;
        let mut variables = tool.session_variables.iter().chain(tool.marker_variables);
        let is_started_by_it = variables.any(|name| own(name).is_some() && process.variable(name).is_none());
        let is_tool = process.pid > 1 && process.program != "systemd" && process.program != "agenthub";
        Some(process).filter(|_| is_started_by_it && is_tool)
    })
}

/// Returns whether a session that begins from this source continues in the process of an earlier one.
pub fn continues_a_session(source: &str) -> bool {
    CONTINUING_SOURCES.contains(&source)
}

/// Returns the agent of the session that a hook is about; `None` if the session is new. `begun_from` is the source of
/// a session that begins with this hook.
///
/// # Errors
/// A `Store…` code.
pub fn known_agent(
    reader: &Reader,
    tool: &Integration,
    (session, begun_from): (&str, Option<&str>),
    process: Option<&ProcessId>,
) -> Result<Option<String>> {
    let key = session_key(tool.id, session);
    if let Some(agent) = reader.session(&key)?.and_then(agent_in) {
        return Ok(Some(agent));
    }
    let continues = begun_from.is_some_and(continues_a_session);
    match process.filter(|_| continues) {
        Some(process) => Ok(reader.last_session_of(process, tool.id)?.and_then(agent_in)),
        None => Ok(None),
    }
}

/// Returns the agent of a session. Any program can write the row: it never makes a process the person.
fn agent_in(row: SessionRow) -> Option<String> {
    Some(row.agent).filter(|agent| !agent.is_empty() && !is_human(agent))
}

/// The session that has started a process or makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallingSession {
    /// Its agent.
    pub agent: String,
    /// Its task, as the tool's hooks record it; `None` if the session's id is not known.
    pub task: Option<String>,
}

impl CallingSession {
    /// Returns a session of `tool` that the database does not have.
    pub fn unrecorded(tool: &Integration, session: &str) -> Self {
        Self {
            agent: agent_name::of_session(tool.id, session),
            task: Some(session_key(tool.id, session)),
        }
    }
}

/// Returns a session of `tool`.
///
/// # Errors
/// A `Store…` code.
pub fn of_session(reader: &Reader, tool: &Integration, session: &str) -> Result<CallingSession> {
    let unrecorded = CallingSession::unrecorded(tool, session);
    let row = reader.session(&session_key(tool.id, session))?;
    Ok(match row.and_then(agent_in) {
        Some(agent) => CallingSession { agent, ..unrecorded },
        None => unrecorded,
    })
}

/// Returns the session of the innermost tool that has started this process; `None` if no ancestor is one.
///
/// # Errors
/// A `Store…` code.
pub fn of_this_process(reader: &Reader) -> Result<Option<CallingSession>> {
    among(reader, ancestors(), &variable)
}

fn among(
    reader: &Reader,
    ancestors: &[Process],
    own: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<CallingSession>> {
    // The processes above one that runs many sessions have started none of them.
    let of_one_session = ancestors.iter().take_while(|process| !registry::is_shared(process));
    // The innermost tool, if it has not named its session. It may run in several processes.
    let mut unnamed: Option<(&str, u32)> = None;
    for process in of_one_session.filter(|process| process.pid > 1) {
        let program = registry::agent_programs().find(|tool| tool.program == process.program);
        if let Some((tool, _)) = unnamed {
            let is_between = process.is_launcher() || process.program == "agenthub";
            if !is_between && program.is_none_or(|program| program.id != tool) {
                break;
            }
        }
        if let Some(row) = reader.open_session_of(&process.id())? {
            let task = Some(row.task().to_owned());
            if let Some(agent) = agent_in(row) {
                return Ok(Some(CallingSession { agent, task }));
            }
        }
        let Some(program) = program else { continue };
        if let Some(tool) = registry::by_id(program.id) {
            let running = (tool.processes.running_session)(process.pid).map(|running| running.id);
            let named = || tool.session_variables.iter().find_map(|name| own(name));
            if let Some(session) = running.or_else(named) {
                return of_session(reader, tool, &session).map(Some);
            }
        }
        unnamed.get_or_insert((program.id, process.pid));
    }
    Ok(unnamed.map(|(tool, pid)| CallingSession {
        agent: format!("{tool}-{pid}"),
        task: None,
    }))
}

/// Returns whether a process that runs many sessions has this value of the variable in its environment: then
/// it says nothing about this process.
pub fn is_inherited_from_shared(name: &str, value: &str) -> bool {
    is_inherited(ancestors(), name, value)
}

fn is_inherited(ancestors: &[Process], name: &str, value: &str) -> bool {
    let mut shared = ancestors.iter().filter(|process| registry::is_shared(process));
    shared.any(|process| process.variable(name).is_some_and(|inherited| inherited == value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NetworkFs, SessionEvent, Writer};

    fn database() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Allow).unwrap();
        (folder, writer)
    }

    fn open(writer: &Writer, key: &str, agent: &str, process: &Process) {
        let event = SessionEvent {
            id: key,
            agent,
            process: Some(&process.id()),
            terminal: None,
            permission_mode: None,
            at: 1,
        };
        writer.open_session(&event).unwrap();
    }

    fn process(pid: u32, parent: u32, command: &str) -> Process {
        Process::new(pid, parent, &[]).running(command)
    }

    #[test]
    fn innermost_tool_gives_the_agent() {
        let (_folder, writer) = database();
        let name = |chain: &[Process], own: &[(&str, &str)]| {
            let own = |name: &str| {
                own.iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            among(&writer, chain, &own).unwrap().map(|session| session.agent)
        };
        let outer = process(20, 10, "claude");
        open(&writer, "claude-s1", "planner", &outer);
        let shell = process(30, 20, "sh -c x");
        assert_eq!(name(&[shell.clone(), outer.clone()], &[]).as_deref(), Some("planner"));
        // A tool without a known session in a shell of another one.
        let gemini = [
            process(50, 40, "node /x/gemini.js"),
            process(40, 30, "node /x/gemini.js"),
        ];
        let chain = [&gemini[..], &[shell.clone(), outer.clone()]].concat();
        let inherited = [("CLAUDE_CODE_SESSION_ID", "s1")];
        assert_eq!(name(&chain, &inherited).as_deref(), Some("gemini-50"));
        open(&writer, "gemini-s2", "gemini-s2", &gemini[1]);
        assert_eq!(name(&chain, &inherited).as_deref(), Some("gemini-s2"));
        // A session that only its variable names.
        let codex = [process(60, 30, "codex exec x"), shell.clone(), outer.clone()];
        let variables = [inherited[0], ("CODEX_SESSION_ID", "s3"), ("CODEX_THREAD_ID", "child")];
        assert_eq!(name(&codex, &variables).as_deref(), Some("codex-s3"));
        // A daemon that the outer tool has started serves all terminals.
        let daemon = [process(70, 30, "codex app-server --listen unix://"), shell, outer];
        assert_eq!(name(&daemon, &variables), None);
        assert_eq!(name(&[process(80, 1, "-bash"), process(1, 0, "systemd")], &[]), None);
    }

    #[test]
    fn finds_the_process_of_a_tool() {
        let tool = registry::ALL[0];
        let found = |chain: &[Process], variables: &[&str]| {
            let own = |name: &str| variables.contains(&name).then(|| "1".to_owned());
            process_among(tool, None, chain, &own).map(|process| process.pid)
        };
        let shell = process(30, 20, "sh -c hook");
        assert_eq!(found(&[shell.clone(), process(20, 10, "claude")], &[]), Some(20));
        // A program of another name, if it has set the variables of the tool.
        let host = process(20, 10, "node /opt/agent.js");
        assert_eq!(found(&[shell.clone(), host.clone()], &["CLAUDECODE"]), Some(20));
        assert_eq!(found(&[shell.clone(), host], &[]), None);
        let terminal = Process::new(20, 1, &["CLAUDECODE=1"]).running("tmux");
        assert_eq!(found(&[shell.clone(), terminal], &["CLAUDECODE"]), None);
        for manager in ["systemd --user", "agenthub run"] {
            assert_eq!(found(&[shell.clone(), process(20, 1, manager)], &["CLAUDECODE"]), None);
        }
        assert_eq!(found(&[process(1, 0, "init")], &["CLAUDECODE"]), None);
        // A tool in a shell of the same tool, whose variable it inherits; and one that has set it itself.
        let nested = [shell.clone(), process(20, 15, "claude"), process(10, 5, "claude")];
        let with = |named| process_among(tool, Some(named), &nested, &|_| None).map(|process| process.pid);
        assert_eq!((with(10), with(30)), (Some(20), Some(30)));
    }

    #[test]
    fn variables_of_a_shared_process_name_nobody_else() {
        let daemon = Process::new(20, 1, &["AGENTHUB_AGENT=planner"]).running("codex app-server --listen unix://");
        let shell = process(30, 20, "sh -c x");
        let chain = [shell.clone(), daemon];
        assert!(is_inherited(&chain, "AGENTHUB_AGENT", "planner"));
        assert!(!is_inherited(&chain, "AGENTHUB_AGENT", "given by the shell"));
        let own = Process::new(20, 1, &["AGENTHUB_AGENT=planner"]).running("codex exec x");
        assert!(!is_inherited(&[shell, own], "AGENTHUB_AGENT", "planner"));
    }

    #[test]
    fn session_after_clear_keeps_the_agent_of_its_process() {
        let (_folder, writer) = database();
        let (tool, terminal) = (registry::ALL[0], process(20, 10, "claude"));
        open(&writer, "claude-old", "claude-old", &terminal);
        let known = |session: &str, begun_from: Option<&str>| {
            known_agent(&writer, tool, (session, begun_from), Some(&terminal.id())).unwrap()
        };
        assert_eq!(known("new", Some("clear")).as_deref(), Some("claude-old"));
        assert_eq!(known("new", Some("startup")), None);
        assert_eq!(known("new", None), None);
        assert_eq!(known("old", None).as_deref(), Some("claude-old"));
    }
}

//! Processes of this machine: the identity, ancestors, environment and terminal of a process, from `/proc`.
//!
//! A process number alone does not identify a process: the system gives it to another one later. With
//! `/proc`, an identity also has the start of the process. Systems without `/proc` (macOS) report no
//! ancestors, and an identity there is the number alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// Maximum number of ancestors. A longer chain is not one of shells and tools.
const MAX_ANCESTORS: usize = 64;

/// Programs whose first argument is a script.
const INTERPRETERS: [&str; 4] = ["node", "bun", "deno", "python"];

/// Programs that start a command and wait for it.
const LAUNCHERS: [&str; 15] = [
    "sh", "bash", "zsh", "dash", "ash", "ksh", "mksh", "fish", "busybox", "env", "timeout", "nice", "nohup", "setsid",
    "time",
];

/// The identity of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: u32,
    /// The start of the process: boot, process number namespace, clock ticks since the boot. `None` if the
    /// system does not report it.
    pub started: Option<String>,
}

impl ProcessId {
    /// Returns the identity of the process that has this number now.
    pub fn of(pid: u32) -> Self {
        let stat = Stat::read(pid);
        Self {
            pid,
            started: stat.and_then(|stat| started(&stat)),
        }
    }

    /// Parses what [`Display`](fmt::Display) prints.
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text
            .split_once(' ')
            .map_or((text, None), |(pid, started)| (pid, Some(started)));
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.map(str::to_owned),
        })
    }

    /// Returns whether the process runs, as far as this process can tell: a process in another process number
    /// namespace counts as running. A process that has ended does not run, even if its parent has not reaped it.
    pub fn is_alive(&self) -> bool {
        let Some((machine, (boot, namespace, start))) = machine().zip(self.started.as_deref().and_then(parts)) else {
            return is_in_use(self.pid);
        };
        if boot != machine.boot {
            return false;
        }
        if namespace != machine.namespace {
            return true;
        }
        Stat::read(self.pid).is_some_and(|stat| !stat.has_ended() && stat.start == start)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.started {
            Some(started) => write!(f, "{} {started}", self.pid),
            None => write!(f, "{}", self.pid),
        }
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process number.
    pub pid: u32,
    /// The process number of its parent; 0 without one.
    pub parent: u32,
    /// The name of the program, without directory and extension; of the script, if an interpreter runs it.
    pub program: String,
    /// The command line.
    pub arguments: Vec<String>,
    /// `NAME=value` with a NUL after each; empty if this user may not read it.
    environment: Vec<u8>,
    stat: Stat,
}

impl Process {
    /// Returns the process with this number. `None` if there is none, or no `/proc`.
    pub fn read(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        let command_line = read(pid, "cmdline").unwrap_or_default();
        Some(Self {
            pid,
            parent: stat.parent,
            program: program_in(&command_line),
            arguments: arguments_in(&command_line),
            environment: read(pid, "environ").unwrap_or_default(),
            stat,
        })
    }

    /// Creates a process for a test of code that gets processes.
    #[cfg(test)]
    pub(crate) fn new(pid: u32, parent: u32, variables: &[&str]) -> Self {
        Self {
            pid,
            parent,
            program: "sh".to_owned(),
            arguments: vec!["sh".to_owned()],
            environment: variables.join("\0").into_bytes(),
            stat: Stat::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn running(self, command: &str) -> Self {
        Self {
            program: program_in(command.replace(' ', "\0").as_bytes()),
            arguments: command.split(' ').map(str::to_owned).collect(),
            ..self
        }
    }

    /// Returns the identity.
    pub fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            started: started(&self.stat),
        }
    }

    /// Returns the variable's value in the environment that the process was started with, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .filter(|value| !value.is_empty())
    }

    /// Returns the working directory. `None` if this user may not see it, or without `/proc`.
    pub fn working_directory(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.pid)).ok()
    }

    /// Returns whether the process only runs other programs: a shell, or a program such as `timeout`.
    pub fn is_launcher(&self) -> bool {
        let name = self.program.trim_start_matches('-');
        LAUNCHERS.contains(&name)
    }

    /// Returns a text that identifies the terminal: its device, and the process that leads its session. A
    /// terminal that is opened later has another text. `None` without a controlling terminal.
    pub fn terminal(&self) -> Option<String> {
        if self.stat.terminal == 0 {
            return None;
        }
        let leader = ProcessId::of(self.stat.session);
        Some(format!("{} {} {}", self.stat.terminal, leader.pid, leader.started?))
    }
}

/// Returns the parent of this process, its parent, and so on, as of the first call.
pub fn ancestors() -> &'static [Process] {
    static ANCESTORS: OnceLock<Vec<Process>> = OnceLock::new();
    ANCESTORS.get_or_init(|| {
        let parent = Process::read(std::os::unix::process::parent_id());
        let chain = std::iter::successors(parent, |child| match child.parent {
            0 => None,
            pid => Process::read(pid),
        });
        chain.take(MAX_ANCESTORS).collect()
    })
}

/// The fields of `/proc/PID/stat` that are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// The process that leads the session.
    session: u32,
    /// The device number of the controlling terminal; 0 without one.
    terminal: i64,
    /// Clock ticks from the boot to the start.
    start: String,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&read(pid, "stat").ok()?))
    }

    /// Parses the fields after the program's name, which is in parentheses and may contain blanks and
    /// parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            start: (*fields.get(19)?).to_owned(),
        })
    }

    /// Returns whether the process has ended and its parent has not reaped it.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// The machine and its processes, as this process sees them.
#[derive(Debug)]
struct Machine {
    /// A random id of this boot.
    boot: String,
    /// The namespace of process numbers.
    namespace: String,
}

fn machine() -> Option<&'static Machine> {
    static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();
    let read = || {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Machine {
            boot: boot.trim().to_owned(),
            namespace: namespace.to_string_lossy().replace(' ', ""),
        })
    };
    MACHINE.get_or_init(read).as_ref()
}

/// Returns the text of a start.
fn started(stat: &Stat) -> Option<String> {
    let machine = machine().filter(|_| !stat.start.is_empty())?;
    Some(format!("{} {} {}", machine.boot, machine.namespace, stat.start))
}

/// Returns the parts of a start: boot, namespace, clock ticks.
fn parts(started: &str) -> Option<(&str, &str, &str)> {
    let mut words = started.split(' ');
    Some((words.next()?, words.next()?, words.next()?))
}

/// Returns whether a process has this number.
fn is_in_use(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // A process of another user cannot be signalled.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// Reads a file in `/proc`. `std::fs::read` would begin with 32 bytes, because these files have no size.
fn read(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(8 << 10);
    File::open(format!("/proc/{pid}/{name}"))?.read_to_end(&mut content)?;
    Ok(content)
}

/// Returns the arguments of a command line, in which each ends with a NUL.
fn arguments_in(command_line: &[u8]) -> Vec<String> {
    let arguments = command_line.strip_suffix(b"\0").unwrap_or(command_line);
    let arguments = arguments.split(|byte| *byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// Returns the name of the program in a command line whose arguments end with a NUL.
fn program_in(command_line: &[u8]) -> String {
    let mut arguments = command_line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut next_name = || {
        let path = arguments.next().unwrap_or_default().into_owned();
        let stem = Path::new(&path).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    let program = next_name();
    if INTERPRETERS.iter().any(|interpreter| program.starts_with(interpreter)) {
        return next_name();
    }
    program
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_the_program_or_the_script() {
        for (command_line, program) in [
            (&b"/home/x/.local/bin/claude\0--resume\0"[..], "claude"),
            (
                b"node\0/usr/lib/node_modules/@google/gemini-cli/dist/gemini.js\0-p\0hi\0",
                "gemini",
            ),
            (b"/usr/bin/python3.12\0/opt/agent.py\0", "agent"),
            (b"vim\0claude\0", "vim"),
            (b"-bash\0", "-bash"),
            (b"", ""),
        ] {
            assert_eq!(program_in(command_line), program);
        }
        assert_eq!(arguments_in(b"a\0\0c\0"), ["a", "", "c"]);
        let launches = |command: &str| Process::new(1, 0, &[]).running(command).is_launcher();
        assert!(launches("/bin/sh -c x") && launches("-bash") && launches("timeout 5 x"));
        assert!(!launches("claude") && !launches("node /x/gemini.js"));
    }

    #[test]
    fn reads_stat_and_variables() {
        let stat = Stat::parse("42 (a) b (c) S 7 42 43 34816 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 999 0").unwrap();
        assert_eq!(
            (
                stat.state,
                stat.parent,
                stat.session,
                stat.terminal,
                stat.start.as_str()
            ),
            ('S', 7, 43, 34816, "999")
        );
        assert_eq!(Stat::parse("42"), None);
        let process = Process::new(42, 7, &["A=1", "AB=2", "EMPTY=", "C=x=y"]);
        assert_eq!(
            ["A", "AB", "B", "EMPTY", "C"].map(|name| process.variable(name)),
            [Some("1"), Some("2"), None, None, Some("x=y")].map(|value| value.map(str::to_owned))
        );
    }

    #[test]
    fn chain_begins_with_the_parent() {
        let chain = ancestors();
        if cfg!(target_os = "linux") {
            assert_eq!(chain[0].pid, std::os::unix::process::parent_id());
        }
        assert!(chain.windows(2).all(|two| two[0].parent == two[1].pid));
    }

    #[test]
    fn process_is_alive_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id());
        assert_eq!(id.started.is_some(), cfg!(target_os = "linux"));
        assert!(id.is_alive());
        child.kill().unwrap();
        // Not reaped yet: a parent may wait long to do so.
        if cfg!(target_os = "linux") {
            while Stat::read(child.id()).is_some_and(|stat| !stat.has_ended()) {
                std::thread::yield_now();
            }
            assert!(!id.is_alive());
        }
        child.wait().unwrap();
        assert!(!id.is_alive());
    }

    #[test]
    fn another_process_with_the_same_number_is_not_the_same() {
        let own = ProcessId::of(std::process::id());
        assert!(own.is_alive());
        let Some((boot, namespace, start)) = own.started.as_deref().and_then(parts) else {
            return;
        };
        assert_eq!(ProcessId::parse(&own.to_string()), Some(own.clone()));
        let with = |started: String| ProcessId {
            pid: own.pid,
            started: Some(started),
        };
        assert!(!with(format!("{boot} {namespace} 1{start}")).is_alive());
        assert!(
            !with(format!("0-{boot} {namespace} {start}")).is_alive(),
            "another boot"
        );
        assert!(with(format!("{boot} pid:[1] {start}")).is_alive(), "unknown");
    }
}

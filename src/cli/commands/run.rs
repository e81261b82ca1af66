//! `agenthub run`: runs an agent's program and records what it does.
//!
//! The program runs with the flags that make it print its JSON stream. Its output is passed
//! through byte for byte, and recorded by another thread.
//!
//! The program has priority: it runs regardless of failures of the database or the hub, signals are
//! forwarded to it, and its exit code is the exit code of this command.

use std::ffi::OsString;
use std::fs::File as Pipe;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::cli::args::{self, DatabaseArgs};
use crate::cli::signals::Signals;
use crate::cli::terminal;
use crate::config;
use crate::error::{Code, Error};
use crate::integrations::arguments::is_flag;
use crate::integrations::environment::variable;
use crate::integrations::line_splitter::LineSplitter;
use crate::integrations::recorder::{LineSender, Recorder};
use crate::integrations::spec::{Integration, StreamSpec};
use crate::integrations::stream::{Stream, StreamSource};
use crate::integrations::task_builder::{StreamEnd, TaskInfo};
use crate::integrations::{hook_spool, identity, registry, session_check};
use crate::process::ProcessId;
use crate::protocol::now_ms;
use crate::store::Writer;

/// Maximum time without output after the program has ended. A process that it started may keep the
/// pipe open forever.
const MAX_SILENCE: Duration = Duration::from_secs(1);

/// A tool with its stream.
pub(super) type Tool = (&'static Integration, &'static StreamSpec);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run it as this agent [default: $AGENTHUB_AGENT unless an agent runs this, or a name from its session]
    #[arg(long = "as", value_name = "NAME", value_parser = args::agent)]
    speaker: Option<String>,
    /// The task's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = args::id)]
    task: Option<String>,
    /// The program prints this stream without further flags: do not change its arguments
    #[arg(long, value_parser = format_parser())]
    format: Option<Tool>,
    #[arg(
        help = examples(),
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

/// Parses `--format`.
pub(super) fn format_parser() -> impl TypedValueParser<Value = Tool> {
    let formats = registry::with_stream().map(|(_, stream)| PossibleValue::new(stream.format).help(stream.command));
    PossibleValuesParser::new(formats).try_map(|format| {
        registry::with_stream()
            .find(|(_, stream)| stream.format == format)
            .ok_or("no such format")
    })
}

/// Returns the command lines that can be recorded, for `--help`.
fn examples() -> String {
    let examples = registry::with_stream().map(|(_, stream)| stream.example);
    or_list(&examples.collect::<Vec<_>>())
}

fn or_list(items: &[&str]) -> String {
    match items.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => items.concat(),
    }
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<ExitCode> {
    let (tool, command) = prepare(args)?;
    let task_id = args.task.clone().unwrap_or_else(new_task);
    let agent_id = speaker(args.speaker.as_ref());
    require_no_label(database, &agent_id)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Signals are forwarded from here on.
        let mut signals = Signals::listen(FORWARDED)?;
        let begun = Instant::now();
        let mut child = match start(database, tool.0, &command, &task_id, &agent_id) {
            Ok(child) => child,
            Err(e) => return Ok(cannot_start(&command[0], &e)),
        };
        let output = child.stdout.take().and_then(|pipe| pipe.into_owned_fd().ok());
        let pid = child.id().map(i64::from);
        let info = TaskInfo {
            task_id,
            agent_id,
            directive: directive(tool.1, &command),
            workspace: std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
            pid,
        };
        let recorder = Recorder::start(
            Stream::new(tool.0, tool.1, StreamSource::Program, info),
            pid,
            opener(database),
            |e| {
                warn(&format!("cannot record this run: {e}; the command continues"));
            },
        )?;
        let is_writing = Arc::new(AtomicBool::new(false));
        let output_ended = output.map(|pipe| copy_output(pipe.into(), recorder.sender(), Arc::clone(&is_writing)));
        let status = wait_and_forward_signals(&mut signals, &mut child).await?;
        if let Some(ended) = output_ended {
            wait_for_output(&ended, &is_writing);
        }
        let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        // The first error of writing was printed when it occurred.
        if let Some(unknown) = recorder.end(stream_end(status), seconds).unknown {
            let reason = unknown.describe(tool.1);
            warn(&format!(
                "only the exit code is recorded: nothing in the output was understood: {reason}"
            ));
        }
        Ok(exit_code(status))
    })
}

/// Returns the tool, and the command with the flags that its stream needs.
fn prepare(args: &Args) -> Result<(Tool, Vec<OsString>)> {
    let mut command = args.command.clone();
    if let Some(tool) = args.format {
        return Ok((tool, command));
    }
    let name = Path::new(&command[0])
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some(tool) = registry::with_stream().find(|(_, stream)| stream.binary == name) else {
        let supported: Vec<&str> = registry::with_stream().map(|(_, stream)| stream.binary).collect();
        let message = format!(
            "unsupported program \"{}\"; supported: {}, or pass --format",
            terminal::short(&name, 60),
            supported.join(", ")
        );
        return Err(Error::new(Code::Usage, message).into());
    };
    let given = strings(&command[1..]);
    let missing = (tool.1.flags)(&given).map_err(|reason| Error::new(Code::Usage, reason))?;
    let at = 1 + missing.index;
    command.splice(at..at, missing.flags.into_iter().map(OsString::from));
    Ok((tool, command))
}

fn strings(command: &[OsString]) -> Vec<String> {
    command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Returns the prompt in a command line, for the task's title, or "". An argument that may be the value
/// of a flag does not count as the prompt.
fn directive(stream: &StreamSpec, command: &[OsString]) -> String {
    let args = strings(&command[1..]);
    let after_prompt_flag = || {
        let flag = args
            .iter()
            .position(|arg| stream.prompt_flags.iter().any(|name| is_flag(arg, name)))?;
        args.get(flag + 1).filter(|arg| !arg.starts_with('-')).cloned()
    };
    let last = || {
        let (last, others) = args.split_last()?;
        let before = others.last()?;
        let takes_no_value =
            !before.starts_with('-') || before.contains('=') || stream.switches.contains(&before.as_str());
        let is_prompt = others.contains(&"--".to_owned()) || takes_no_value && !last.starts_with('-');
        is_prompt.then(|| last.clone())
    };
    after_prompt_flag().or_else(last).unwrap_or_default()
}

/// Returns a new task id. Ids sort by time.
pub(super) fn new_task() -> String {
    format!("run-{:x}-{}", now_ms(), std::process::id())
}

/// Returns the agent's name, or "" to derive it from the session. If an agent has started this
/// command, `AGENTHUB_AGENT` is the name of that agent, not of the new one.
pub(super) fn speaker(given: Option<&String>) -> String {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let inherited = || {
        let within_agent =
            is_set("AGENTHUB_TASK") || registry::marker_variables().any(|marker| is_set(marker.variable));
        variable("AGENTHUB_AGENT").filter(|name| !within_agent && !config::is_human(name))
    };
    let name = given.cloned().or_else(inherited).unwrap_or_default();
    config::composed(&name)
}

/// Checks that an agent's name is not the label of another agent that may still run. A database that cannot be read is
/// no reason not to run.
pub(super) fn require_no_label(database: &DatabaseArgs, name: &str) -> Result<()> {
    let Ok(reader) = database.reader() else {
        return Ok(());
    };
    let labelled = reader.agent_labelled(name).unwrap_or_default();
    let Ok(Some(other)) = reader.agent(&labelled) else {
        return Ok(());
    };
    if other.id == name || session_check::is_gone(&reader, &other).unwrap_or(true) {
        return Ok(());
    }
    let message = format!(
        "{} is the label of the agent {}; use another name",
        terminal::name(name),
        terminal::name(&other.id)
    );
    Err(Error::new(Code::Conflict, message).into())
}

/// Returns a function that opens the database, for another thread.
pub(super) fn opener(database: &DatabaseArgs) -> impl Fn() -> crate::error::Result<Writer> + Send + 'static {
    let database = database.clone();
    move || {
        let writer = Writer::open(&config::db_path(database.db.as_deref())?, database.network_fs())?;
        hook_spool::take_in_first(&writer);
        Ok(writer)
    }
}

fn start(
    database: &DatabaseArgs,
    tool: &Integration,
    command: &[OsString],
    task_id: &str,
    agent_id: &str,
) -> io::Result<Child> {
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]).stdout(Stdio::piped());
    // The hooks of this tool record nothing while `run` does. Hooks of another tool that it
    // starts do: `run` does not see the output of that tool.
    start.env("AGENTHUB_TASK", task_id);
    start.env("AGENTHUB_TASK_VENDOR", tool.id);
    // Only while this process runs.
    start.env(identity::TASK_PROCESS, ProcessId::of(std::process::id()).to_string());
    // If an agent runs this command, the new agent has another session.
    for (name, _) in registry::session_variables() {
        start.env_remove(name);
    }
    if agent_id.is_empty() {
        start.env_remove("AGENTHUB_AGENT");
    } else {
        start.env("AGENTHUB_AGENT", agent_id);
    }
    if let Some(db) = database.db.as_deref().and_then(|db| std::path::absolute(db).ok()) {
        start.env("AGENTHUB_DB", db);
    }
    start.spawn()
}

/// Returns a shell's exit code for a program that was not found (127) or cannot be executed (126).
fn cannot_start(program: &OsString, e: &io::Error) -> ExitCode {
    let program = terminal::short(&program.to_string_lossy(), 200);
    if e.kind() == ErrorKind::NotFound {
        warn(&format!("cannot find {program}; install it, or give its full path"));
        return ExitCode::from(127);
    }
    warn(&format!("cannot start {program}: {e}"));
    ExitCode::from(126)
}

/// Prints one line on stderr. Ignores a closed stderr.
fn warn(text: &str) {
    drop(writeln!(io::stderr(), "agenthub: {text}"));
}

/// Copies the program's output to stdout and sends its lines to the recorder, in a thread. The
/// returned channel reports the end of the output.
fn copy_output(mut pipe: Pipe, lines: LineSender, is_writing: Arc<AtomicBool>) -> Receiver<()> {
    let (ended, receiver) = channel();
    thread::spawn(move || {
        // Rust's stdout would buffer output until its line break.
        let Ok(mut out) = io::stdout().as_fd().try_clone_to_owned().map(Pipe::from) else {
            return;
        };
        let mut splitter = LineSplitter::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let bytes = match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            is_writing.store(true, Ordering::Release);
            let written = write_all(&mut out, bytes);
            is_writing.store(false, Ordering::Release);
            splitter.feed(bytes, |line| lines.send(line));
            if written.is_err() {
                // Stdout is closed. The program detects it when its pipe is closed too.
                break;
            }
        }
        drop(pipe);
        if let Some(line) = splitter.finish() {
            lines.send(line);
        }
        // After MAX_SILENCE there is no receiver.
        let _ = ended.send(());
    });
    receiver
}

/// As `Write::write_all`, but also works if another process has made the terminal or pipe
/// non-blocking.
fn write_all(out: &mut Pipe, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::park_timeout(Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Waits for the rest of the output after the program has ended. A slow reader of stdout delays
/// this; another process that keeps the pipe open does not.
fn wait_for_output(ended: &Receiver<()>, is_writing: &AtomicBool) {
    let mut idle_since = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(20)) {
        if is_writing.load(Ordering::Acquire) {
            idle_since = Instant::now();
        } else if idle_since.elapsed() >= MAX_SILENCE {
            return;
        }
    }
}

/// Signals that end a process without a handler. The program decides what to do with them.
const FORWARDED: &[Signal] = &[
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// Waits until `child` ends, and forwards the signals that this process receives.
async fn wait_and_forward_signals(signals: &mut Signals, child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal,
        };
        // A terminal sends these to its whole foreground process group, the child included.
        if matches!(signal, Signal::INT | Signal::QUIT) && in_foreground() {
            continue;
        }
        if let Some(pid) = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
        {
            // The child may have ended already.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Returns whether this process is in the foreground process group of its terminal.
fn in_foreground() -> bool {
    let own_group = rustix::process::getpgrp();
    let (stdin, stderr) = (io::stdin(), io::stderr());
    [stdin.as_fd(), stderr.as_fd()]
        .into_iter()
        .any(|fd| rustix::termios::tcgetpgrp(fd).is_ok_and(|group| group == own_group))
}

fn stream_end(status: ExitStatus) -> StreamEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => StreamEnd::Exit(code),
        (None, Some(signal)) => StreamEnd::Signal(signal),
        (None, None) => StreamEnd::Eof,
    }
}

/// Returns the program's exit code, or 128 plus the signal's number, as a shell does.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code & 0xFF).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(line: &str) -> String {
        let args = Args {
            speaker: None,
            task: None,
            format: None,
            command: line.split(' ').map(OsString::from).collect(),
        };
        strings(&prepare(&args).unwrap().1).join(" ")
    }

    #[test]
    fn flags_are_inserted_before_the_prompt() {
        assert_eq!(
            prepared("/opt/bin/claude -p -- hi"),
            "/opt/bin/claude --output-format stream-json --verbose -p -- hi"
        );
        assert_eq!(
            prepared("codex -m x exec resume --last hi"),
            "codex -m x exec --json resume --last hi"
        );
        assert_eq!(prepared("gemini -p hi"), "gemini --output-format stream-json -p hi");
    }

    #[test]
    fn directive_is_the_prompt() {
        let check = |line: &str, expected: &str| {
            let command: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let binary = line.split(' ').next().unwrap();
            let (_, stream) = registry::with_stream()
                .find(|(_, stream)| stream.binary == binary)
                .unwrap();
            assert_eq!(directive(stream, &command), expected, "{line}");
        };
        check("claude -p hello --model x", "hello");
        check("claude --model x -p --verbose hello", "hello");
        check("codex exec --json hello", "hello");
        check("codex exec", "");
        // The last argument is the value of a flag; the prompt comes from stdin.
        check("claude -p --model opus", "");
        check("codex exec -m o3", "");
        check("codex exec -m o3 hello", "hello");
        check("codex exec -m=o3 hello", "hello");
        check("codex exec -m o3 -- -hello", "-hello");
        check("claude -cp hello", "hello");
        check("codex exec --yolo hello", "hello");
        check("cursor-agent -p --yolo hello", "hello");
    }
}

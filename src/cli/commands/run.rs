//! `agenthub run`: an agent's program, with what it does as rows.
//!
//! For: starting it so that it prints its stream, passing that through byte for byte, and
//! recording it on the side.
//! Not for: what the stream means (`agents`).
//!
//! The program comes first: whatever happens to the file or the hub, it runs on, its exit
//! code is ours, and signals go to it.

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
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::File;
use super::signals::Signals;
use crate::agents::lines::Lines;
use crate::agents::record::{Intake, Recorder};
use crate::agents::{About, Ended, Stream, Vendor, is_flag};
use crate::config;
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::Writer;

/// How long the output may be silent, once the program has ended, before it counts as over:
/// something it started may hold the pipe open for ever.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run it as this agent [default: $AGENTHUB_AGENT unless an agent runs this, or a name from its session]
    #[arg(long = "as", value_name = "NAME", value_parser = super::speaker)]
    speaker: Option<String>,
    /// The task's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = super::name)]
    task: Option<String>,
    /// The program prints this stream by itself: leave its arguments alone
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// claude -p …, codex exec …, gemini -p … or cursor-agent -p …
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

/// The streams that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// claude -p --output-format stream-json --verbose
    #[value(name = "claude-stream-json")]
    Claude,
    /// codex exec --json
    #[value(name = "codex-json")]
    Codex,
    /// gemini -p --output-format stream-json
    #[value(name = "gemini-json")]
    Gemini,
    /// cursor-agent -p --output-format stream-json
    #[value(name = "cursor-json")]
    Cursor,
}

impl Format {
    pub(super) fn vendor(self) -> Vendor {
        match self {
            Self::Claude => Vendor::Claude,
            Self::Codex => Vendor::Codex,
            Self::Gemini => Vendor::Gemini,
            Self::Cursor => Vendor::Cursor,
        }
    }
}

pub(super) fn run(file: &File, args: &Args) -> Result<ExitCode> {
    let (vendor, command) = prepare(args)?;
    let task_id = args.task.clone().unwrap_or_else(new_task);
    let agent_id = speaker(args.speaker.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on signals are the program's business.
        let mut signals = Signals::listen(PASSED_ON)?;
        let begun = Instant::now();
        let mut child = match start(file, vendor, &command, &task_id, &agent_id) {
            Ok(child) => child,
            Err(e) => return Ok(cannot_start(&command[0], &e)),
        };
        let output = child.stdout.take().and_then(|pipe| pipe.into_owned_fd().ok());
        let pid = child.id().map(i64::from);
        let about = About {
            task_id,
            agent_id,
            directive: directive(vendor, &command),
            workspace: std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
            pid,
        };
        let recorder = Recorder::start(Stream::new(vendor, about), pid, opener(file), |e| {
            complain(&format!("cannot record this run: {e}; the command runs on"));
        })?;
        let writing = Arc::new(AtomicBool::new(false));
        let over = output.map(|pipe| pump(pipe.into(), recorder.intake(), Arc::clone(&writing)));
        let status = pass_on_until_end(&mut signals, &mut child).await?;
        if let Some(over) = over {
            drain(&over, &writing);
        }
        let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        // It has said what went wrong when it first did.
        drop(recorder.end(ended(status), seconds));
        Ok(exit_code(status))
    })
}

/// Whose stream, and the whole command with the arguments the stream needs.
fn prepare(args: &Args) -> Result<(Vendor, Vec<OsString>)> {
    let mut command = args.command.clone();
    if let Some(format) = args.format {
        return Ok((format.vendor(), command));
    }
    let name = Path::new(&command[0])
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let vendor = match name.as_str() {
        "claude" => Vendor::Claude,
        "codex" => Vendor::Codex,
        "gemini" => Vendor::Gemini,
        "cursor-agent" => Vendor::Cursor,
        _ => {
            let why = format!(
                "run knows claude, codex, gemini and cursor-agent, not {}; say what stream it prints with --format",
                super::output::short(&name, 60)
            );
            return Err(Error::new(Code::Usage, why).into());
        }
    };
    let given = words(&command[1..]);
    let flags = vendor.flags(&given).map_err(|why| Error::new(Code::Usage, why))?;
    // Before everything else, so that nothing can be taken for a prompt; Codex wants its
    // command first.
    let at = match vendor {
        Vendor::Codex => given
            .iter()
            .position(|arg| arg == "exec" || arg == "e")
            .map_or(1, |i| i + 2),
        Vendor::Claude | Vendor::Gemini | Vendor::Cursor => 1,
    };
    command.splice(at..at, flags.into_iter().map(OsString::from));
    Ok((vendor, command))
}

fn words(command: &[OsString]) -> Vec<String> {
    command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Flags, and what stands in their place, behind which a prompt may stand: they take no value.
const SWITCHES: &[&str] = &[
    "--",
    "-p",
    "--print",
    "--verbose",
    "--continue",
    "--dangerously-skip-permissions",
    "--json",
    "--full-auto",
    "--last",
    "--skip-git-repo-check",
    "--dangerously-bypass-approvals-and-sandbox",
    "-y",
    "--yolo",
    "-f",
    "--force",
];

/// What the agent is asked to do, as far as the command line tells: for a title, no more. Rather
/// none than what may be the value of a flag.
fn directive(vendor: Vendor, command: &[OsString]) -> String {
    let words = words(&command[1..]);
    let after = |names: &[&str]| {
        let at = words
            .iter()
            .position(|word| names.iter().any(|name| is_flag(word, name)))?;
        words.get(at + 1).filter(|word| !word.starts_with('-')).cloned()
    };
    let found = match vendor {
        Vendor::Claude | Vendor::Cursor => after(&["-p", "--print"]),
        Vendor::Gemini => after(&["-p", "--prompt"]),
        Vendor::Codex => None,
    };
    let last = || {
        let (last, before) = words.split_last()?;
        let word = before.last()?;
        let free = !word.starts_with('-') || word.contains('=') || SWITCHES.contains(&word.as_str());
        let is_prompt = before.contains(&"--".to_owned()) || free && !last.starts_with('-');
        is_prompt.then(|| last.clone())
    };
    found.or_else(last).unwrap_or_default()
}

/// A task's id: what came later sorts later.
pub(super) fn new_task() -> String {
    format!("run-{:x}-{}", now_ms(), std::process::id())
}

/// The agent's name, if anybody has given it one. A name in the environment is another's if
/// this was started by an agent: that one's own.
pub(super) fn speaker(given: Option<&String>) -> String {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let inherited = || {
        let within_agent = is_set("AGENTHUB_TASK") || config::session_variables().any(is_set);
        std::env::var("AGENTHUB_AGENT").ok().filter(|_| !within_agent)
    };
    given.cloned().or_else(inherited).unwrap_or_default()
}

/// How to open the file, for another thread.
pub(super) fn opener(file: &File) -> impl Fn() -> crate::error::Result<Writer> + Send + 'static {
    let file = file.clone();
    move || Writer::open(&config::db_path(file.db.as_deref())?, file.network_fs())
}

fn start(file: &File, vendor: Vendor, command: &[OsString], task_id: &str, agent_id: &str) -> io::Result<Child> {
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]).stdout(Stdio::piped());
    // The program's own hooks leave the recording to us. Those of another vendor's program that
    // it starts do not: we see nothing of that one.
    start.env("AGENTHUB_TASK", task_id);
    start.env("AGENTHUB_TASK_VENDOR", vendor.name());
    // An agent that starts another one: that one is not itself.
    for name in config::session_variables() {
        start.env_remove(name);
    }
    if agent_id.is_empty() {
        start.env_remove("AGENTHUB_AGENT");
    } else {
        start.env("AGENTHUB_AGENT", agent_id);
    }
    if let Some(db) = file.db.as_deref().and_then(|db| std::path::absolute(db).ok()) {
        start.env("AGENTHUB_DB", db);
    }
    start.spawn()
}

/// The shell's exit codes for what cannot be found, or not be run.
fn cannot_start(program: &OsString, e: &io::Error) -> ExitCode {
    let program = super::output::short(&program.to_string_lossy(), 200);
    if e.kind() == ErrorKind::NotFound {
        complain(&format!("cannot find {program}; install it, or give its whole path"));
        return ExitCode::from(127);
    }
    complain(&format!("cannot start {program}: {e}"));
    ExitCode::from(126)
}

/// One line on stderr; if that is closed there is nobody to tell.
fn complain(text: &str) {
    drop(writeln!(io::stderr(), "agenthub: {text}"));
}

/// Passes the program's output through and gives its lines to the recorder, in a thread. What
/// comes back says when it is over.
fn pump(mut pipe: Pipe, intake: Intake, writing: Arc<AtomicBool>) -> Receiver<()> {
    let (over, receiver) = channel();
    thread::spawn(move || {
        // Not through Rust's stdout, which holds back what has no line break yet.
        let Ok(mut out) = io::stdout().as_fd().try_clone_to_owned().map(Pipe::from) else {
            return;
        };
        let mut lines = Lines::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let bytes = match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            writing.store(true, Ordering::Release);
            let written = write_all(&mut out, bytes);
            writing.store(false, Ordering::Release);
            lines.feed(bytes, |line| intake.line(line));
            if written.is_err() {
                // Nobody reads any more. Closing the pipe tells the program so.
                break;
            }
        }
        drop(pipe);
        if let Some(line) = lines.finish() {
            intake.line(line);
        }
        // Whoever waits may have given up.
        let _ = over.send(());
    });
    receiver
}

/// As `Write::write_all`, on a terminal or pipe that somebody has made non-blocking too.
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

/// The program has ended: waits for the rest of its output, which our own reader may take
/// slowly, but not for whoever else holds the pipe.
fn drain(over: &Receiver<()>, writing: &AtomicBool) {
    let mut idle_since = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(Duration::from_millis(20)) {
        if writing.load(Ordering::Acquire) {
            idle_since = Instant::now();
        } else if idle_since.elapsed() >= SILENCE {
            return;
        }
    }
}

/// Signals that end a program without a handler: the child decides what to do with them.
const PASSED_ON: &[Signal] = &[
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// Waits for `child` to end, and sends it the signals this process receives.
async fn pass_on_until_end(signals: &mut Signals, child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        let caught = tokio::select! {
            status = child.wait() => return status,
            caught = signals.next() => caught,
        };
        // The terminal sends these to its whole foreground group, the child included.
        if matches!(caught, Signal::INT | Signal::QUIT) && in_foreground() {
            continue;
        }
        if let Some(pid) = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
        {
            // The child may have ended meanwhile.
            let _ = kill_process(pid, caught);
        }
    }
}

/// Whether this process's group is the one its terminal talks to.
fn in_foreground() -> bool {
    let ours = rustix::process::getpgrp();
    let (stdin, stderr) = (io::stdin(), io::stderr());
    [stdin.as_fd(), stderr.as_fd()]
        .into_iter()
        .any(|fd| rustix::termios::tcgetpgrp(fd).is_ok_and(|group| group == ours))
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Cut,
    }
}

/// The program's own, or 128 and the signal's number, as a shell has it.
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
        words(&prepare(&args).unwrap().1).join(" ")
    }

    #[test]
    fn flags_go_where_they_are_no_prompt() {
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
    fn the_directive_is_the_prompt() {
        let of = |vendor, line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            directive(vendor, &words)
        };
        assert_eq!(of(Vendor::Claude, "claude -p hello --model x"), "hello");
        assert_eq!(of(Vendor::Claude, "claude --model x -p --verbose hello"), "hello");
        assert_eq!(of(Vendor::Codex, "codex exec --json hello"), "hello");
        assert_eq!(of(Vendor::Codex, "codex exec"), "");
        // The value of a flag is no prompt: that one comes from stdin.
        assert_eq!(of(Vendor::Claude, "claude -p --model opus"), "");
        assert_eq!(of(Vendor::Codex, "codex exec -m o3"), "");
        assert_eq!(of(Vendor::Codex, "codex exec -m o3 hello"), "hello");
        assert_eq!(of(Vendor::Codex, "codex exec -m=o3 hello"), "hello");
        assert_eq!(of(Vendor::Codex, "codex exec -m o3 -- -hello"), "-hello");
        assert_eq!(of(Vendor::Claude, "claude -cp hello"), "hello");
    }
}

//! Runs `agenthub` commands and reads their output.

use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use super::writer::Process;
use super::{TestHub, wait_for};

/// Returns `agenthub` with these arguments, run as this agent; as the person for `human`.
pub(crate) fn command_as(hub: &TestHub, agent: &str, args: &[&str]) -> Command {
    let mut command = hub.command(args);
    if agent != "human" {
        command.env("AGENTHUB_AGENT", agent);
    }
    command
}

/// Runs a command that must succeed. Returns its stdout.
#[track_caller]
pub(crate) fn run(hub: &TestHub, args: &[&str]) -> String {
    run_as(hub, "human", args)
}

/// Runs a command as this agent, which must succeed. Returns its stdout.
#[track_caller]
pub(crate) fn run_as(hub: &TestHub, agent: &str, args: &[&str]) -> String {
    let output = command_as(hub, agent, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs a command with `--json`, which must print one line.
#[track_caller]
pub(crate) fn run_json(hub: &TestHub, args: &[&str]) -> Value {
    run_json_as(hub, "human", args)
}

/// Runs a command with `--json` as this agent, which must print one line.
#[track_caller]
pub(crate) fn run_json_as(hub: &TestHub, agent: &str, args: &[&str]) -> Value {
    let text = run_as(hub, agent, &[&args[..1], &["--json"], &args[1..]].concat());
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Runs a command that must fail with this exit code and print nothing on stdout. Returns its stderr:
/// one line that begins with the program's name, or clap's message for a usage error.
#[track_caller]
pub(crate) fn fails(hub: &TestHub, args: &[&str], code: i32) -> String {
    let output = hub.agenthub(args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert_eq!(stdout(&output), "", "{args:?}");
    if code != 2 {
        assert_one_line(&message);
    }
    message
}

/// Asserts that `message` is one line, which begins with the program's name and repeats no part.
#[track_caller]
pub(crate) fn assert_one_line(message: &str) {
    assert_eq!(message.lines().count(), 1, "{message}");
    let parts: Vec<_> = message.trim_end().split(": ").collect();
    assert_eq!(parts[0], "agenthub", "{message}");
    assert!(parts.windows(2).all(|two| two[0] != two[1]), "repeated: {message}");
}

/// Starts a command whose lines are read as they come.
#[track_caller]
pub(crate) fn follow(hub: &TestHub, args: &[&str]) -> (Process, Lines<BufReader<ChildStdout>>) {
    let mut command = hub.command(args);
    command.stdout(Stdio::piped());
    let mut process = Process::start(command);
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    (process, lines)
}

/// Waits until the process watches for file system events, which it does before it first reads the
/// database. Returns at once on systems without `/proc`.
#[track_caller]
pub(crate) fn wait_until_watching(hub: &TestHub, process: &Process) {
    wait_until_open(process, "inotify");
    assert!(hub.db().exists());
}

/// Waits until the process has a file open whose name contains `name`. Returns at once on systems without `/proc`.
#[track_caller]
pub(crate) fn wait_until_open(process: &Process, name: &str) {
    if std::path::Path::new("/proc/self/fd").exists() {
        wait_for(name, || has_open(process, name).then_some(()));
    }
}

/// Returns whether the process has a file open whose name contains `name`.
pub(crate) fn has_open(process: &Process, name: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.0.id()));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy().contains(name)))
}

/// Returns the names of an object's fields.
pub(crate) fn keys(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

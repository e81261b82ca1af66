//! Runs commands as the person: in a terminal, outside any agent's shell.

use std::process::{Command, Output};

use super::TestHub;
use super::writer;

/// Returns `agenthub` with these arguments, in a terminal. Its output is what the terminal shows.
pub(crate) fn in_terminal(hub: &TestHub, args: &[&str]) -> Command {
    let agenthub = hub.command(args);
    let mut command = writer::python();
    command
        .env_clear()
        .arg(writer::script("in_terminal.py"))
        .arg(agenthub.get_program())
        .args(agenthub.get_args())
        .envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Runs a command as the person, which must succeed. Returns what the terminal shows.
#[track_caller]
pub(crate) fn run_as_person(hub: &TestHub, args: &[&str]) -> String {
    let output = in_terminal(hub, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    shown(&output)
}

/// Returns what the terminal has shown.
pub(crate) fn shown(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

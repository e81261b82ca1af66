//! Runs commands as the person, in a terminal outside any agent's shell, or as another user of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use super::TestHub;
use super::hub::AGENTHUB;
use super::writer;

/// A user id that no user of a test machine has. Only root can run commands as this user.
pub(crate) const OTHER_USER: u32 = 4_007_231;

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

/// Returns `agenthub` with these arguments, run by another user, who may not read the build folder.
pub(crate) fn as_other_user(hub: &TestHub, args: &[&str]) -> Command {
    let program = hub.folder().join("agenthub");
    if !program.exists() {
        fs::copy(AGENTHUB, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/")
        .env("AGENTHUB_DB", hub.db())
        .stdin(Stdio::null())
        .current_dir("/")
        .uid(OTHER_USER)
        .gid(OTHER_USER);
    command
}

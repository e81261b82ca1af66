//! `agenthub hook`: what an agent's tool starts at its events.
//!
//! For: reading the event from stdin, and printing what the tool is to be told.
//! Not for: people; `agenthub init` puts it where it belongs.
//!
//! Whatever goes wrong here is none of the tool's business: exit 0 and not a word. An exit
//! code of 2 would keep a session from stopping, for ever if the reason stays.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::panic;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{File, output};
use crate::agents::Vendor;
use crate::agents::hook::{Surroundings, answer};
use crate::agents::mail;
use crate::config;
use crate::error::Error;
use crate::protocol::now_ms;
use crate::store::{Writer, with_patience};
use crate::text::lenient_json;
use crate::text::shell;

/// How long a hook waits for the file's lock: the tool, and the person before it, wait as long.
/// One that hands mail over takes the lock twice.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// Bytes of input that are read. A tool's answer may be long; beyond this it is not looked at.
const MAX_INPUT: u64 = 32 << 20;

/// Takes whatever it is given: a refused argument would be exit code 2.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Args {
    /// claude-code or codex
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "TOOL")]
    tool: Vec<String>,
}

/// Whether this command line is meant to be a hook's, though it cannot be parsed: by another
/// version's `init`, or with an environment that makes no sense. Such a hook is silent too.
pub fn is_meant(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.skip(1).take(3).collect();
    match args.first() {
        Some(first) if first == "--db" => args.get(2).is_some_and(|command| command == "hook"),
        Some(first) => first == "hook",
        None => false,
    }
}

pub(super) fn run(file: &File, args: &Args) {
    if io::stdin().is_terminal() {
        drop(writeln!(
            io::stderr(),
            "agenthub hook is started by the agents' own tools; agenthub init connects them"
        ));
        return;
    }
    // Not even a bug of ours is to be heard.
    panic::set_hook(Box::new(|_| {}));
    let _ = panic::catch_unwind(|| attend(file, args));
}

/// What can be done, or nothing.
fn attend(file: &File, args: &Args) -> Option<()> {
    let vendor = match args.tool.first()?.as_str() {
        "claude-code" => Vendor::Claude,
        "codex" => Vendor::Codex,
        _ => return None,
    };
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes).ok()?;
    let input = lenient_json::parse(&bytes)?;
    if is_cursor(&input) {
        return None;
    }
    let path = config::db_path(file.db.as_deref()).ok()?;
    // A run that records another vendor's program sees nothing of this one.
    let of_this_tool = variable("AGENTHUB_TASK_VENDOR").is_none_or(|of| of == vendor.name());
    let around = Surroundings {
        agent: config::name_in(vendor.name()),
        task: variable("AGENTHUB_TASK").filter(|_| of_this_tool),
        db: told_to_a_shell(&path),
        pid: variable("CLAUDE_PID").and_then(|pid| pid.parse().ok()),
        now: now_ms(),
    };
    let (writer, answer) = with_patience(LOCK_WAIT, || {
        let writer = Writer::open(&path, file.network_fs())?;
        writer.in_passing()?;
        let answer = answer(&writer, vendor, &input, &around)?;
        Ok::<_, Error>((writer, answer))
    })
    .ok()?;
    let answer = answer?;
    output::line(&answer.text).ok()?;
    // Mail that is before the model and not known to be is put before it again.
    with_patience(LOCK_WAIT, || answer.printed(&writer)).ok()
}

/// The file as the tool's own commands have to name it, unless they come to it by themselves:
/// what this hook was told by an argument, they are not.
fn told_to_a_shell(path: &Path) -> Option<String> {
    if config::is_default_db(path) {
        return None;
    }
    path.to_str()?;
    let quoted = shell::quote(path);
    (quoted.chars().count() <= mail::DB && !quoted.chars().any(char::is_control)).then_some(quoted)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Cursor runs Claude's hooks as well. It says so in what it sends, or in the environment; a
/// Claude in a terminal of Cursor's has that environment too, and a session of its own.
fn is_cursor(input: &Value) -> bool {
    if input.get("cursor_version").is_some() {
        return true;
    }
    let own = variable("CLAUDE_CODE_SESSION_ID").is_some_and(|session| input["session_id"] == session.as_str());
    variable("CURSOR_VERSION").is_some() && !own
}

//! `agenthub hook`: agent tools run it when an event occurs. It reads the event from stdin and prints
//! the response for the tool. `agenthub init` installs it.
//!
//! If another process keeps the database's lock, the event goes into the spool beside the database. The
//! next writer takes it in.
//!
//! A hook never fails: after any error the exit code is 0 and nothing is printed. Exit code 2
//! would keep a session from stopping, forever if the reason persists. Only the hook that wakes an idle session
//! ends with it.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::config;
use crate::error::{Code, Error};
use crate::integrations::environment::variable;
use crate::integrations::hook_handler::{HookEnvironment, OutputPlace, handle};
use crate::integrations::spec::{EventKind, HookSpec, Integration};
use crate::integrations::{hook_spool, identity, mail_text, registry, session_agent};
use crate::protocol::now_ms;
use crate::store::{Spool, Writer, with_busy_timeout};
use crate::text::{lenient_json, shell};

/// Maximum time that a hook waits for the database's lock: the tool and the user wait during that time.
/// A hook that delivers mail takes the lock twice.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// Maximum bytes of input. A tool's result may be long; a longer input is ignored.
const MAX_INPUT: u64 = 32 << 20;

/// The exit code with which a tool begins a turn in an idle session.
const WAKES: u8 = 2;

/// Accepts any arguments: clap would refuse one with exit code 2.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Args {
    #[arg(help = words(), trailing_var_arg = true, allow_hyphen_values = true, value_name = "TOOL")]
    tool: Vec<String>,
}

fn words() -> String {
    let words: Vec<&str> = registry::with_hooks().map(|(_, hooks)| hooks.word).collect();
    words.join(" or ")
}

/// Returns whether a command line that cannot be parsed is one of a hook, installed by another
/// version or run with invalid variables. Such a command line must not fail either.
pub fn is_hook(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.skip(1).take(3).collect();
    match args.first() {
        Some(first) if first == "--db" => args.get(2).is_some_and(|command| command == "hook"),
        Some(first) => first == "hook",
        None => false,
    }
}

/// Returns the exit code.
pub(super) fn run(database: &DatabaseArgs, args: &Args) -> ExitCode {
    if io::stdin().is_terminal() {
        drop(writeln!(
            io::stderr(),
            "agenthub hook is run by agent tools; agenthub init installs it"
        ));
        return ExitCode::SUCCESS;
    }
    // Suppress panic output: the tool shows stderr to the user.
    panic::set_hook(Box::new(|_| {}));
    let handled = panic::catch_unwind(|| handle_event(database, args));
    if handled.is_err()
        && let Ok(path) = config::db_path(database.db.as_deref())
    {
        count_failure(&path, "an internal error");
    }
    match handled {
        Ok(Some(OutputPlace::Stderr)) => ExitCode::from(WAKES),
        _ => ExitCode::SUCCESS,
    }
}

/// Handles the event. Returns where the output is; `None` without output and after any failure.
fn handle_event(database: &DatabaseArgs, args: &Args) -> Option<OutputPlace> {
    let (tool, hooks) = registry::by_hook_word(args.tool.first()?)?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes).ok()?;
    let mut input = lenient_json::parse(&bytes)?;
    if is_run_by_another_tool(tool, hooks, &input) {
        return None;
    }
    let process = session_agent::tool_process(tool, hooks);
    let event = input["hook_event_name"].as_str().unwrap_or_default();
    if hooks
        .hook(event)
        .is_some_and(|hook| hook.kind == EventKind::SessionStart)
        && let Some(process) = process.as_ref().and_then(|process| process.process.as_ref())
    {
        input[hooks.fields.session] = (tool.processes.begun_session)(&input, process)?.into();
    }
    let path = config::db_path(database.db.as_deref()).ok()?;
    // A run that records another tool does not see the output of this one.
    let is_recorded = identity::recorded_tool().is_none_or(|id| id == tool.id);
    let environment = HookEnvironment {
        agent: identity::assigned_name_within(tool).or_else(|| hooks.agent.map(str::to_owned)),
        task: identity::recorded_task().filter(|_| is_recorded),
        db: db_argument(&path),
        pid: process.as_ref().map(|process| process.id.pid.into()),
        terminal: process
            .as_ref()
            .and_then(|process| process.process.as_ref()?.terminal()),
        process: process.map(|process| process.id),
        now: now_ms(),
    };
    let handled = with_busy_timeout(LOCK_WAIT, || {
        let writer = Writer::open(&path, database.network_fs())?;
        writer.configure_for_short_process()?;
        // Earlier events first: they decide the turn and status of this one.
        hook_spool::take_in(&writer)?.delete();
        let hook_output = handle(&writer, (tool, hooks), &input, &environment)?;
        Ok::<_, Error>((writer, hook_output))
    });
    let (writer, hook_output) = match handled {
        Ok(handled) => handled,
        Err(error) => {
            let spooled = match hook_spool::is_recordable_later(error.code()) {
                true => hook_spool::add(&path, hooks.word, input, &environment),
                false => Err(error),
            };
            match spooled {
                // A spool that is full has counted the event.
                Err(error) if error.code() != Code::TooLarge => count_failure(&path, error.message()),
                _ => {}
            }
            return None;
        }
    };
    let hook_output = hook_output?;
    match hook_output.place {
        OutputPlace::Stdout => terminal::line(&hook_output.text).ok()?,
        OutputPlace::Stderr => writeln!(io::stderr(), "{}", hook_output.text).ok()?,
    }
    // Without this confirmation the mail is delivered again.
    with_busy_timeout(LOCK_WAIT, || hook_output.confirm_printed(&writer)).ok()?;
    Some(hook_output.place)
}

/// Counts a failed call, for doctor. Without a database there is no place for it.
fn count_failure(path: &Path, error: &str) {
    if path.exists() {
        Spool::of(path).count_failed(error);
    }
}

/// Returns whether another tool runs this hook of `tool`. The environment variable of that tool is not
/// sufficient: `tool` may run in a terminal of that tool, and then the session is one of `tool`.
fn is_run_by_another_tool(tool: &Integration, hooks: &HookSpec, input: &Value) -> bool {
    let session = input[hooks.fields.session].as_str().unwrap_or_default();
    let others = registry::ALL.iter().filter(|other| **other != tool);
    let others = others.filter_map(|other| other.foreign_hooks.as_ref());
    let mut marks = others.map(|foreign| (input.get(foreign.input_field), variable(foreign.variable)));
    marks.any(|(field, variable)| field.is_some() || variable.is_some() && !identity::is_session_of(tool, session))
}

/// Returns the value of `--db` for commands in the tool's shell, or `None` if they use this database by
/// default. A path that this hook got as an argument is not the default.
fn db_argument(path: &Path) -> Option<String> {
    if config::is_default_db(path, identity::database_variable().as_deref()) {
        return None;
    }
    path.to_str()?;
    let quoted = shell::quote(path);
    (quoted.chars().count() <= mail_text::MAX_DB && !quoted.chars().any(char::is_control)).then_some(quoted)
}

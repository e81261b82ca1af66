//! Checks the connected agent tools: settings that turn hooks off, commands whose program is missing, hooks of
//! another version, hooks that the tool does not run, and records of sessions whose format has changed. A tool that
//! is not connected is not a problem.

use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use super::Finding;
use crate::cli::commands::init::excluded;
use crate::config;
use crate::error::Result;
use crate::integrations::program::{self, is_executable};
use crate::integrations::setup::{InstalledCommand, off_switches};
use crate::integrations::spec::{ConfigFile, HookSpec, HookState, InstallTarget, Integration};
use crate::integrations::{registry, session_state};
use crate::protocol::now_ms;
use crate::store::Reader;
use crate::text::quantity::count;

/// Milliseconds after its last event in which a session is checked for tokens.
const CHECKED_SESSIONS: i64 = 7 * 24 * 3_600_000;

/// Returns one finding about all tools.
pub(super) fn check(reader: Option<&Reader>) -> Finding {
    let target = match target() {
        Ok(target) => target,
        Err(e) => return Finding::ok("tools", format!("not checked: {}", e.message())),
    };
    let mut connected = Vec::new();
    let mut report = Report {
        reader,
        directory: std::env::current_dir().unwrap_or_default(),
        ..Report::default()
    };
    for tool in registry::ALL.iter().copied() {
        match report.check_tool(tool, &target) {
            Ok(true) => connected.push(tool.name),
            Ok(false) => {}
            Err(e) => report.add(e.message().to_owned(), "fix that file"),
        }
    }
    report.advice.dedup();
    let mut lines = report.problems;
    if !lines.is_empty() {
        lines.append(&mut report.notes);
        return Finding::bad("tools", lines.join("\n"), report.advice.join("; "));
    }
    lines.push(if connected.is_empty() {
        "none connected (run agenthub init)".to_owned()
    } else {
        format!("connected: {}", connected.join(", "))
    });
    lines.append(&mut report.notes);
    Finding::ok("tools", lines.join("\n"))
}

/// Returns where the user's tools are connected.
fn target() -> Result<InstallTarget> {
    Ok(InstallTarget {
        home: config::home_directory()?,
        project: None,
        program: PathBuf::new(),
        db: None,
    })
}

/// Returns the tools whose hooks are installed. A file that cannot be read counts as without them: [`check`] reports it.
///
/// # Errors
/// The user has no home directory.
pub(super) fn connected_tools() -> Result<Vec<&'static Integration>> {
    let target = target()?;
    let has_hooks = |tool: &&'static Integration| {
        let is_installed = |file: &ConfigFile| {
            let is_of_hooks = file.content.has_hooks();
            is_of_hooks && matches!(file.installed(), Ok(Some(_)))
        };
        tool.files(&target).iter().any(is_installed)
    };
    Ok(registry::ALL.iter().copied().filter(has_hooks).collect())
}

/// Returns a finding with the directories whose sessions are not recorded, if there are any.
pub(super) fn excluded(reader: &Reader) -> Option<Finding> {
    let text = excluded::describe(reader).ok()??;
    Some(Finding::ok("excluded", text))
}

/// Returns a finding about the tokens that hooks read from the tools' own records of sessions, if there are any.
pub(super) fn tokens(reader: &Reader) -> Option<Finding> {
    let sessions = session_state::list(reader, now_ms() - CHECKED_SESSIONS).ok()?;
    let transcripts: Vec<_> = sessions
        .iter()
        .filter_map(|(id, state)| Some((id, state.transcript.as_ref()?)))
        .collect();
    if transcripts.is_empty() {
        return None;
    }
    let without: Vec<String> = registry::ALL
        .iter()
        .filter_map(|tool| {
            let is_affected = |id: &str| id.strip_prefix(tool.id).is_some_and(|rest| rest.starts_with('-'));
            let affected = transcripts
                .iter()
                .filter(|(id, state)| is_affected(id) && state.is_format_unknown())
                .count();
            (affected > 0).then(|| format!("{} of {}", count(affected, "session"), tool.name))
        })
        .collect();
    if without.is_empty() {
        let message = format!("read from the records of {}", count(transcripts.len(), "session"));
        return Some(Finding::ok("tokens", message));
    }
    Some(Finding::bad(
        "tokens",
        format!(
            "incomplete in {}: the format of the tool's own record has changed",
            without.join(", ")
        ),
        "update agenthub; until then these sessions have no or too few tokens",
    ))
}

#[derive(Default)]
struct Report<'a> {
    reader: Option<&'a Reader>,
    /// The working directory: some tools trust only some directories.
    directory: PathBuf,
    problems: Vec<String>,
    advice: Vec<&'static str>,
    /// What is not a problem.
    notes: Vec<String>,
}

impl Report<'_> {
    fn add(&mut self, problem: String, advice: &'static str) {
        self.problems.push(problem);
        self.advice.push(advice);
    }

    /// Returns whether the tool is connected.
    fn check_tool(&mut self, tool: &'static Integration, target: &InstallTarget) -> Result<bool> {
        let switches = off_switches(tool, target)?;
        let mut is_connected = false;
        for file in tool.files(target) {
            let Some(command) = file.installed()? else {
                continue;
            };
            is_connected = true;
            if !can_start(&command) {
                self.add(
                    format!(
                        "{}: {} starts {}, which does not exist",
                        tool.name,
                        file.path.display(),
                        command.program.display()
                    ),
                    "run agenthub init to install the path of this program",
                );
            }
            let outdated = file.outdated()?;
            if !outdated.is_empty() {
                self.add(
                    format!(
                        "{}: {} is from another version; agenthub init would change {}",
                        tool.name,
                        file.path.display(),
                        outdated.join(", ")
                    ),
                    "run agenthub init to install what this version has",
                );
            }
            if let (true, Some(hooks)) = (file.content.has_hooks(), &tool.hooks) {
                for switch in &switches {
                    self.add(
                        format!("{}: hooks are turned off: {switch}", tool.name),
                        "remove that setting; without hooks agents get mail only when they ask for it",
                    );
                }
                self.check_hooks(&file, hooks, target)?;
            }
        }
        Ok(is_connected)
    }

    /// Checks whether the tool runs the installed hooks.
    fn check_hooks(&mut self, file: &ConfigFile, hooks: &HookSpec, target: &InstallTarget) -> Result<()> {
        for state in (hooks.state)(target, &self.directory) {
            match state {
                HookState::Note(note) => self.notes.push(note),
                HookState::Problem { message, advice } => self.add(message, advice),
            }
        }
        let connected_at = fs::metadata(&file.path).and_then(|file| file.modified()).ok();
        let connected_at = connected_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let heard_at = self.reader.map(|reader| reader.last_hook_event(file.tool.id));
        if let (Some(connected_at), Some(heard_at)) = (connected_at, heard_at)
            && heard_at?.is_none_or(|at| u128::try_from(at).unwrap_or(0) < connected_at.as_millis())
        {
            self.notes.push(format!(
                "{}: no event of its hooks since {} was written; sessions that ran before then have to be restarted",
                file.tool.name,
                file.path.display()
            ));
        }
        Ok(())
    }
}

/// Returns whether the program exists. A path with variables, which only a shell can expand, counts as
/// existing.
fn can_start(command: &InstalledCommand) -> bool {
    let program = &command.program;
    let text = program.display().to_string();
    if text.contains(['$', '~']) {
        return true;
    }
    if program.components().count() > 1 {
        return is_executable(program);
    }
    program::find(&text).is_some()
}

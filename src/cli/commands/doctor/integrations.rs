//! Checks the connected agent tools: settings that turn hooks off, commands whose program is
//! missing, and records of sessions whose format has changed. A tool that is not connected is not a problem.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::config;
use crate::error::Result;
use crate::integrations::program::{self, is_executable};
use crate::integrations::setup::{InstalledCommand, off_switches};
use crate::integrations::spec::{ConfigContent, InstallTarget, Integration};
use crate::integrations::{registry, session_state};
use crate::protocol::now_ms;
use crate::store::{NetworkFs, Reader};
use crate::text::quantity::count;

/// Milliseconds after its last event in which a session is checked for tokens.
const CHECKED_SESSIONS: i64 = 7 * 24 * 3_600_000;

/// Returns one finding about all tools.
pub(super) fn check() -> Finding {
    let home = match config::home_directory() {
        Ok(home) => home,
        Err(e) => return Finding::ok("tools", format!("not checked: {}", e.message())),
    };
    let target = InstallTarget {
        home,
        project: None,
        program: PathBuf::new(),
        db: None,
    };
    let mut connected = Vec::new();
    let mut problems = Problems::default();
    for tool in registry::ALL.iter().copied() {
        match check_tool(tool, &target, &mut problems) {
            Ok(true) => connected.push(tool.name),
            Ok(false) => {}
            Err(e) => problems.add(e.message().to_owned(), "fix that file"),
        }
    }
    problems.advice.dedup();
    if !problems.messages.is_empty() {
        return Finding::bad("tools", problems.messages.join("\n"), problems.advice.join("; "));
    }
    Finding::ok(
        "tools",
        if connected.is_empty() {
            "none connected (run agenthub init)".to_owned()
        } else {
            format!("connected: {}", connected.join(", "))
        },
    )
}

/// Returns a finding about the tokens that hooks read from the tools' own records of sessions, if there are any.
pub(super) fn tokens(path: &Path, network_fs: NetworkFs) -> Option<Finding> {
    // Other checks report a database that cannot be read.
    let reader = Reader::open(path, network_fs).ok()?;
    let sessions = session_state::list(&reader, now_ms() - CHECKED_SESSIONS).ok()?;
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
struct Problems {
    messages: Vec<String>,
    advice: Vec<&'static str>,
}

impl Problems {
    fn add(&mut self, message: String, advice: &'static str) {
        self.messages.push(message);
        self.advice.push(advice);
    }
}

/// Returns whether the tool is connected.
fn check_tool(tool: &'static Integration, target: &InstallTarget, problems: &mut Problems) -> Result<bool> {
    let switches = off_switches(tool, target)?;
    let mut is_connected = false;
    for file in tool.files(target) {
        let Some(command) = file.installed()? else {
            continue;
        };
        is_connected = true;
        if !can_start(&command) {
            problems.add(
                format!(
                    "{}: {} starts {}, which does not exist",
                    tool.name,
                    file.path.display(),
                    command.program.display()
                ),
                "run agenthub init to install the path of this program",
            );
        }
        if file.content == ConfigContent::Hooks {
            for switch in &switches {
                problems.add(
                    format!("{}: hooks are turned off: {switch}", tool.name),
                    "remove that setting; without hooks agents get mail only when they ask for it",
                );
            }
        }
    }
    Ok(is_connected)
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

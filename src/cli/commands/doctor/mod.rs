//! `agenthub doctor`: runs checks and prints one line per check, with advice for each problem.
//!
//! It repairs nothing: the advice names the command that fixes the problem. Exit code 0: no problems;
//! 1: at least one problem; 3: the database cannot be used.

mod checks;
mod integrations;

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no problems, 1 at least one problem, 3 the database cannot be used.\n\
    --json prints {\"path\":…,\"state\":…,\"findings\":[{\"check\":…,\"state\":…,\"message\":…,\"advice\":…}]}.\n\
    state is ok, bad or unusable."
)]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Result of a check, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Bad,
    Unusable,
}

/// Result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    /// Advice; empty if there is no problem.
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message, "")
    }

    fn bad(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, State::Bad, message, advice)
    }

    fn new(check: &'static str, state: State, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            state,
            message: message.into(),
            advice: advice.into(),
        }
    }
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let path = database.path()?;
    let mut findings = checks::all(&path, database.network_fs());
    findings.push(integrations::check());
    let state = findings.iter().map(|f| f.state).max().unwrap_or(State::Ok);
    if args.json {
        terminal::json(&serde_json::json!({"path": path.display().to_string(), "state": state, "findings": findings}))?;
    } else {
        print(&findings)?;
    }
    let count = findings.iter().filter(|f| f.state != State::Ok).count();
    match state {
        State::Ok => Ok(()),
        State::Bad => Err(Error::new(
            Code::Invalid,
            format!(
                "{count} of {} checks found problems; follow the advice above",
                findings.len()
            ),
        )
        .into()),
        State::Unusable => Err(Error::new(
            Code::StoreUnavailable,
            format!("{} cannot be used; follow the advice above", path.display()),
        )
        .into()),
    }
}

fn print(findings: &[Finding]) -> Result<()> {
    for finding in findings {
        let mark = if finding.state == State::Ok { "ok " } else { "BAD" };
        terminal::line(&format!(
            "{mark}  {:<9} {}",
            finding.check,
            terminal::block(&finding.message, 15)
        ))?;
        if !finding.advice.is_empty() {
            terminal::line(&format!("     {:<9} → {}", "", safe_text::escape(&finding.advice)))?;
        }
    }
    Ok(())
}

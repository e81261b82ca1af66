//! `agenthub doctor`: is all well, and if not, what to do.
//!
//! For: one line for each thing looked at, and one of advice for each that is not well.
//! Exit code 0: all well; 1: something is not; 3: the database cannot be used.
//! Not for: mending: the advice names the command that does.

mod checks;
mod integrations;

use anyhow::Result;
use serde::Serialize;

use super::{File, output};
use crate::error::{Code, Error};
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 all is well, 1 something is not, 3 the database cannot be used.\n\
    --json prints {\"path\":…,\"state\":…,\"findings\":[{\"check\":…,\"state\":…,\"message\":…,\"advice\":…}]},\n\
    where state is ok, bad or unusable."
)]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Bad,
    Unusable,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    /// What to do about it; empty if all is well.
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

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let path = file.path()?;
    let mut findings = checks::all(&path, file.network_fs());
    findings.push(integrations::check());
    let state = findings.iter().map(|f| f.state).max().unwrap_or(State::Ok);
    if args.json {
        output::json(&serde_json::json!({"path": path.display().to_string(), "state": state, "findings": findings}))?;
    } else {
        print(&findings)?;
    }
    let count = findings.iter().filter(|f| f.state != State::Ok).count();
    match state {
        State::Ok => Ok(()),
        State::Bad => Err(Error::new(
            Code::Invalid,
            format!("{count} of {} are not well; see the advice", findings.len()),
        )
        .into()),
        State::Unusable => Err(Error::new(
            Code::StoreUnavailable,
            format!("{} cannot be used; see the advice", path.display()),
        )
        .into()),
    }
}

fn print(findings: &[Finding]) -> Result<()> {
    for finding in findings {
        let mark = if finding.state == State::Ok { "ok " } else { "BAD" };
        output::line(&format!(
            "{mark}  {:<9} {}",
            finding.check,
            output::block(&finding.message, 15)
        ))?;
        if !finding.advice.is_empty() {
            output::line(&format!("     {:<9} → {}", "", safe_text::escape(&finding.advice)))?;
        }
    }
    Ok(())
}

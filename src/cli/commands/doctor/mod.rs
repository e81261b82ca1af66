//! `agenthub doctor`: runs checks and prints one line per check, with advice for each problem.
//!
//! The advice names the command that fixes the problem. Only `--repair` changes the database: it creates
//! missing triggers, and numbers and logs rows written without them. Exit code 0: no problems; 1: at least one
//! problem; 3: the database cannot be used.

mod checks;
mod integrations;
mod waking;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::init::tool_parser;
use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::integrations::spec::Integration;
use crate::store::{Reader, Repaired, with_busy_timeout};
use crate::text::safe_text;

/// Maximum time that the checks of tools wait for the database's lock.
const READER_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no problems, 1 at least one problem, 3 the database cannot be used.\n\
    --json prints {\"path\":…,\"state\":…,\"findings\":[{\"check\":…,\"state\":…,\"message\":…,\"advice\":…}]}; with\n\
    --repair also {\"repaired\":{\"triggers\":…,\"numbered\":…,\"logged\":…,\"copy\":…}}.\n\
    state is ok, bad or unusable."
)]
pub(super) struct Args {
    /// Create missing triggers, and number and log rows written without them; keeps a copy in hub.db.before-repair
    #[arg(long)]
    repair: bool,
    /// Prove that mail wakes an idle session of each connected tool, or of each TOOL. Asks first: each proof is a turn of
    /// the model. Needs a session of the tool that waits for a prompt
    #[arg(long, value_parser = tool_parser(), num_args = 0.., value_name = "TOOL", conflicts_with = "repair")]
    wake: Option<Vec<Tool>>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// As [`Args`] names a tool.
type Tool = &'static Integration;

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
    // A repair does not create a database.
    let repaired = match args.repair && path.exists() {
        true => Some(database.writer()?.repair()?),
        false => None,
    };
    if let Some(repaired) = repaired.as_ref().filter(|_| !args.json) {
        print_repaired(repaired)?;
    }
    let findings = match &args.wake {
        Some(tools) => waking::prove(database, tools)?,
        None => {
            let mut findings = checks::all(&path, database.network_fs());
            // A database that cannot be opened is another finding.
            let reader = with_busy_timeout(READER_WAIT, || Reader::open(&path, database.network_fs())).ok();
            findings.push(integrations::check(reader.as_ref()));
            findings.extend(reader.as_ref().and_then(integrations::excluded));
            findings.extend(reader.as_ref().and_then(integrations::tokens));
            findings.extend(reader.as_ref().and_then(waking::check));
            findings
        }
    };
    let state = findings.iter().map(|f| f.state).max().unwrap_or(State::Ok);
    if args.json {
        let mut document =
            serde_json::json!({"path": path.display().to_string(), "state": state, "findings": findings});
        if let Some(repaired) = repaired {
            document["repaired"] = serde_json::json!(repaired);
        }
        terminal::json(&document)?;
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

fn print_repaired(repaired: &Repaired) -> Result<()> {
    let Some(copy) = &repaired.copy else {
        return terminal::line("nothing to repair");
    };
    for trigger in &repaired.triggers {
        terminal::line(&format!("created the trigger {}", safe_text::escape(trigger)))?;
    }
    if repaired.numbered > 0 {
        terminal::line(&format!("messages that got a number: {}", repaired.numbered))?;
    }
    for rows in &repaired.logged {
        terminal::line(&format!(
            "added to the change log: {}",
            rows.describe().trim_end_matches(',')
        ))?;
    }
    terminal::line(&format!(
        "a copy of the previous state is {}",
        safe_text::escape(&copy.display().to_string())
    ))
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

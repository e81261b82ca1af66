//! `agenthub agents`: lists agents and how much unread mail each has.

use std::collections::HashMap;

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::integrations::session_check;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints an array of rows, most recently active first:\n  \
    {id, label, status, workspace, pid, created_at, last_active_at}\n\
    Times are Unix milliseconds. pid may be null. Missing text is \"\".")]
pub(super) struct Args {
    /// Print rows as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let reader = database.reader()?;
    let mut agents = reader.agents()?;
    reader.hide_ambiguous_labels(&mut agents)?;
    session_check::apply(&reader, &mut agents)?;
    if args.json {
        return terminal::json(&agents);
    }
    if agents.is_empty() {
        return terminal::line("no agents yet; a program becomes one when it first writes or reads mail");
    }
    let unread: HashMap<_, _> = reader.mailboxes()?.into_iter().map(|b| (b.inbox, b.unread)).collect();
    let rows: Vec<_> = agents
        .iter()
        .map(|a| {
            [
                terminal::short(&a.id, 40),
                terminal::short(&a.status, 10),
                terminal::time(a.last_active_at),
                unread.get(&a.id).copied().unwrap_or(0).to_string(),
                terminal::short(if a.label.is_empty() { &a.workspace } else { &a.label }, 60),
            ]
        })
        .collect();
    terminal::table(["AGENT", "STATUS", "LAST ACTIVE", "UNREAD", "LABEL"], &rows)
}

//! `agenthub agents`: who has been here, and for whom mail is waiting.

use std::collections::HashMap;

use anyhow::Result;

use super::{File, output};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints an array of rows, the last active first:\n  \
    {id, label, status, workspace, pid, created_at, last_active_at}\n\
    Times are Unix milliseconds; pid may be null; text that is not there is \"\".")]
pub(super) struct Args {
    /// Print the rows
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let reader = file.reader()?;
    let agents = reader.agents()?;
    if args.json {
        return output::json(&agents);
    }
    if agents.is_empty() {
        return output::line("no agents yet; whoever writes or reads here becomes one");
    }
    let unread: HashMap<_, _> = reader.mailboxes()?.into_iter().map(|b| (b.inbox, b.unread)).collect();
    let rows: Vec<_> = agents
        .iter()
        .map(|a| {
            [
                output::short(&a.id, 40),
                output::short(&a.status, 10),
                output::time(a.last_active_at),
                unread.get(&a.id).copied().unwrap_or(0).to_string(),
                output::short(if a.label.is_empty() { &a.workspace } else { &a.label }, 60),
            ]
        })
        .collect();
    output::table(["AGENT", "STATUS", "ACTIVE", "UNREAD", "WHERE"], &rows)
}

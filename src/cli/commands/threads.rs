//! `agenthub threads`: lists threads, most recently active first.

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints an array of rows, most recently active first:\n  \
    {id, title, created_at, created_by_type, created_by_id, status, context_json,\n   \
    last_seq, updated_at}\n\
    Times are Unix milliseconds. Missing text is \"\".")]
pub(super) struct Args {
    /// Maximum number of rows
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print rows as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let threads = database.reader()?.threads(None, usize::from(args.limit))?.items;
    if args.json {
        return terminal::json(&threads);
    }
    if threads.is_empty() {
        return terminal::line("no threads yet; create one with: agenthub post THREAD TEXT");
    }
    let rows: Vec<_> = threads
        .iter()
        .map(|t| {
            [
                terminal::short(&t.id, 40),
                t.last_seq.to_string(),
                terminal::time(t.updated_at),
                terminal::short(&t.status, 10),
                terminal::short(&t.title, 60),
            ]
        })
        .collect();
    terminal::table(["THREAD", "MESSAGES", "LAST ACTIVE", "STATUS", "TITLE"], &rows)
}

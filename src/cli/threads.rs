//! `agenthub threads`: what is talked about, the newest first.

use anyhow::Result;

use super::{File, output};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints an array of rows, the last active first:\n  \
    {id, title, created_at, created_by_type, created_by_id, status, context_json,\n   \
    last_seq, updated_at}\n\
    Times are Unix milliseconds; text that is not there is \"\".")]
pub(super) struct Args {
    /// Rows at most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print the rows
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let threads = file.reader()?.threads(None, usize::from(args.limit))?.items;
    if args.json {
        return output::json(&threads);
    }
    if threads.is_empty() {
        return output::line("no threads yet; agenthub post THREAD TEXT begins one");
    }
    let rows: Vec<_> = threads
        .iter()
        .map(|t| {
            [
                output::short(&t.id, 40),
                t.last_seq.to_string(),
                output::time(t.updated_at),
                output::short(&t.status, 10),
                output::short(&t.title, 60),
            ]
        })
        .collect();
    output::table(["THREAD", "MESSAGES", "ACTIVE", "STATUS", "TITLE"], &rows)
}

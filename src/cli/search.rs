//! `agenthub search`: what was said, by its words.

use anyhow::Result;

use super::{File, output};
use crate::protocol::now_ms;
use crate::store::SearchHit;

/// How to ask.
macro_rules! query {
    ($after:literal) => {
        concat!(
            "All words have to be there, in messages, mail or what tasks did. \"two words\" holds a phrase \
            together, word* stands for its beginnings, -word for its absence (put -- before a first one).",
            $after
        )
    };
}

#[derive(Debug, clap::Args)]
#[command(after_help = query!(""), after_long_help = query!("\n\n--json prints an array of hits, the best first:\n  \
    {table, id, thread_id, message_seq, to_inbox, task_id, from, title, snippet, created_at}\n\
    table is messages, inbox_messages or task_stream. A message has thread_id and message_seq, mail has\n\
    to_inbox, an event of a task has task_id. created_at is Unix milliseconds."))]
pub(super) struct Args {
    /// What to look for
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
    /// Rows at most
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print the rows as one document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let query = args.words.join(" ");
    let hits = file.reader()?.search(&query, usize::from(args.limit), now_ms())?;
    if args.json {
        return output::json(&hits);
    }
    if hits.is_empty() {
        return output::line("nothing found");
    }
    for hit in &hits {
        output::line(&format!(
            "{}  {}  {}",
            output::time(hit.created_at),
            place(hit),
            output::short(&hit.from, 24)
        ))?;
        if !hit.title.is_empty() {
            output::line(&format!("  {}", output::short(&hit.title, 96)))?;
        }
        output::line(&format!("  {}", output::short(&hit.snippet, 200)))?;
    }
    Ok(())
}

/// Where it is, in the words of the command that shows it.
fn place(hit: &SearchHit) -> String {
    match hit.message_seq {
        Some(seq) => format!("thread {} #{seq}", output::short(&hit.thread_id, 40)),
        None if !hit.to_inbox.is_empty() => {
            format!(
                "mail {} to {}",
                output::short(&hit.id, 40),
                output::short(&hit.to_inbox, 24)
            )
        }
        None => format!("task {}", output::short(&hit.task_id, 40)),
    }
}

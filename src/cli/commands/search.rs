//! `agenthub search`: full-text search.

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::protocol::now_ms;
use crate::store::SearchHit;

/// The query syntax, followed by `$after`.
macro_rules! query {
    ($after:literal) => {
        concat!(
            "Finds messages, mail and task events that contain all words. \"two words\" matches a phrase, word* a prefix; \
            -word excludes a word (if it comes first, write -- before it).",
            $after
        )
    };
}

#[derive(Debug, clap::Args)]
#[command(after_help = query!(""), after_long_help = query!("\n\n--json prints an array of hits, best match first:\n  \
    {table, id, thread_id, message_seq, to_inbox, task_id, from, title, snippet, created_at}\n\
    table is messages, inbox_messages or task_stream. A message has thread_id and message_seq, mail has\n\
    to_inbox, a task event has task_id. created_at is Unix milliseconds."))]
pub(super) struct Args {
    /// Words to search for
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
    /// Maximum number of hits
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print hits as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let query = args.words.join(" ");
    let hits = database.reader()?.search(&query, usize::from(args.limit), now_ms())?;
    if args.json {
        return terminal::json(&hits);
    }
    if hits.is_empty() {
        return terminal::line("no matches");
    }
    for hit in &hits {
        terminal::line(&format!(
            "{}  {}  {}",
            terminal::time(hit.created_at),
            place(hit),
            terminal::sender(&hit.from, hit.verified, 24)
        ))?;
        if !hit.title.is_empty() {
            terminal::line(&format!("  {}", terminal::short(&hit.title, 96)))?;
        }
        terminal::line(&format!("  {}", terminal::short(&hit.snippet, 200)))?;
    }
    Ok(())
}

/// Returns the place of the hit: thread and number, message and inbox, or task.
fn place(hit: &SearchHit) -> String {
    match hit.message_seq {
        Some(seq) => format!("thread {} #{seq}", terminal::short(&hit.thread_id, 40)),
        None if !hit.to_inbox.is_empty() => {
            format!(
                "mail {} to {}",
                terminal::short(&hit.id, 40),
                terminal::short(&hit.to_inbox, 24)
            )
        }
        None => format!("task {}", terminal::short(&hit.task_id, 40)),
    }
}

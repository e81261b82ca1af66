//! `agenthub status`: how hub and file are.

use anyhow::Result;
use serde_json::{Value, json};

use super::{File, client, output};
use crate::store::Token;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one document:\n  \
    {hub: {url, pid, status}, db: {path, size, wal_size, sqlite},\n   \
    counts: {threads, messages, inbox_messages, telemetry, task_stream, agents}}\n\
    hub is null if none runs; its status is what GET /api/status says, or null without the right token.\n\
    Sizes are bytes.")]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let reader = file.reader()?;
    let (db, counts) = (reader.file_status(), reader.counts()?);
    let hub = client::runtime()?.block_on(async {
        let record = client::running(reader.path()).await?;
        let status = match Token::at(reader.path()) {
            Some(token) => client::status(&record, &token).await,
            None => None,
        };
        Some((record, status))
    });
    if args.json {
        let hub = hub.map(|(record, status)| json!({"url": record.url, "pid": record.pid, "status": status}));
        return output::json(&json!({"hub": hub, "db": db, "counts": counts}));
    }
    match &hub {
        None => output::line(&format!("hub      not running ({} serve)", file.command()))?,
        Some((record, None)) => output::line(&format!(
            "hub      {} (pid {}), but it does not take this file's token",
            record.url, record.pid
        ))?,
        Some((record, Some(status))) => {
            output::line(&format!(
                "hub      {} (pid {}), {}",
                record.url,
                record.pid,
                state(status)
            ))?;
            output::line(&format!(
                "clients  {}, watching with {}",
                status["clients"],
                status["watcher"]["using"].as_str().unwrap_or("?")
            ))?;
        }
    }
    output::line(&format!(
        "file     {} ({}, write-ahead log {})",
        db.path,
        output::bytes(db.size),
        output::bytes(db.wal_size)
    ))?;
    output::line(&format!(
        "rows     {} threads, {} messages, {} mail, {} telemetry, {} task events, {} agents",
        counts.threads, counts.messages, counts.inbox_messages, counts.telemetry, counts.task_stream, counts.agents
    ))
}

fn state(status: &Value) -> String {
    match status["trouble"]["message"].as_str() {
        None => "all well".to_owned(),
        Some(message) => format!(
            "{}: {}",
            status["state"].as_str().unwrap_or("trouble"),
            output::short(message, 300)
        ),
    }
}

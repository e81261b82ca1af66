//! `agenthub status`: shows hub and database status.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::args::DatabaseArgs;
use crate::cli::hub_client::{self, HubConnection};
use crate::cli::terminal;
use crate::text::quantity::{bytes, count};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one document:\n  \
    {hub: {url, pid, status}, db: {path, size, wal_size, sqlite},\n   \
    counts: {threads, messages, inbox_messages, telemetry, task_stream, agents}}\n\
    hub is null if no hub is running. Its status is the body of GET /api/status, or null if the token is rejected.\n\
    Sizes are in bytes.")]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let reader = database.reader()?;
    let (db, counts) = (reader.file_status(), reader.counts()?);
    let hub = hub_client::runtime()?.block_on(async {
        let mut hub = HubConnection::open(reader.path()).await?;
        let status = hub.status(reader.path()).await;
        Some((hub.record, status))
    });
    if args.json {
        let hub = hub.map(|(record, status)| json!({"url": record.url, "pid": record.pid, "status": status}));
        return terminal::json(&json!({"hub": hub, "db": db, "counts": counts}));
    }
    match &hub {
        None => {
            let state = hub_client::obstacle(reader.path())
                .unwrap_or_else(|| format!("not running (start it with: {} serve)", database.command()));
            terminal::line(&format!("hub      {}", terminal::short(&state, 300)))?;
        }
        Some((record, None)) => terminal::line(&format!(
            "hub      {} (pid {}), which rejects this database's token",
            record.url, record.pid
        ))?,
        Some((record, Some(status))) => {
            terminal::line(&format!(
                "hub      {} (pid {}), {}",
                record.url,
                record.pid,
                state(status)
            ))?;
            terminal::line(&format!(
                "clients  {} (change detection: {})",
                status["clients"],
                status["watcher"]["using"].as_str().unwrap_or("?")
            ))?;
        }
    }
    terminal::line(&format!(
        "database {} ({}, write-ahead log {})",
        db.path,
        bytes(db.size),
        bytes(db.wal_size)
    ))?;
    terminal::line(&format!(
        "rows     {}, {}, {} mail, {} telemetry, {}, {}",
        count(counts.threads, "thread"),
        count(counts.messages, "message"),
        counts.inbox_messages,
        counts.telemetry,
        count(counts.task_stream, "task event"),
        count(counts.agents, "agent")
    ))
}

fn state(status: &Value) -> String {
    match status["trouble"]["message"].as_str() {
        None => "ok".to_owned(),
        Some(message) => format!(
            "{}: {}",
            status["state"].as_str().unwrap_or("error"),
            terminal::short(message, 300)
        ),
    }
}

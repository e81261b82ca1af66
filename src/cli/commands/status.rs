//! `agenthub status`: shows hub and database status.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::args::DatabaseArgs;
use crate::cli::hub_client::{self, HubConnection};
use crate::cli::terminal;
use crate::protocol::now_ms;
use crate::store::Growth;
use crate::text::quantity::{bytes, count};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one document:\n  \
    {hub: {url, pid, status}, db: {path, size, wal_size, sqlite},\n   \
    counts: {threads, messages, inbox_messages, telemetry, task_stream, agents},\n   \
    growth: {since, bytes, bytes_per_day}}\n\
    hub is null if no hub is running. Its status is the body of GET /api/status, or null if the token is rejected.\n\
    Sizes are in bytes. growth is that of the database file since a hub noted its size, at most 30 days ago; null if none\n\
    has. bytes_per_day is null for less than a day.")]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let reader = database.reader()?;
    let (db, counts) = (reader.file_status(), reader.counts()?);
    let growth = reader.growth(now_ms())?;
    let hub = hub_client::runtime()?.block_on(async {
        let mut hub = HubConnection::open(reader.path()).await?;
        let status = hub.status(reader.path()).await;
        Some((hub.record, status))
    });
    if args.json {
        let hub = hub.map(|(record, status)| json!({"url": record.url, "pid": record.pid, "status": status}));
        return terminal::json(&json!({"hub": hub, "db": db, "counts": counts, "growth": growth}));
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
    if let Some(growth) = growth {
        terminal::line(&growth_line(&growth))?;
    }
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

fn growth_line(growth: &Growth) -> String {
    // The file never shrinks, except if it was replaced.
    let size = |n: i64| bytes(u64::try_from(n).unwrap_or(0));
    let per_day = growth
        .bytes_per_day
        .map_or_else(String::new, |n| format!(", {} per day", size(n)));
    format!(
        "growth   {} since {}{per_day}",
        size(growth.bytes),
        terminal::time(growth.since)
    )
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

//! `agenthub schema`: prints the annotated SQL schema, or the WebSocket protocol by example.

use anyhow::Result;
use serde_json::json;

use crate::cli::terminal;
use crate::store::{SCHEMA_SQL, SCHEMA_VERSION};

/// The protocol by example.
const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the WebSocket and HTTP protocol in Markdown instead
    #[arg(long)]
    wire: bool,
    /// Print {"version":…,"sql":…}, or {"wire":…} with --wire, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.wire && args.json {
        terminal::json(&json!({"wire": PROTOCOL}))
    } else if args.wire {
        terminal::line(PROTOCOL.trim_end())
    } else if args.json {
        terminal::json(&json!({"version": SCHEMA_VERSION, "sql": SCHEMA_SQL}))
    } else {
        terminal::line(SCHEMA_SQL.trim_end())
    }
}

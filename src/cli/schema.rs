//! `agenthub schema`: the contract of the file, in SQL; or that of the wire, by example.

use anyhow::Result;
use serde_json::json;

use super::output;
use crate::store::{SCHEMA_SQL, SCHEMA_VERSION};

/// The protocol by example, as it lies in the project's root.
const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the WebSocket's protocol instead, in Markdown
    #[arg(long)]
    wire: bool,
    /// Print {"version":…,"sql":…}, or {"wire":…}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.wire && args.json {
        output::json(&json!({"wire": PROTOCOL}))
    } else if args.wire {
        output::line(PROTOCOL.trim_end())
    } else if args.json {
        output::json(&json!({"version": SCHEMA_VERSION, "sql": SCHEMA_SQL}))
    } else {
        output::line(SCHEMA_SQL.trim_end())
    }
}

//! `agenthub schema`: the contract of the file, in SQL.

use anyhow::Result;
use serde_json::json;

use super::output;
use crate::store::{SCHEMA_SQL, SCHEMA_VERSION};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"version":…,"sql":…}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.json {
        output::json(&json!({"version": SCHEMA_VERSION, "sql": SCHEMA_SQL}))
    } else {
        output::line(SCHEMA_SQL.trim_end())
    }
}

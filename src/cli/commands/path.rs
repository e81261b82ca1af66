//! `agenthub path`: prints the path of the database, and creates it if it does not exist.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"path":…} as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let writer = database.writer()?;
    let path = writer.path().display().to_string();
    if args.json {
        terminal::json(&json!({"path": path}))
    } else {
        terminal::line(&path)
    }
}

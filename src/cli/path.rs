//! `agenthub path`: where the file is; it is there afterwards.

use anyhow::Result;
use serde_json::json;

use super::{File, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"path":…}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let writer = file.writer()?;
    let path = writer.path().display().to_string();
    if args.json {
        output::json(&json!({"path": path}))
    } else {
        output::line(&path)
    }
}

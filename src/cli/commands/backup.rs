//! `agenthub backup`: copies the database while it is in use.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::store::Existing;
use crate::text::quantity::{bytes, count};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Readers and writers are not blocked. The write-ahead log grows until the copy is done: by about 5 MiB/s at\n\
    500 rows/s. It exceeds its usual 32 MiB for databases of 1 GiB and more.\n\
    To restore the copy, run agenthub restore FILE. Never copy or move it over the database while agents run."
)]
pub(super) struct Args {
    /// Path of the copy
    file: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Print {"path":…,"size":…,"changes":…} as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let existing = if args.force {
        Existing::Replace
    } else {
        Existing::Refuse
    };
    let done = database.reader()?.backup(&args.file, existing)?;
    if args.json {
        return terminal::json(&done);
    }
    terminal::line(&format!(
        "Wrote {} ({}, {})",
        done.path,
        bytes(done.size),
        count(done.changes, "change")
    ))
}

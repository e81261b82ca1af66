//! `agenthub backup`: a copy of the file, while everybody goes on writing.

use std::path::PathBuf;

use anyhow::Result;

use super::{File, output};
use crate::store::Existing;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nobody waits for it. Until the copy is done the write-ahead log keeps what is written meanwhile:\n\
    about 5 MiB a second at 500 rows a second, and over its usual 32 MiB for files of a gigabyte and more."
)]
pub(super) struct Args {
    /// Where the copy goes
    file: PathBuf,
    /// Replace a file of that name
    #[arg(long)]
    force: bool,
    /// Print {"path":…,"size":…,"changes":…}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let existing = if args.force {
        Existing::Replace
    } else {
        Existing::Refuse
    };
    let done = file.reader()?.backup(&args.file, existing)?;
    if args.json {
        return output::json(&done);
    }
    output::line(&format!(
        "{} ({}, {} changes)",
        done.path,
        output::bytes(done.size),
        done.changes
    ))
}

//! `agenthub restore`: replaces the content of the database with a backup while agents and the hub run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::store::{Restore, RestoreDone};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Agents and the hub can run meanwhile: they continue with the restored rows. Their writes wait until it is done, \
    about 10 s per GiB; most wait 5 s at most, so stop the agents first if the database has more than 0.5 GiB. Clients of the hub \
    get POSITION_LOST and start over.\n\
    The state before is kept in hub.db.before-restore-TIME beside the database, with every row written until then; restore that \
    file to undo. A backup of an older version is migrated. The access token, your secret and the browsers' keys stay.",
    after_long_help = "Agents and the hub can run meanwhile: they continue with the restored rows. Their writes wait until it is done, \
    about 10 s per GiB; most wait 5 s at most, so stop the agents first if the database has more than 0.5 GiB. Clients of the hub \
    get POSITION_LOST and start over.\n\
    The state before is kept in hub.db.before-restore-TIME beside the database, with every row written until then; restore that \
    file to undo. A backup of an older version is migrated. The access token, your secret and the browsers' keys stay: they are \
    not in a backup. Rows that you wrote stay verified, except in a backup from another database.\n\n\
    --json prints one document:\n  \
    {path, kept, changes, replaced_changes, schema_differences}\n\
    kept is the path of the copy of the state before. changes and replaced_changes are the numbers of the newest change after and\n\
    before; replaced_changes is null if a damaged database could not be read."
)]
pub(super) struct Args {
    /// The backup, a file that agenthub backup has written; with --from-sql, - reads stdin
    file: PathBuf,
    /// FILE is an SQL dump, as sqlite3 .dump writes it
    #[arg(long)]
    from_sql: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let (path, network_fs) = (database.path()?, database.network_fs());
    let restore = if args.from_sql {
        let sql = dump(&args.file)?;
        Restore::of_dump(&path, network_fs, &args.file.display().to_string(), &sql)?
    } else {
        Restore::of_database(&path, network_fs, &args.file)?
    };
    if !args.yes && !terminal::confirm(&question(&path, &restore)?, "restore")? {
        return terminal::line("Nothing was changed.");
    }
    let done = restore.apply()?;
    if args.json {
        return terminal::json(&done);
    }
    print(&done)
}

/// Reads an SQL dump from a file, or from stdin for `-`.
fn dump(file: &Path) -> Result<String> {
    let read = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    Ok(read.map_err(|e| {
        Error::new(
            Code::Invalid,
            format!(
                "cannot read the dump {}: {e}; write it with sqlite3 and .dump",
                file.display()
            ),
        )
        .because(e)
    })?)
}

fn question(path: &Path, restore: &Restore) -> Result<String> {
    let replaced = restore.replaced_changes();
    let replaced = replaced.map_or_else(|| "it is damaged".to_owned(), |n| format!("{n} changes"));
    Ok(format!(
        "Replace the content of {} ({replaced}) with {} changes?",
        path.display(),
        restore.changes()?
    ))
}

fn print(done: &RestoreDone) -> Result<()> {
    terminal::line(&format!("Restored {} ({} changes)", done.path, done.changes))?;
    terminal::line(&format!("The state before is kept in {}", done.kept))?;
    for difference in &done.schema_differences {
        terminal::note(&format!("the schema differs: {difference}; see agenthub doctor"))?;
    }
    Ok(())
}

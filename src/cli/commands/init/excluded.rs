//! `agenthub init --exclude` and `--include`: the directories whose sessions are not recorded.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::fs::resolve::resolve;
use crate::store::Reader;
use crate::text::safe_text;

/// Changes the list and prints it.
pub(super) fn change(database: &DatabaseArgs, exclude: &[PathBuf], include: &[PathBuf]) -> Result<()> {
    let exclude = exclude.iter().map(|path| resolved(path)).collect::<Result<Vec<_>>>()?;
    let include = include.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
    let writer = database.writer()?;
    for path in &exclude {
        writer.exclude_directory(path)?;
    }
    for path in &include {
        if !writer.include_directory(path)? {
            let message = format!(
                "{} is not excluded; agenthub doctor lists the directories that are",
                path.display()
            );
            return Err(Error::new(Code::NotFound, message).into());
        }
    }
    if writer.excluded_directories()?.is_empty() {
        return terminal::line("Sessions in all directories are recorded.");
    }
    show(&writer)
}

/// Prints the list, if there is one.
pub(super) fn show(reader: &Reader) -> Result<()> {
    match describe(reader)? {
        Some(text) => terminal::line(&text),
        None => Ok(()),
    }
}

/// Returns a line with all directories; `None` without one.
pub(in crate::cli::commands) fn describe(reader: &Reader) -> Result<Option<String>> {
    let all: Vec<String> = reader
        .excluded_directories()?
        .iter()
        .map(|path| safe_text::escape(&path.display().to_string()).to_string())
        .collect();
    Ok((!all.is_empty()).then(|| format!("Sessions in these directories are not recorded: {}", all.join(", "))))
}

/// Returns the path to store. A directory that does not exist may be excluded.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = resolve(path)?;
    if path.to_str().is_none() {
        return Err(Error::new(
            Code::Invalid,
            format!("{} is not UTF-8; exclude a directory above it", path.display()),
        )
        .into());
    }
    Ok(path)
}

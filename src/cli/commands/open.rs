//! `agenthub open`: opens the hub's page in the browser.

use std::process::{Command, Stdio};

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::{hub_client, terminal};
use crate::error::{Code, Error};
use crate::store::Token;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"url":…} as JSON instead of opening the page
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let path = database.path()?;
    let Some(record) = hub_client::runtime()?.block_on(hub_client::running(&path)) else {
        let message = format!(
            "no hub is running for {}; start one with: {} serve",
            path.display(),
            database.command()
        );
        return Err(Error::new(Code::NotFound, message).into());
    };
    let url = hub_client::dashboard_url(&record.url, Some(&Token::of(&path)?));
    if args.json {
        return terminal::json(&json!({"url": url}));
    }
    let browser = std::env::var("BROWSER").ok().filter(|b| !b.is_empty());
    let opener = browser
        .as_deref()
        .unwrap_or(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    let opened = Command::new(opener)
        .arg(&url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match opened {
        Ok(status) if status.success() => Ok(()),
        // Print the URL if no browser can be started.
        _ => terminal::line(&url),
    }
}

//! `agenthub open`: the dashboard in the browser.

use std::process::{Command, Stdio};

use anyhow::Result;
use serde_json::json;

use super::{File, client, output};
use crate::error::{Code, Error};
use crate::store::Token;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"url":…} instead of opening it
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let path = file.path()?;
    let Some(record) = client::runtime()?.block_on(client::running(&path)) else {
        let message = format!("no hub serves {}; run {} serve", path.display(), file.command());
        return Err(Error::new(Code::NotFound, message).into());
    };
    let url = client::dashboard_url(&record.url, Some(&Token::of(&path)?));
    if args.json {
        return output::json(&json!({"url": url}));
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
        // Without a browser the address is still of use.
        _ => output::line(&url),
    }
}

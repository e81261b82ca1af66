//! `agenthub open`: opens the hub's page in the browser.
//!
//! For the person at a terminal, the URL has a one-time code, which the page exchanges for a key. Other
//! users can read the arguments of the browser while it starts. On Linux the hub therefore accepts a code
//! only from a connection of its own user; elsewhere the browser gets a private file that redirects to
//! the URL.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::{hub_client, terminal};
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::store::write_redirect;

/// Time in which the page must redeem its code. A browser may take long to start.
const CODE_LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print {"url":…} as JSON instead of opening the page
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let path = database.path()?;
    let Some(record) = hub_client::runtime()?.block_on(hub_client::running(&path)) else {
        let message = hub_client::obstacle(&path).unwrap_or_else(|| {
            format!(
                "no hub is running for {}; start one with: {} serve",
                path.display(),
                database.command()
            )
        });
        return Err(Error::new(Code::NotFound, message).into());
    };
    let url = match identity::person_present() {
        Ok(()) => hub_client::page_url_with_code(&path, &record, CODE_LIFETIME)?,
        Err(reason) => {
            terminal::note(&format!("the page opens without a key: {reason}"))?;
            hub_client::page_url(&record)
        }
    };
    if args.json {
        return terminal::json(&json!({"url": url}));
    }
    let browser = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
    let opener = browser
        .as_deref()
        .unwrap_or(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    let started = Command::new(opener)
        .arg(browser_argument(&path, &url)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // The browser keeps running when this terminal closes.
        .process_group(0)
        .spawn();
    match started {
        // The program may run for as long as the browser, so its end is not awaited.
        Ok(_) => terminal::line(&format!("opening {url}")),
        Err(_) => terminal::line(&url),
    }
}

/// Returns what the browser is started with.
fn browser_argument(db: &Path, url: &str) -> Result<OsString> {
    if cfg!(target_os = "linux") {
        return Ok(url.into());
    }
    Ok(write_redirect(db, url)?.into_os_string())
}

//! `agenthub token`: prints or replaces the access token, or the person's secret.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::store::SecretFile;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Create a new token and revoke the old one; a running hub switches within a second
    #[arg(long)]
    rotate: bool,
    /// Use your own secret, which stands for you; only in a terminal outside agents' shells
    #[arg(long)]
    person: bool,
    /// Print {"token":…} or {"person":…} as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let (file, name) = if args.person {
        identity::person_present()
            .map_err(|reason| Error::new(Code::Forbidden, format!("the person's secret is not shown: {reason}")))?;
        (SecretFile::Person, "person")
    } else {
        (SecretFile::Token, "token")
    };
    let writer = database.existing_writer()?;
    let secret = if args.rotate {
        file.rotate(writer.path())?
    } else {
        file.load_or_create(writer.path())?
    };
    if args.json {
        terminal::json(&json!({name: secret.text()}))
    } else {
        terminal::line(secret.text())
    }
}

//! `agenthub token`: prints or replaces the access token.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::store::Token;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Create a new token and revoke the old one; a running hub switches within a second
    #[arg(long)]
    rotate: bool,
    /// Print {"token":…} as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let writer = database.writer()?;
    let token = if args.rotate {
        Token::rotate(writer.path())?
    } else {
        Token::of(writer.path())?
    };
    if args.json {
        terminal::json(&json!({"token": token.secret()}))
    } else {
        terminal::line(token.secret())
    }
}

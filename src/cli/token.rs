//! `agenthub token`: the secret that lets programs and browsers in.

use anyhow::Result;
use serde_json::json;

use super::{File, output};
use crate::store::Token;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make a new token; within a second a running hub takes that alone, and ends what came with the old one
    #[arg(long)]
    rotate: bool,
    /// Print {"token":…}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let writer = file.writer()?;
    let token = if args.rotate {
        Token::rotate(writer.path())?
    } else {
        Token::of(writer.path())?
    };
    if args.json {
        output::json(&json!({"token": token.secret()}))
    } else {
        output::line(token.secret())
    }
}

//! `agenthub sessions`: lists the browsers that act for the person, and revokes their keys.

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{PageSession, PageSessions};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints an array of sessions, the oldest first:\n  \
    {id, port, browser, created_at, last_used_at, expires_at}\n\
    Times are Unix milliseconds.")]
pub(super) struct Args {
    /// Revoke the session with this id; repeat for more
    #[arg(long, value_name = "ID")]
    revoke: Vec<String>,
    /// Revoke all sessions
    #[arg(long, conflicts_with = "revoke")]
    revoke_all: bool,
    /// Print the remaining sessions as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let (reader, now) = (database.reader()?, now_ms());
    let path = reader.path();
    let mut all = PageSessions::load(path, now)?;
    if let Some(unknown) = args.revoke.iter().find(|id| all.sessions.iter().all(|s| s.id != **id)) {
        let message = format!("no session has the id {unknown:?}; run agenthub sessions to list them");
        return Err(Error::new(Code::NotFound, message).into());
    }
    if args.revoke_all || !args.revoke.is_empty() {
        let is_revoked = |session: &PageSession| args.revoke_all || args.revoke.contains(&session.id);
        all = PageSessions::update(path, now, |sessions| sessions.retain(|session| !is_revoked(session)))?;
    }
    let sessions: Vec<_> = all.sessions.iter().map(PageSession::summary).collect();
    if args.json {
        return terminal::json(&sessions);
    }
    if sessions.is_empty() {
        return terminal::line("no browser is signed in; open the page with: agenthub open");
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            [
                session.id.to_owned(),
                session.port.to_string(),
                terminal::time(session.created_at),
                terminal::time(session.last_used_at),
                terminal::time(session.expires_at),
                terminal::short(session.browser, 60),
            ]
        })
        .collect();
    terminal::table(["ID", "PORT", "CREATED", "LAST USED", "EXPIRES", "BROWSER"], &rows)
}

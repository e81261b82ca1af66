//! `agenthub inbox`: lists a mailbox, waits until something is in it, or takes from it.

use std::time::Duration;

use anyhow::Result;

use super::{File, VIA, output};
use crate::config::HUMAN;
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::protocol::now_ms;
use crate::store::{Claim, InboxFilter, InboxRow, ReadContext, Reader};
use crate::watcher;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_INBOX)]
pub(super) struct Args {
    /// Whose mail [default: whoever is speaking]
    #[arg(value_parser = super::name)]
    name: Option<String>,
    /// Read as this agent [default: $AGENTHUB_AGENT, the agent tool's session, or NAME]
    #[arg(long = "as", value_name = "NAME", value_parser = super::name)]
    speaker: Option<String>,
    /// Only mail nobody has read, and that nobody else works on
    #[arg(long)]
    unread: bool,
    /// Only mail from this sender
    #[arg(long, value_name = "NAME", value_parser = super::name)]
    from: Option<String>,
    /// Rows at most [default: 50, with --claim 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: Option<u16>,
    /// Wait up to this many seconds for unread mail; exit 124 if none comes
    #[arg(long, value_name = "SECS", value_parser = super::seconds)]
    wait: Option<Duration>,
    /// Take the oldest unread mail: nobody else gets it until the lease ends
    #[arg(long)]
    claim: bool,
    /// Seconds the claim lasts
    #[arg(long, value_name = "SECS", default_value = "300", requires = "claim", value_parser = super::seconds)]
    lease: Duration,
    /// Print the rows
    #[arg(long)]
    json: bool,
}

/// Rows of a listing unless more or fewer are asked for.
const LIMIT: u16 = 50;

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let speaker = identity::declared_speaker(args.speaker.as_deref());
    let name = args
        .name
        .clone()
        .or_else(|| speaker.clone())
        .unwrap_or_else(|| HUMAN.to_owned());
    let me = speaker.unwrap_or_else(|| name.clone());
    let reader = file.reader()?;
    if me != HUMAN && !reader.agent_exists(&me)? {
        // Whoever reads can be written to from now on.
        file.writer()?.register_agent(&me)?;
    }
    let look = |limit: usize| list(&reader, args, &name, &me, limit);
    let mail = if args.claim {
        take(file, args, &name, &me, &reader)?
    } else {
        let limit = usize::from(args.limit.unwrap_or(LIMIT));
        match args.wait {
            None => look(limit)?,
            Some(_) => {
                let found = watcher::read_until(&reader, args.wait, || Ok(some(look(limit)?)))?;
                let mut mail = found.ok_or_else(|| in_vain(args))?;
                mail.reverse();
                mail
            }
        }
    };
    print(&mail, args)
}

fn list(reader: &Reader, args: &Args, name: &str, me: &str, limit: usize) -> crate::error::Result<Vec<InboxRow>> {
    let unread = args.unread || args.claim || args.wait.is_some();
    reader.inbox(&InboxFilter {
        inbox: Some(name.to_owned()),
        reader: Some(me.to_owned()),
        status: unread.then(|| "unread".to_owned()),
        from: args.from.clone(),
        now: now_ms(),
        limit,
        ..InboxFilter::default()
    })
}

/// Takes mail, waiting for it if that is asked for.
fn take(file: &File, args: &Args, name: &str, me: &str, reader: &Reader) -> Result<Vec<InboxRow>> {
    let writer = file.writer()?;
    let claim = Claim {
        inbox: name,
        from: args.from.as_deref(),
        lease: args.lease,
        limit: usize::from(args.limit.unwrap_or(1)),
    };
    let take = || {
        let owner = ReadContext {
            reader: me,
            via: VIA,
            now: now_ms(),
        };
        writer.claim(claim, owner)
    };
    if args.wait.is_none() {
        return Ok(take()?);
    }
    // Those who wait in vain do not take the lock.
    let found = watcher::read_until(reader, args.wait, || {
        match reader.has_claimable_mail(claim, now_ms())? {
            true => Ok(some(take()?)),
            false => Ok(None),
        }
    })?;
    found.ok_or_else(|| in_vain(args).into())
}

fn some(mail: Vec<InboxRow>) -> Option<Vec<InboxRow>> {
    Some(mail).filter(|mail| !mail.is_empty())
}

fn in_vain(args: &Args) -> Error {
    let seconds = args.wait.unwrap_or_default().as_secs_f64();
    Error::new(Code::Timeout, format!("no mail came within {seconds} s"))
}

fn print(mail: &[InboxRow], args: &Args) -> Result<()> {
    if args.json && args.wait.is_some() {
        return mail.iter().try_for_each(output::json_line);
    }
    if args.json {
        return output::json(&mail);
    }
    if mail.is_empty() {
        return output::line("no mail");
    }
    let now = now_ms();
    let rows: Vec<_> = mail
        .iter()
        .map(|m| {
            [
                format!("#{}", m.n),
                output::time(m.created_at),
                output::short(&m.from_agent, 24),
                output::mail_state(m, now),
                output::short(&m.priority, 8),
                output::short(m.subject(), 60),
            ]
        })
        .collect();
    output::table(["ID", "WHEN", "FROM", "STATUS", "PRIORITY", "TITLE"], &rows)
}

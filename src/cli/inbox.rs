//! `agenthub inbox`: lists a mailbox, or waits until something is in it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{File, output};
use crate::config::{self, HUMAN};
use crate::error::{Code, Error};
use crate::event::{POLL_INTERVAL, now_ms};
use crate::store::{InboxFilter, InboxRow, Reader};
use crate::watch::{Mode, Watch};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose mail [default: whoever is speaking]
    name: Option<String>,
    /// Speak as this agent
    #[arg(long = "as", visible_alias = "from-me", value_name = "NAME")]
    speaker: Option<String>,
    /// Only mail nobody has read, and that nobody else works on
    #[arg(long)]
    unread: bool,
    /// Only mail from this sender
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Rows at most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Wait up to this many seconds for unread mail; exit 124 if none comes
    #[arg(long, value_name = "SECS")]
    wait: Option<f64>,
    /// Print the rows: one document, or with --wait JSON Lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| config::identity(args.speaker.as_deref()));
    let reader = file.reader()?;
    if name != HUMAN && !reader.knows_agent(&name)? {
        // Whoever reads can be written to from now on.
        file.writer()?.meet_agent(&name)?;
    }
    let filter = || InboxFilter {
        inbox: Some(name.clone()),
        status: (args.unread || args.wait.is_some()).then(|| "unread".to_owned()),
        from: args.from.clone(),
        now: now_ms(),
        limit: usize::from(args.limit),
        ..InboxFilter::default()
    };
    let mail = match args.wait {
        None => reader.inbox(&filter())?,
        Some(seconds) => {
            let wait = Duration::try_from_secs_f64(seconds)
                .map_err(|_| Error::new(Code::Usage, "--wait takes a number of seconds, 0 or more"))?;
            wait_for(&reader, wait, || Ok(reader.inbox(&filter())?))?
        }
    };
    print(&mail, args)
}

/// Looks until there is something, at the same moments at which a hub would look.
fn wait_for(reader: &Reader, wait: Duration, mut list: impl FnMut() -> Result<Vec<InboxRow>>) -> Result<Vec<InboxRow>> {
    let until = Instant::now() + wait;
    // Watching begins before the first look, so that nothing falls in between.
    let (mut watch, _poke) = Watch::start(reader.path(), Mode::Auto, POLL_INTERVAL, Arc::new(AtomicUsize::new(1)))?;
    let mut version = 0;
    loop {
        let mail = list()?;
        if !mail.is_empty() {
            return Ok(mail);
        }
        if Instant::now() >= until {
            return Err(Error::new(
                Code::WaitedInVain,
                format!("no mail came within {} s", wait.as_secs_f64()),
            )
            .into());
        }
        watch.wait_until(until, || {
            reader
                .data_version()
                .map_or(true, |v| std::mem::replace(&mut version, v) != v)
        });
    }
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
    let rows: Vec<_> = mail
        .iter()
        .map(|m| {
            [
                output::short(&m.message_id, 40),
                output::time(m.created_at),
                output::short(&m.from_agent, 24),
                output::short(&m.status, 10),
                output::short(&m.priority, 8),
                output::short(if m.title.is_empty() { &m.payload } else { &m.title }, 60),
            ]
        })
        .collect();
    output::table(["ID", "WHEN", "FROM", "STATUS", "PRIORITY", "TITLE"], &rows)
}

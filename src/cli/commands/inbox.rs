//! `agenthub inbox`: lists an inbox, waits for mail, or claims mail.

use std::time::Duration;

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, FenceArgs, VIA, is_read_only};
use crate::cli::commands::read::fenced_heading;
use crate::cli::commands::send::unknown_name;
use crate::cli::terminal;
use crate::config::{HUMAN, is_human};
use crate::error::{Code, Error};
use crate::integrations::fence::one_line;
use crate::integrations::{identity, mail_text};
use crate::protocol::now_ms;
use crate::store::{ALL_INBOXES, Claim, InboxFilter, InboxMessageRow, InboxOrder, Labels, ReadContext, Reader};
use crate::text::quantity::count;
use crate::watcher;

#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = args::JSON_INBOX)]
pub(super) struct Args {
    /// Owner of the inbox [default: the caller]
    #[arg(value_parser = args::id)]
    name: Option<String>,
    /// Name to read as [default: $AGENTHUB_AGENT, the agent tool's session or shell, or the owner of the inbox]
    #[arg(long = "as", value_name = "NAME", value_parser = args::name)]
    speaker: Option<String>,
    #[command(flatten)]
    fence: FenceArgs,
    /// Only unread mail that no other agent has claimed: urgent first, then action, then the rest, oldest first
    #[arg(long)]
    unread: bool,
    /// Only mail from this sender: an agent's name or label
    #[arg(long, value_name = "NAME", value_parser = args::id)]
    from: Option<String>,
    /// Maximum number of rows [default: 50, or 1 with --claim]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: Option<u16>,
    /// Wait up to SECS seconds for unread mail; exit with code 124 if none arrives. Creates the inbox if no agent
    /// has this name yet
    #[arg(long, value_name = "SECS", value_parser = args::seconds)]
    wait: Option<Duration>,
    /// Claim the first unread mail, by priority and age, so that no other agent gets it until the lease ends. Without a name, the
    /// owner is INBOX.PID, where PID is the parent process (the worker's shell or program): its later ack and
    /// reply are recognized
    #[arg(long)]
    claim: bool,
    /// Duration of the claim in seconds
    #[arg(long, value_name = "SECS", default_value = "300", requires = "claim", value_parser = args::seconds)]
    lease: Duration,
    /// Print rows as JSON
    #[arg(long)]
    json: bool,
}

/// Maximum characters of a title or text in a fenced list.
const MAX_SUBJECT: usize = 80;
/// Milliseconds after which another list of its inbox notes that the agent is active: a day.
const NOTED_FOR: i64 = 86_400_000;
/// Default maximum of rows in a list.
const DEFAULT_LIMIT: u16 = 50;

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    if args.wait.is_some() {
        database.ensure_created()?;
    }
    let reader = database.reader()?;
    let speaker = identity::declared_speaker(args.speaker.as_deref(), &reader)?;
    let sender = |name: &String| reader.agent_labelled(&reader.stored_name(name)?);
    let from = args.from.as_ref().map(sender).transpose()?;
    let args = &Args { from, ..args.clone() };
    let name = match args.name.as_ref().or(speaker.as_ref()) {
        Some(name) if !is_human(name) => inbox_called(&reader, name, args)?,
        _ => HUMAN.to_owned(),
    };
    let owner = match &speaker {
        Some(speaker) => speaker.clone(),
        None if name == HUMAN => name.clone(),
        None => identity::unnamed_owner(&name),
    };
    let is_own = speaker.as_ref() == Some(&name);
    let me = speaker.unwrap_or_else(|| name.clone());
    if args.wait.is_none() && !is_own {
        reader.require_known_recipient(&name).map_err(|e| match e.code() {
            Code::NotFound => unknown_name(&e, "use inbox --wait to create its inbox and wait for mail"),
            _ => e,
        })?;
    }
    let waiting = args.wait.is_some().then_some(name.as_str());
    let names = waiting.into_iter().chain([me.as_str()]);
    match register(database, &reader, names) {
        // A database that this user can only read still shows its mail.
        Err(e) if args.wait.is_none() && is_read_only(&e) => {}
        registered => registered?,
    }
    // Determined before the wait: mail is printed as soon as it arrives.
    let is_fenced = !args.json && args.fence.is_fenced();
    let mut filter = InboxFilter {
        inbox: Some(name.clone()),
        reader: Some(me.clone()),
        from: args.from.clone(),
        limit: usize::from(args.limit.unwrap_or(DEFAULT_LIMIT)),
        ..InboxFilter::default()
    };
    if args.unread || args.wait.is_some() {
        filter.status = Some("unread".to_owned());
        filter.order = InboxOrder::Handover;
    }
    let list = || {
        reader.inbox(&InboxFilter {
            now: now_ms(),
            ..filter.clone()
        })
    };
    let mail = match args.wait {
        _ if args.claim => claim(database, args, &name, &owner, &reader)?,
        None => list()?,
        Some(_) => {
            let found = watcher::read_until(&reader, args.wait, || Ok(non_empty(list()?)))?;
            found.ok_or_else(|| timed_out(args))?
        }
    };
    if args.json {
        return print_json(&mail, args);
    }
    if mail.is_empty() || !is_fenced {
        print(&mail)?;
    } else {
        print_fenced(&mail, &reader.sender_labels(&mail)?, &me, &database.command())?;
    }
    if args.claim || filter.status.is_none() || mail.len() < filter.limit {
        return Ok(());
    }
    let now = now_ms();
    let waiting = reader
        .inbox_count(&InboxFilter { now, ..filter })?
        .saturating_sub(mail.len());
    if waiting > 0 {
        let more = mail_text::more(waiting);
        terminal::line(&format!(
            "{more}; list up to N with --limit N, or read or ack these first"
        ))?;
    }
    Ok(())
}

/// Returns the inbox that `given` names: that of an agent, of its label, or of a unique beginning of either. With
/// `--wait`, the beginning of a name is another name.
fn inbox_called(reader: &Reader, given: &str, args: &Args) -> crate::error::Result<String> {
    let name = reader.agent_labelled(&reader.stored_name(given)?)?;
    if args.wait.is_some() || reader.is_known_recipient(&name)? {
        return Ok(name);
    }
    Ok(reader.agent_called(&name)?.unwrap_or(name))
}

/// Records that agents are active, so that others can send mail to them from now on, and `prune` does not delete an
/// agent that only lists.
fn register<'a>(database: &DatabaseArgs, reader: &Reader, names: impl Iterator<Item = &'a str>) -> Result<()> {
    for name in names.filter(|name| *name != HUMAN && *name != ALL_INBOXES) {
        if reader.agent_active_since(name, now_ms() - NOTED_FOR)? {
            continue;
        }
        let noted = database
            .receipt_writer()
            .and_then(|writer| Ok(writer.note_agent(name)?));
        // The next list notes a known agent.
        if !reader.agent_exists(name)? {
            noted?;
        }
    }
    Ok(())
}

/// Claims mail, and waits for it with `--wait`.
fn claim(
    database: &DatabaseArgs,
    args: &Args,
    name: &str,
    owner: &str,
    reader: &Reader,
) -> Result<Vec<InboxMessageRow>> {
    let writer = database.writer()?;
    let claim = Claim {
        inbox: name,
        from: args.from.as_deref(),
        lease: args.lease,
        limit: usize::from(args.limit.unwrap_or(1)),
    };
    let take_claim = || {
        let owner = ReadContext {
            reader: owner,
            via: VIA,
            now: now_ms(),
        };
        writer.claim(claim, owner)
    };
    if args.wait.is_none() {
        return Ok(take_claim()?);
    }
    // Take the write lock only once there is mail.
    let found = watcher::read_until(reader, args.wait, || {
        match reader.has_claimable_mail(claim, now_ms())? {
            true => Ok(non_empty(take_claim()?)),
            false => Ok(None),
        }
    })?;
    found.ok_or_else(|| timed_out(args).into())
}

fn non_empty(mail: Vec<InboxMessageRow>) -> Option<Vec<InboxMessageRow>> {
    Some(mail).filter(|mail| !mail.is_empty())
}

fn timed_out(args: &Args) -> Error {
    let seconds = args.wait.unwrap_or_default().as_secs_f64();
    Error::new(Code::Timeout, format!("no mail arrived within {seconds} s"))
}

fn print_json(mail: &[InboxMessageRow], args: &Args) -> Result<()> {
    if args.wait.is_some() {
        return mail.iter().try_for_each(terminal::json_line);
    }
    terminal::json(&mail)
}

/// Prints a list for a person.
fn print(mail: &[InboxMessageRow]) -> Result<()> {
    if mail.is_empty() {
        return terminal::line("no mail");
    }
    let now = now_ms();
    let rows: Vec<_> = mail
        .iter()
        .map(|m| {
            [
                format!("#{}", m.n),
                terminal::time(m.created_at),
                terminal::sender(&m.from_agent, m.verified, 24),
                terminal::mail_state(m, now),
                terminal::short(&m.priority, 8),
                terminal::short(m.subject(), 60),
            ]
        })
        .collect();
    terminal::table(["ID", "WHEN", "FROM", "STATUS", "PRIORITY", "TITLE"], &rows)
}

/// Prints a list for a model.
fn print_fenced(mail: &[InboxMessageRow], labels: &Labels, me: &str, command: &str) -> Result<()> {
    terminal::line(&mail_text::header(&count(mail.len(), "message"), mail, me))?;
    for mail in mail {
        terminal::line(&fenced_heading(mail, labels))?;
        let shown = one_line(mail.subject(), MAX_SUBJECT);
        terminal::fenced(&shown)?;
        if shown.chars().count() < mail.payload.trim_end().chars().count() {
            terminal::line(&format!("(full text: {command} read {})", mail.n))?;
        }
    }
    terminal::line(&mail_text::end(command, identity::shell_access()))
}

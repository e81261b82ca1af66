//! `agenthub trace`: shows who has seen a message or mail, or why its recipient has not.

use anyhow::Result;
use serde::Serialize;

use crate::cli::args::{self, DatabaseArgs};
use crate::cli::terminal;
use crate::config::is_human;
use crate::error::{Code, Error};
use crate::integrations::wake::{self, Decision, Request};
use crate::protocol::now_ms;
use crate::store::{InboxMessageRow, MessageRow, Reader, ReceiptRow, SubscriberRow, Trace, WakeRow};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one document. For mail:\n  \
    {type: \"mail\", mail, receipts: [{message_id, reader, state, via, created_at}],\n   \
    answers: [mail], known, last_read_at, wakes: [{n, agent, session, mail, chain, state,\n   \
    via, reason, asked_by, at, ended_at}], not_woken}\n\
    For a message in a thread:\n  \
    {type: \"message\", message, subscribers: [{instance_id, subscribed_at, last_ack_seq}]}\n\
    mail and message are rows as printed by `inbox --json` and `post --json`. A receipt's state is\n\
    offered (shown to the model), seen or acked; for mail to all also archived. known: the recipient exists as an agent.\n\
    last_read_at: when the recipient last read any mail. A wake's state is begun, given (to the tool), woken (the session\n\
    has begun a turn), failed or cancelled; not_woken: why there is none yet, or null. Times are Unix milliseconds or null.")]
pub(super) struct Args {
    /// Number or id of mail, or id of a message
    #[arg(value_parser = args::id)]
    id: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let reader = database.reader()?;
    let Some(trace) = reader.trace(&args.id)? else {
        let message = format!(
            "no mail or message has the id {}; list mail with agenthub inbox, messages with agenthub tail --json",
            terminal::short(&args.id, 80)
        );
        return Err(Error::new(Code::NotFound, message).into());
    };
    let wakes = match &trace {
        Trace::Mail { mail, receipts, .. } => Some(Wakes::of(&reader, mail, receipts)?),
        Trace::Message { .. } => None,
    };
    if args.json {
        return terminal::json(&TraceWithWakes {
            trace: &trace,
            wakes: wakes.as_ref(),
        });
    }
    match &trace {
        Trace::Mail {
            mail,
            receipts,
            answers,
            known,
            last_read_at,
        } => {
            let wakes = wakes.unwrap_or_default();
            trace_mail(mail, receipts, answers, &wakes.wakes)?;
            if let Some(why) = pending_reason(mail, receipts, *known, *last_read_at, now_ms()) {
                terminal::line(&why)?;
            }
            let not_woken = wakes.not_woken.map(|why| format!("not woken: {why}"));
            not_woken.map_or(Ok(()), |why| terminal::line(&why))
        }
        Trace::Message { message, subscribers } => trace_message(message, subscribers),
    }
}

/// The wakes for a piece of mail.
#[derive(Debug, Default, Serialize)]
struct Wakes {
    wakes: Vec<WakeRow>,
    /// Why the recipient is not woken for it; `None` if it was, or has the mail.
    not_woken: Option<String>,
}

/// A trace as `--json` prints it.
#[derive(Debug, Serialize)]
struct TraceWithWakes<'a> {
    #[serde(flatten)]
    trace: &'a Trace,
    #[serde(flatten)]
    wakes: Option<&'a Wakes>,
}

impl Wakes {
    fn of(reader: &Reader, mail: &InboxMessageRow, receipts: &[ReceiptRow]) -> Result<Self> {
        // A wake that was begun after the agent got the mail was for other mail.
        let is_before = |wake: &WakeRow| {
            let got = receipts.iter().filter(|receipt| receipt.reader == wake.agent);
            let got = got.map(|receipt| receipt.created_at).chain(mail.read_at).min();
            got.is_none_or(|got| wake.at <= got)
        };
        if mail.is_for_all() {
            return Ok(Self {
                wakes: reader.wakes_for_all(mail)?.into_iter().filter(is_before).collect(),
                not_woken: None,
            });
        }
        let wake = reader.wake_for(mail, &mail.to_inbox)?.filter(is_before);
        let is_waiting = wake.is_none() && mail.status == "unread" && receipts.is_empty();
        let is_agent = !is_human(&mail.to_inbox) && reader.agent_exists(&mail.to_inbox)?;
        let not_woken = match is_waiting && is_agent {
            true => match wake::decide(reader, &mail.to_inbox, Request::Mail, now_ms())? {
                Decision::Wake(_) => None,
                Decision::Later(obstacle) | Decision::No(obstacle) => Some(obstacle.to_string()),
            },
            false => None,
        };
        Ok(Self {
            wakes: wake.into_iter().collect(),
            not_woken,
        })
    }
}

fn trace_mail(
    mail: &InboxMessageRow,
    receipts: &[ReceiptRow],
    answers: &[InboxMessageRow],
    wakes: &[WakeRow],
) -> Result<()> {
    terminal::line(&terminal::strong(&format!(
        "#{}  {} → {}  {}",
        mail.n,
        terminal::sender(&mail.from_agent, mail.verified, 60),
        terminal::short(&mail.to_inbox, 60),
        terminal::short(mail.subject(), 80),
    )))?;
    step(
        mail.created_at,
        &format!("sent, {}", terminal::mail_state(mail, now_ms())),
    )?;
    for wake in wakes {
        step(wake.at, &wake_text(wake))?;
    }
    for receipt in receipts {
        let word = if receipt.state == "offered" { "to" } else { "by" };
        step(
            receipt.created_at,
            &format!(
                "{} {word} {} ({})",
                terminal::short(&receipt.state, 20),
                terminal::short(&receipt.reader, 60),
                terminal::short(&receipt.via, 40)
            ),
        )?;
    }
    answers.iter().try_for_each(|answer| {
        let text = format!(
            "answered by {}: #{} {}",
            terminal::sender(&answer.from_agent, answer.verified, 60),
            answer.n,
            terminal::short(&answer.payload, 80)
        );
        step(answer.created_at, &text)
    })
}

/// Returns what came of a wake.
fn wake_text(wake: &WakeRow) -> String {
    let by = match wake.asked_by.as_str() {
        "" => String::new(),
        who => format!(" for {}", terminal::short(who, 20)),
    };
    let (agent, via) = (terminal::short(&wake.agent, 60), terminal::short(&wake.via, 20));
    match (wake.state.as_str(), wake.ended_at) {
        ("woken", Some(end)) => format!(
            "woken{by}: {agent} began a turn after {} ms (by {via})",
            (end - wake.at).max(0)
        ),
        ("cancelled", _) => format!("wake cancelled: {}", terminal::short(&wake.reason, 120)),
        ("failed", _) => format!("not woken: {} (by {via})", terminal::short(&wake.reason, 120)),
        _ => format!("waking {agent}{by} (by {via})"),
    }
}

/// Returns the reason why the message is not handled yet; `None` if it was.
fn pending_reason(
    mail: &InboxMessageRow,
    receipts: &[ReceiptRow],
    known: bool,
    last_read_at: Option<i64>,
    now: i64,
) -> Option<String> {
    let recipient = terminal::short(&mail.to_inbox, 60);
    if let Some(holder) = mail.holder(now) {
        let until = terminal::time(mail.claim_expires_at.unwrap_or(0));
        return Some(format!(
            "claimed by {} until {until}; other agents can claim it after that",
            terminal::short(holder, 60)
        ));
    }
    if mail.status != "unread" {
        return None;
    }
    if let Some(end) = mail.expires_at.filter(|end| *end <= now) {
        return Some(format!("expired {}: inboxes no longer list it", terminal::time(end)));
    }
    if receipts.iter().any(|r| r.state != "offered") {
        let last = receipts.iter().rev().find(|r| r.state != "offered");
        return last
            .filter(|r| r.state == "seen")
            .map(|r| format!("{} has seen it but not acknowledged it", terminal::short(&r.reader, 60)));
    }
    if !receipts.is_empty() {
        return Some(format!("shown to {recipient}, but not confirmed as seen"));
    }
    Some(match (known, last_read_at) {
        _ if mail.is_for_all() => "no agent has read it".to_owned(),
        (false, None) => format!("no agent named {recipient} yet"),
        (_, None) => format!("{recipient} has never read any mail"),
        (_, Some(at)) if at < mail.created_at => {
            format!(
                "{recipient} last read mail {}, before this was sent",
                terminal::time(at)
            )
        }
        (_, Some(_)) => format!("{recipient} has since read other mail, but not this"),
    })
}

fn trace_message(message: &MessageRow, subscribers: &[SubscriberRow]) -> Result<()> {
    terminal::line(&terminal::strong(&format!(
        "{} #{}  {}  {}",
        terminal::short(&message.thread_id, 60),
        message.message_seq,
        terminal::sender(&message.from_id, message.verified, 60),
        terminal::short(&message.content, 80)
    )))?;
    step(message.created_at, "written")?;
    for subscriber in subscribers {
        let status = if subscriber.last_ack_seq >= message.message_seq {
            "acknowledged"
        } else {
            "not acknowledged"
        };
        step(
            subscriber.subscribed_at,
            &format!(
                "{status} by subscriber {} (acknowledged up to #{})",
                terminal::short(&subscriber.instance_id, 60),
                subscriber.last_ack_seq
            ),
        )?;
    }
    if subscribers.is_empty() {
        terminal::line("no client has subscribed to this thread")?;
    }
    Ok(())
}

fn step(at: i64, what: &str) -> Result<()> {
    terminal::line(&format!("{}  {what}", terminal::time(at)))
}

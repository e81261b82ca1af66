//! `agenthub trace`: where a message is, who has seen it, and if nobody has, why.

use anyhow::Result;

use super::{File, output};
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{InboxRow, MessageRow, ReceiptRow, SubscriberRow, Trace};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one document. Of mail:\n  \
    {type: \"mail\", mail, receipts: [{message_id, reader, state, via, created_at}],\n   \
    answers: [mail], known, last_read_at}\n\
    Of a message in a thread:\n  \
    {type: \"message\", message, subscribers: [{instance_id, subscribed_at, last_ack_seq}]}\n\
    mail and message are rows as `inbox --json` and `post --json` print them. A receipt's state is\n\
    offered (put before the model), seen or acked. known: the owner of the inbox has been here.\n\
    last_read_at: when the owner last read any mail. Times are Unix milliseconds, or null.")]
pub(super) struct Args {
    /// The number or id of mail, or the id of a message
    #[arg(value_parser = super::name)]
    id: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let Some(trace) = file.reader()?.trace(&args.id)? else {
        let message = format!(
            "no mail and no message has the id {}; agenthub inbox and agenthub tail show ids",
            output::short(&args.id, 80)
        );
        return Err(Error::new(Code::NotFound, message).into());
    };
    if args.json {
        return output::json(&trace);
    }
    match &trace {
        Trace::Mail {
            mail,
            receipts,
            answers,
            known,
            last_read_at,
        } => {
            trace_mail(mail, receipts, answers)?;
            let why = verdict(mail, receipts, *known, *last_read_at, now_ms());
            why.map_or(Ok(()), |why| output::line(&why))
        }
        Trace::Message { message, subscribers } => trace_message(message, subscribers),
    }
}

fn trace_mail(mail: &InboxRow, receipts: &[ReceiptRow], answers: &[InboxRow]) -> Result<()> {
    output::line(&output::strong(&format!(
        "#{}  {} → {}  {}",
        mail.n,
        output::short(&mail.from_agent, 60),
        output::short(&mail.to_inbox, 60),
        output::short(mail.subject(), 80),
    )))?;
    step(
        mail.created_at,
        &format!("sent, {}", output::mail_state(mail, now_ms())),
    )?;
    for receipt in receipts {
        let word = if receipt.state == "offered" { "to" } else { "by" };
        step(
            receipt.created_at,
            &format!(
                "{} {word} {} ({})",
                output::short(&receipt.state, 20),
                output::short(&receipt.reader, 60),
                output::short(&receipt.via, 40)
            ),
        )?;
    }
    answers.iter().try_for_each(|answer| {
        let text = format!(
            "answered by {}: #{} {}",
            output::short(&answer.from_agent, 60),
            answer.n,
            output::short(&answer.payload, 80)
        );
        step(answer.created_at, &text)
    })
}

/// Why nothing more has happened yet; nothing if all is done.
fn verdict(
    mail: &InboxRow,
    receipts: &[ReceiptRow],
    known: bool,
    last_read_at: Option<i64>,
    now: i64,
) -> Option<String> {
    let owner = output::short(&mail.to_inbox, 60);
    if let Some(holder) = mail.holder(now) {
        let until = output::time(mail.claim_expires_at.unwrap_or(0));
        return Some(format!(
            "{} works on it until {until}; then it is free again",
            output::short(holder, 60)
        ));
    }
    if mail.status != "unread" {
        return None;
    }
    if let Some(end) = mail.expires_at.filter(|end| *end <= now) {
        return Some(format!("no inbox lists it: it expired {}", output::time(end)));
    }
    if receipts.iter().any(|r| r.state != "offered") {
        let last = receipts.iter().rev().find(|r| r.state != "offered");
        let who = last.map_or_else(String::new, |r| output::short(&r.reader, 60));
        return match last {
            Some(r) if r.state == "seen" => Some(format!("{who} has seen it and not acknowledged it")),
            _ => None,
        };
    }
    if !receipts.is_empty() {
        return Some(format!(
            "it was put before {owner}, which is no proof that {owner} has looked"
        ));
    }
    Some(match (known, last_read_at) {
        _ if mail.is_for_all() => "nobody has read it".to_owned(),
        (false, None) => format!("no agent of the name {owner} has ever been here"),
        (_, None) => format!("{owner} has never read any mail"),
        (_, Some(at)) if at < mail.created_at => {
            format!("{owner} last read mail {}, before this came", output::time(at))
        }
        (_, Some(_)) => format!("{owner} has read other mail since, not this"),
    })
}

fn trace_message(message: &MessageRow, subscribers: &[SubscriberRow]) -> Result<()> {
    output::line(&output::strong(&format!(
        "{} #{}  {}  {}",
        output::short(&message.thread_id, 60),
        message.message_seq,
        output::short(&message.from_id, 60),
        output::short(&message.content, 80)
    )))?;
    step(message.created_at, "written")?;
    for one in subscribers {
        let how = if one.last_ack_seq >= message.message_seq {
            "acked by"
        } else {
            "not acked by"
        };
        step(
            one.subscribed_at,
            &format!(
                "{how} {}, who follows the thread and has acked up to #{}",
                output::short(&one.instance_id, 60),
                one.last_ack_seq
            ),
        )?;
    }
    if subscribers.is_empty() {
        output::line("nobody has followed this thread through the hub")?;
    }
    Ok(())
}

fn step(at: i64, what: &str) -> Result<()> {
    output::line(&format!("{}  {what}", output::time(at)))
}

//! `agenthub read`: one piece of mail in full; whoever reads their own has read it.

use anyhow::Result;

use super::{File, Speaker, VIA, output};
use crate::protocol::now_ms;
use crate::store::{InboxRow, ReadContext};
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// The mail's number or id
    #[arg(value_parser = super::name)]
    id: String,
    #[command(flatten)]
    speaker: Speaker,
    /// Print the row
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let (reader, now) = (args.speaker.name(), now_ms());
    let reading = ReadContext {
        reader: &reader,
        via: VIA,
        now,
    };
    let writer = file.writer()?;
    let mail = writer.require_mail_by_number_or_id(&args.id)?;
    let mail = writer.read_mail(&mail.id, reading)?;
    if args.json {
        return output::json(&mail);
    }
    show(&mail, now)?;
    if mail.status == "unread" && !mail.is_for_all() && mail.to_inbox != reader {
        output::note(&format!(
            "seen by {}; it stays unread for {}",
            safe_text::escape(&reader),
            safe_text::escape(&mail.to_inbox)
        ))?;
    }
    Ok(())
}

/// One piece of mail as a letter: what it is, its title, its text.
pub(super) fn show(mail: &InboxRow, now: i64) -> Result<()> {
    let mut facts = vec![
        format!(
            "{} → {}",
            output::short(&mail.from_agent, 60),
            output::short(&mail.to_inbox, 60)
        ),
        output::time(mail.created_at),
        output::short(&mail.message_type, 30),
    ];
    if mail.priority != "info" {
        facts.push(output::short(&mail.priority, 20));
    }
    facts.push(output::mail_state(mail, now));
    output::line(&format!("#{}  {}", mail.n, facts.join(" · ")))?;
    let text = mail.payload.trim_end();
    if !mail.title.is_empty() && !text.starts_with(&mail.title) {
        output::line(&output::strong(&output::short(&mail.title, 200)))?;
    }
    output::line("")?;
    output::line(&output::block(text, 0))
}

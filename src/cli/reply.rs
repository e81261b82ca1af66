//! `agenthub reply`: an answer in the same correlation. What was one's own to answer is
//! acknowledged by it.

use anyhow::Result;

use super::{File, Speaker, VIA, output, text_or_stdin};
use crate::protocol::now_ms;
use crate::store::{NewInbox, ReadContext};
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// The mail to answer: its number or id
    #[arg(value_parser = super::name)]
    id: String,
    /// The answer; - reads stdin
    text: String,
    #[command(flatten)]
    speaker: Speaker,
    /// A subject line [default: "Re: " and the question's]
    #[arg(long)]
    title: Option<String>,
    /// completion, handoff, feedback … [default: response]
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// info, action or urgent
    #[arg(long)]
    priority: Option<String>,
    /// Print the row
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: Args) -> Result<()> {
    // Read first: it may take long, and the file be another one then.
    let text = text_or_stdin(args.text)?;
    let (reader, writer) = (args.speaker.name(), file.writer()?);
    let question = writer.require_mail_by_number_or_id(&args.id)?;
    let mut answer = NewInbox {
        priority: args.priority,
        ..NewInbox::answer(&question, reader.clone(), text)
    };
    answer.title = args.title.or(answer.title);
    answer.message_type = args.message_type.or(answer.message_type);
    let reading = ReadContext {
        reader: &reader,
        via: VIA,
        now: now_ms(),
    };
    let row = writer.reply(&question, &answer, reading)?.into_row();
    if args.json {
        return output::json(&row);
    }
    output::line(&format!("{} → {}", row.message_id, safe_text::escape(&row.to_inbox)))
}

//! `agenthub post`: a message to a thread.

use anyhow::Result;

use super::{File, Speaker, output, text_or_stdin};
use crate::config::from_type;
use crate::store::NewMessage;
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MESSAGE)]
pub(super) struct Args {
    /// The thread; made if there is none of this name
    #[arg(value_parser = super::name)]
    thread: String,
    /// What to say; - reads stdin
    text: String,
    #[command(flatten)]
    speaker: Speaker,
    /// directive, question, proposal, status or result
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// A subject line
    #[arg(long)]
    subject: Option<String>,
    /// Whom it is for
    #[arg(long, value_name = "NAME", value_parser = super::name)]
    to: Option<String>,
    /// The id of the message this one answers
    #[arg(long, value_name = "ID", value_parser = super::name)]
    reply_to: Option<String>,
    /// An id of one's own: the same message twice is written once
    #[arg(long, value_parser = super::name)]
    id: Option<String>,
    /// Print the row
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: Args) -> Result<()> {
    let from_id = args.speaker.name();
    let new = NewMessage {
        id: args.id,
        from_type: Some(from_type(&from_id).to_owned()),
        to_type: args.to.as_deref().map(|name| from_type(name).to_owned()),
        to_id: args.to,
        kind: args.kind,
        subject: args.subject,
        reply_to: args.reply_to,
        ..NewMessage::new(args.thread, from_id, text_or_stdin(args.text)?)
    };
    let row = file.writer()?.post_message(&new)?.into_row();
    if args.json {
        output::json(&row)
    } else {
        output::line(&format!("{} #{}", safe_text::escape(&row.thread_id), row.message_seq))
    }
}

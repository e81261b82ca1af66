//! `agenthub post`: writes a message to a thread.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, SpeakerArgs, text_or_stdin};
use crate::cli::terminal;
use crate::config::{canonical, from_type};
use crate::store::NewMessage;

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MESSAGE)]
pub(super) struct Args {
    /// Name of the thread, created if it does not exist
    #[arg(value_parser = args::id)]
    thread: String,
    /// Text of the message; - reads it from stdin
    #[arg(value_parser = args::text())]
    text: String,
    #[command(flatten)]
    speaker: SpeakerArgs,
    /// Kind: directive, question, proposal, status or result
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Subject
    #[arg(long, value_parser = args::text())]
    subject: Option<String>,
    /// Name of the agent the message is addressed to
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    to: Option<String>,
    /// Id of the message this one answers
    #[arg(long, value_name = "ID", value_parser = args::id)]
    reply_to: Option<String>,
    /// Id for this message: posting the same id and content again has no effect
    #[arg(long, value_parser = args::id)]
    id: Option<String>,
    /// Print the row as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: Args) -> Result<()> {
    // Read stdin before opening the database: reading may take a long time, and the database may be
    // replaced meanwhile.
    let content = text_or_stdin(args.text)?;
    let writer = database.writer()?;
    let from_id = args.speaker.name(&writer)?;
    let thread = writer.stored_name(&args.thread)?;
    let new = NewMessage {
        id: args.id,
        from_type: Some(from_type(&from_id).to_owned()),
        to_type: args.to.as_deref().map(|name| from_type(name).to_owned()),
        to_id: args.to.as_deref().map(canonical),
        kind: args.kind,
        subject: args.subject,
        reply_to: args.reply_to,
        author: args::author(&from_id),
        ..NewMessage::new(thread, from_id, content)
    };
    let row = writer.post_message(&new)?.into_row();
    args::note_if_unverified(&row.from_id, row.verified)?;
    if args.json {
        terminal::json(&row)
    } else {
        terminal::line(&format!("{} #{}", terminal::name(&row.thread_id), row.message_seq))
    }
}

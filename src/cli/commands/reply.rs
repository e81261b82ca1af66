//! `agenthub reply`: answers mail with the same correlation id. A reply to a message in the caller's
//! own inbox acknowledges it.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, SpeakerArgs, VIA, text_or_stdin};
use crate::cli::terminal;
use crate::integrations::wake;
use crate::protocol::now_ms;
use crate::store::{NewInboxMessage, ReadContext};

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// Number or id of the mail to reply to
    #[arg(value_parser = args::id)]
    id: String,
    /// Text of the reply; - reads it from stdin
    #[arg(value_parser = args::text())]
    text: String,
    #[command(flatten)]
    speaker: SpeakerArgs,
    /// Subject [default: "Re: " and the subject of the mail]
    #[arg(long, value_parser = args::text())]
    title: Option<String>,
    /// Message type, such as completion, handoff or feedback [default: response]
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Priority: info, action or urgent
    #[arg(long)]
    priority: Option<String>,
    /// Print the row as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: Args) -> Result<()> {
    // Read stdin before opening the database: reading may take a long time, and the database may be
    // replaced meanwhile.
    let text = text_or_stdin(args.text)?;
    let writer = database.writer()?;
    args.speaker.name(&writer)?;
    let question = writer.require_mail_by_number_or_id(&args.id)?;
    let reader = args.speaker.worker(&question, &writer)?;
    let mut answer = NewInboxMessage {
        priority: args.priority,
        author: args::author(&reader),
        ..NewInboxMessage::answer(&question, reader.clone(), text)
    };
    answer.title = args.title.or(answer.title);
    answer.message_type = args.message_type.or(answer.message_type);
    let context = ReadContext {
        reader: &reader,
        via: VIA,
        now: now_ms(),
    };
    let row = writer.reply(&question, &answer, context)?.into_row();
    wake::after_sending(&writer, &row.to_inbox);
    args::note_if_unverified(&reader, row.verified)?;
    if args.json {
        return terminal::json(&row);
    }
    terminal::line(&format!("#{} → {}", row.n, terminal::name(&row.to_inbox)))
}

//! `agenthub send`: sends mail to an agent, to the human, or to all.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, SpeakerArgs, text_or_stdin};
use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::integrations::wake;
use crate::store::{NewInboxMessage, Writer};
use crate::text::safe_text;

/// Maximum characters of a title taken from the text.
const MAX_TITLE_CHARS: usize = 80;

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MAIL)]
pub(super) struct Args {
    /// Recipient: the name of an agent, human, or all (every agent and the human, as one shared mail)
    #[arg(value_parser = args::id)]
    to: String,
    /// Text of the mail; - reads it from stdin
    #[arg(value_parser = args::text())]
    text: String,
    #[command(flatten)]
    speaker: SpeakerArgs,
    /// Subject [default: the first line, up to 80 characters]
    #[arg(long, value_parser = args::text())]
    title: Option<String>,
    /// Message type: request, response, completion, handoff, info, audit, approval_request, feedback …
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Priority: info, action or urgent
    #[arg(long)]
    priority: Option<String>,
    /// Correlation id, shared by a question and its answers
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Create the inbox if no agent has this name or label yet
    #[arg(long)]
    new: bool,
    /// Print rows as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: Args) -> Result<()> {
    // Read stdin before opening the database: reading may take a long time, and the database may be
    // replaced meanwhile.
    let payload = text_or_stdin(args.text)?;
    let writer = database.writer()?;
    let from_agent = args.speaker.name(&writer)?;
    let author = args::author(&from_agent);
    let title = args.title.unwrap_or_else(|| title_of(&payload));
    let to_inbox = match args.new {
        true => writer.recipient_or_new(&args.to)?,
        false => recipient(&writer, &args.to)?,
    };
    let mail = NewInboxMessage {
        correlation_id: args.correlation,
        message_type: args.message_type,
        title: Some(title),
        priority: args.priority,
        author,
        ..NewInboxMessage::new(from_agent.clone(), to_inbox, payload)
    };
    let row = writer.send(&mail)?.into_row();
    wake::after_sending(&writer, &row.to_inbox);
    args::note_if_unverified(&from_agent, row.verified)?;
    if args.json {
        return terminal::json(&[row]);
    }
    terminal::line(&format!("#{} → {}", row.n, terminal::name(&row.to_inbox)))
}

/// Returns the inbox that mail to `to` goes to.
///
/// # Errors
/// As [`Reader::recipient`](crate::store::Reader::recipient); an unknown name with the advice to
/// use `--new`.
pub(super) fn recipient(writer: &Writer, to: &str) -> crate::error::Result<String> {
    writer.recipient(to).map_err(|e| match e.code() {
        Code::NotFound => unknown_name(&e, "use send --new to create its inbox"),
        _ => e,
    })
}

/// Adds advice to the error for an unknown name, which may end with a question.
pub(super) fn unknown_name(e: &Error, advice: &str) -> Error {
    let message = match safe_text::escape(e.message()) {
        question if question.ends_with('?') => {
            let (first, rest) = advice.split_at(1);
            format!("{question} {}{rest}", first.to_ascii_uppercase())
        }
        message => format!("{message}; {advice}"),
    };
    Error::new(e.code(), message)
}

/// Returns the beginning of the first line, as a title for mail without one.
pub(super) fn title_of(payload: &str) -> String {
    payload
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(MAX_TITLE_CHARS)
        .collect()
}

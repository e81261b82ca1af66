//! `agenthub send`: mail to an agent, to the human, or to everybody.

use anyhow::Result;

use super::{File, Speaker, output, text_or_stdin};
use crate::error::{Code, Error};
use crate::store::{EVERYBODY, NewInbox, Writer};
use crate::text::safe_text;

/// Characters of the first line that become the title.
const TITLE: usize = 80;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MAIL)]
pub(super) struct Args {
    /// An agent's name, human, or all
    #[arg(value_parser = super::name)]
    to: String,
    /// What to say; - reads stdin
    text: String,
    #[command(flatten)]
    speaker: Speaker,
    /// A subject line [default: the first line, up to 80 characters]
    #[arg(long)]
    title: Option<String>,
    /// request, response, completion, handoff, info, audit, approval_request, feedback …
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// info, action or urgent
    #[arg(long)]
    priority: Option<String>,
    /// What binds question and answer together
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Send although nobody of this name has been here
    #[arg(long)]
    new: bool,
    /// Print the rows
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: Args) -> Result<()> {
    // Read first: it may take long, and the file be another one then.
    let payload = text_or_stdin(args.text)?;
    let writer = file.writer()?;
    let from_agent = args.speaker.name();
    let title = args.title.unwrap_or_else(|| title_of(&payload));
    let to = match recipients(&writer, &args.to, &from_agent) {
        Err(e) if e.code() == Code::NotFound && args.new && args.to != EVERYBODY => vec![args.to],
        known => known?,
    };
    let mail: Vec<_> = to
        .into_iter()
        .map(|to_inbox| NewInbox {
            correlation_id: args.correlation.clone(),
            message_type: args.message_type.clone(),
            title: Some(title.clone()),
            priority: args.priority.clone(),
            ..NewInbox::new(from_agent.clone(), to_inbox, payload.clone())
        })
        .collect();
    let rows = writer.send_all(&mail)?;
    if args.json {
        return output::json(&rows);
    }
    for row in rows {
        output::line(&format!("{} → {}", row.message_id, safe_text::escape(&row.to_inbox)))?;
    }
    Ok(())
}

/// The inboxes that mail to `to` goes to. An unknown name is refused, saying how to send
/// all the same.
pub(super) fn recipients(writer: &Writer, to: &str, from: &str) -> crate::error::Result<Vec<String>> {
    writer.recipients(to, from).map_err(|e| match e.code() {
        Code::NotFound if to != EVERYBODY => Error::new(
            e.code(),
            format!("{} (send --new makes the inbox)", safe_text::escape(e.message())),
        ),
        _ => e,
    })
}

/// The title of mail that was given none.
pub(super) fn title_of(payload: &str) -> String {
    payload.lines().next().unwrap_or_default().chars().take(TITLE).collect()
}

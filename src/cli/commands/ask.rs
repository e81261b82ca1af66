//! `agenthub ask`: sends a question and waits for the answer.
//!
//! A script asks for approval with it:
//! `test "$(agenthub ask human 'Deploy now?' --from deploy)" = yes && ./deploy`.

use std::time::Duration;

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, SpeakerArgs, VIA, text_or_stdin};
use crate::cli::terminal;
use crate::config::is_human;
use crate::error::{Code, Error};
use crate::integrations::wake;
use crate::protocol::now_ms;
use crate::store::{ALL_INBOXES, InboxMessageRow, NewInboxMessage, ReadContext, message_id};
use crate::text::safe_text;
use crate::watcher;

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// Recipient: the name of an agent, or human
    #[arg(value_parser = args::id)]
    to: String,
    /// Question; - reads it from stdin
    #[arg(value_parser = args::text())]
    text: String,
    #[command(flatten)]
    speaker: SpeakerArgs,
    /// Stop waiting after SECS seconds and exit with code 124 [default: wait forever]
    #[arg(long, value_name = "SECS", value_parser = args::seconds)]
    wait: Option<Duration>,
    /// Subject [default: the first line, up to 80 characters]
    #[arg(long, value_parser = args::text())]
    title: Option<String>,
    /// Message type
    #[arg(long = "type", value_name = "TYPE", default_value = "request")]
    message_type: String,
    /// Priority: info, action or urgent
    #[arg(long, default_value = "action")]
    priority: String,
    /// Print the answer's row as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Returns the MCP tool that asks this recipient.
    pub(super) fn mcp_tool(&self) -> &'static str {
        match is_human(&self.to) {
            true => "ask_human",
            false => "send_message",
        }
    }
}

pub(super) fn run(database: &DatabaseArgs, args: Args) -> Result<()> {
    // Read stdin before opening the database: reading may take a long time, and the database may be
    // replaced meanwhile.
    let payload = text_or_stdin(args.text)?;
    let writer = database.writer()?;
    let asker = args.speaker.name(&writer)?;
    let to = writer.stored_name(&args.to)?;
    if to == asker || is_human(&to) && is_human(&asker) {
        return Err(cannot_ask_itself(&asker).into());
    }
    if to == ALL_INBOXES {
        return Err(Error::new(
            Code::Usage,
            "a question has one recipient; use the name of one agent, not all",
        )
        .into());
    }
    let to_inbox = super::send::recipient(&writer, &to)?;
    if to_inbox == asker {
        return Err(cannot_ask_itself(&asker).into());
    }
    let id = message_id()?;
    let question = NewInboxMessage {
        message_id: Some(id.clone()),
        correlation_id: Some(id),
        message_type: Some(args.message_type),
        title: Some(args.title.unwrap_or_else(|| super::send::title_of(&payload))),
        priority: Some(args.priority),
        author: args::author(&asker),
        ..NewInboxMessage::new(asker.clone(), to_inbox, payload)
    };
    let question = writer.send(&question)?.into_row();
    wake::after_sending(&writer, &question.to_inbox);
    args::note_if_unverified(&asker, question.verified)?;
    terminal::note(&format!(
        "asked {} (#{}), waiting for the answer",
        terminal::name(&to),
        question.n
    ))?;
    let Some(answer) = watcher::read_until(&writer, args.wait, || writer.answer_to(&question))? else {
        let message = format!(
            "no answer within {} s; a later answer goes to the inbox: {} inbox {asker}",
            args.wait.unwrap_or_default().as_secs_f64(),
            database.command()
        );
        return Err(Error::new(Code::Timeout, safe_text::escape(&message)).into());
    };
    let context = ReadContext {
        reader: &asker,
        via: VIA,
        now: now_ms(),
    };
    let acknowledged = writer.ack_mail(&answer.id, context)?;
    // The text is that of the row whose proof was checked.
    let answer = InboxMessageRow {
        status: acknowledged.status,
        read_at: acknowledged.read_at,
        ..answer
    };
    if args.json {
        return terminal::json(&answer);
    }
    terminal::line(&terminal::block(answer.payload.trim_end(), 0))
}

fn cannot_ask_itself(asker: &str) -> Error {
    let message = format!("{asker} cannot ask itself; set the sender with --from or AGENTHUB_AGENT");
    Error::new(Code::Usage, safe_text::escape(&message))
}

//! `agenthub ask`: a question, and then the answer. This is how a person approves what a
//! script wants to do: `test "$(agenthub ask human 'Deploy now?' --from deploy)" = yes && ./deploy`.

use std::time::Duration;

use anyhow::Result;

use super::{File, Speaker, VIA, output, text_or_stdin};
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{EVERYBODY, NewInbox, ReadContext, message_id};
use crate::text::safe_text;
use crate::watcher;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// Whom: an agent's name, or human
    #[arg(value_parser = super::name)]
    to: String,
    /// The question; - reads stdin
    text: String,
    #[command(flatten)]
    speaker: Speaker,
    /// Give up after this many seconds: exit 124, and the question stays [default: never]
    #[arg(long, value_name = "SECS", value_parser = super::seconds)]
    wait: Option<Duration>,
    /// A subject line [default: the first line, up to 80 characters]
    #[arg(long)]
    title: Option<String>,
    /// What kind of question
    #[arg(long = "type", value_name = "TYPE", default_value = "request")]
    message_type: String,
    /// info, action or urgent
    #[arg(long, default_value = "action")]
    priority: String,
    /// Print the answer's row instead of its text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: Args) -> Result<()> {
    // Read first: it may take long, and the file be another one then.
    let payload = text_or_stdin(args.text)?;
    let (asker, writer) = (args.speaker.name(), file.writer()?);
    if args.to == asker {
        let message = format!("{asker} would ask {asker}; say who asks with --from NAME or AGENTHUB_AGENT");
        return Err(Error::new(Code::Usage, safe_text::escape(&message)).into());
    }
    if args.to == EVERYBODY {
        return Err(Error::new(Code::Usage, "one question has one answer: ask one by name, not all").into());
    }
    let to_inbox = super::send::recipients(&writer, &args.to, &asker)?.remove(0);
    let id = message_id()?;
    let question = NewInbox {
        message_id: Some(id.clone()),
        correlation_id: Some(id),
        message_type: Some(args.message_type),
        title: Some(args.title.unwrap_or_else(|| super::send::title_of(&payload))),
        priority: Some(args.priority),
        ..NewInbox::new(asker.clone(), to_inbox, payload)
    };
    let question = writer.send(&question)?.into_row();
    output::note(&format!("asked {} (#{})", safe_text::escape(&args.to), question.n))?;
    let Some(answer) = watcher::read_until(&writer, args.wait, || writer.answer_to(&question))? else {
        let message = format!(
            "no answer within {} s; it will be in the inbox of {asker}: {} inbox {asker}",
            args.wait.unwrap_or_default().as_secs_f64(),
            file.command()
        );
        return Err(Error::new(Code::Timeout, safe_text::escape(&message)).into());
    };
    let reading = ReadContext {
        reader: &asker,
        via: VIA,
        now: now_ms(),
    };
    let answer = writer.ack_mail(&answer.id, reading)?;
    if args.json {
        return output::json(&answer);
    }
    output::line(&output::block(answer.payload.trim_end(), 0))
}

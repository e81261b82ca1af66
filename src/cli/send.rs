//! `agenthub send`: mail to an agent, to the human, or to everybody.

use anyhow::Result;

use super::{File, Speaker, output, text_or_stdin};
use crate::error::{Code, Error};
use crate::store::{EVERYBODY, NewInbox, Writer};

/// Characters of the first line that become the title.
const TITLE: usize = 80;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An agent's name, human, or all
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
    let writer = file.writer()?;
    let from_agent = args.speaker.name();
    let payload = text_or_stdin(args.text)?;
    let title = args
        .title
        .unwrap_or_else(|| payload.lines().next().unwrap_or_default().chars().take(TITLE).collect());
    let mut rows = Vec::new();
    for to_inbox in recipients(&writer, &args.to, &from_agent, args.new)? {
        let new = NewInbox {
            correlation_id: args.correlation.clone(),
            message_type: args.message_type.clone(),
            title: Some(title.clone()),
            priority: args.priority.clone(),
            ..NewInbox::new(from_agent.clone(), to_inbox, payload.clone())
        };
        rows.push(writer.send(&new)?.into_row());
    }
    if args.json {
        return output::json(&rows);
    }
    for row in rows {
        output::line(&format!("{} → {}", row.message_id, output::safe(&row.to_inbox)))?;
    }
    Ok(())
}

fn recipients(writer: &Writer, to: &str, from: &str, new: bool) -> Result<Vec<String>> {
    match writer.recipients(to, from) {
        Ok(names) => Ok(names),
        Err(e) if e.code() == Code::NotFound && to != EVERYBODY => {
            if new {
                return Ok(vec![to.to_owned()]);
            }
            let message = format!("{}; --new sends all the same", output::safe(e.message()));
            Err(Error::new(Code::NotFound, message).into())
        }
        Err(e) => Err(e.into()),
    }
}

//! `agenthub ack`: this mail is dealt with.

use anyhow::Result;

use super::{File, Speaker, VIA, output};
use crate::protocol::now_ms;
use crate::store::ReadContext;
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(after_long_help = super::JSON_MAIL)]
pub(super) struct Args {
    /// Numbers or ids, as inbox shows them
    #[arg(required = true, value_name = "ID", value_parser = super::name)]
    ids: Vec<String>,
    #[command(flatten)]
    speaker: Speaker,
    /// Print the rows
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let (reader, writer) = (args.speaker.name(), file.writer()?);
    let mut rows = Vec::new();
    let mut failed = None;
    // One that cannot be acknowledged does not stand in the way of the others.
    for id in &args.ids {
        let reading = ReadContext {
            reader: &reader,
            via: VIA,
            now: now_ms(),
        };
        let acked = writer
            .require_mail_by_number_or_id(id)
            .and_then(|mail| writer.ack_mail(&mail.id, reading));
        match acked {
            Ok(mail) => rows.push(mail),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    if args.json {
        output::json(&rows)?;
    } else {
        for mail in &rows {
            let title = output::short(mail.subject(), 60);
            output::line(format!("#{} acked  {title}", mail.n).trim_end())?;
            if mail.status == "unread" && !mail.is_for_all() {
                output::note(&format!(
                    "acknowledged by {}; it stays unread for {}",
                    safe_text::escape(&reader),
                    safe_text::escape(&mail.to_inbox)
                ))?;
            }
        }
    }
    failed.map_or(Ok(()), |e| Err(e.into()))
}

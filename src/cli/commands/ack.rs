//! `agenthub ack`: acknowledges mail.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, SpeakerArgs, VIA};
use crate::cli::terminal;
use crate::protocol::now_ms;
use crate::store::ReadContext;

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MAIL)]
pub(super) struct Args {
    /// Numbers or ids of mail, as shown by inbox
    #[arg(required = true, value_name = "ID", value_parser = args::id)]
    ids: Vec<String>,
    #[command(flatten)]
    speaker: SpeakerArgs,
    /// Print rows as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let writer = database.writer()?;
    // Refuse an invalid name before anything is acknowledged.
    args.speaker.name(&writer)?;
    let mut rows = Vec::new();
    let mut failed = None;
    // Acknowledge the other ids even if one fails, then report the first error.
    for id in &args.ids {
        let acked = writer.require_mail_by_number_or_id(id).and_then(|mail| {
            let reader = args.speaker.worker(&mail, &writer)?;
            let context = ReadContext {
                reader: &reader,
                via: VIA,
                now: now_ms(),
            };
            Ok((writer.ack_mail(&mail.id, context)?, reader))
        });
        match acked {
            Ok(acked) => rows.push(acked),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    if args.json {
        let rows: Vec<_> = rows.iter().map(|(mail, _)| mail).collect();
        terminal::json(&rows)?;
    } else {
        for (mail, reader) in &rows {
            let title = terminal::short(mail.subject(), 60);
            terminal::line(format!("#{} acknowledged  {title}", mail.n).trim_end())?;
            if mail.status == "unread" && !mail.is_for_all() {
                terminal::note(&format!(
                    "acknowledged by {}; still unread for {}",
                    terminal::name(reader),
                    terminal::name(&mail.to_inbox)
                ))?;
            }
        }
    }
    failed.map_or(Ok(()), |e| Err(e.into()))
}

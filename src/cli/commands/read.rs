//! `agenthub read`: shows one message of an inbox in full. A message in the caller's own inbox becomes
//! read.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs, FenceArgs, SpeakerArgs, VIA, is_read_only};
use crate::cli::rendered::{self, Styles};
use crate::cli::terminal;
use crate::integrations::fence::{one_line, quoted};
use crate::integrations::{identity, mail_text};
use crate::protocol::now_ms;
use crate::render::tree::Rendered;
use crate::render::{Source, render};
use crate::store::{InboxMessageRow, Labels, ReadContext};

#[derive(Debug, clap::Args)]
#[command(after_long_help = args::JSON_MAIL_ONE)]
pub(super) struct Args {
    /// Number or id of the mail
    #[arg(value_parser = args::id)]
    id: String,
    #[command(flatten)]
    speaker: SpeakerArgs,
    #[command(flatten)]
    fence: FenceArgs,
    /// Print the row as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let (reader, now) = (args.speaker.name(&database.reader()?)?, now_ms());
    let context = ReadContext {
        reader: &reader,
        via: VIA,
        now,
    };
    let read = database.receipt_writer().and_then(|writer| {
        let mail = writer.require_mail_by_number_or_id(&args.id)?;
        Ok(writer.read_mail(&mail.id, context)?)
    });
    let (mail, is_marked) = match read {
        Err(e) if is_read_only(&e) => {
            let mail = database.reader()?.require_mail_by_number_or_id(&args.id)?;
            terminal::note("not marked as read: this user cannot write the database")?;
            (mail, false)
        }
        read => (read?, true),
    };
    if args.json {
        return terminal::json(&mail);
    }
    if args.fence.is_fenced() {
        let labels = database.reader()?.sender_labels(std::slice::from_ref(&mail))?;
        show_fenced(&mail, &labels, &reader, &database.command())?;
    } else {
        show(&mail, now)?;
    }
    if is_marked && mail.status == "unread" && !mail.is_for_all() && mail.to_inbox != reader {
        terminal::note(&format!(
            "seen by {}; still unread for {}",
            terminal::name(&reader),
            terminal::name(&mail.to_inbox)
        ))?;
    }
    Ok(())
}

/// Prints an inbox message: a line of facts, its title unless the text begins with it, its text. On a terminal, the text
/// is rendered.
fn show(mail: &InboxMessageRow, now: i64) -> Result<()> {
    let mut facts = vec![
        format!(
            "{} → {}",
            terminal::sender(&mail.from_agent, mail.verified, 60),
            terminal::short(&mail.to_inbox, 60)
        ),
        terminal::time(mail.created_at),
        terminal::short(&mail.message_type, 30),
    ];
    if mail.priority != "info" {
        facts.push(terminal::short(&mail.priority, 20));
    }
    facts.push(terminal::mail_state(mail, now));
    terminal::line(&format!("#{}  {}", mail.n, facts.join(" · ")))?;
    let text = mail.payload.trim_end();
    if !mail.title.is_empty() && !text.starts_with(&mail.title) {
        terminal::line(&terminal::strong(&terminal::short(&mail.title, 200)))?;
    }
    terminal::line("")?;
    match terminal::is_terminal().then(|| render(Source::Message(text))) {
        Some(Rendered { blocks, plain: None }) => {
            let styles = if terminal::wants_color() {
                Styles::Shown
            } else {
                Styles::Omitted
            };
            terminal::line(&rendered::lines(&blocks, styles).join("\n"))
        }
        // A program gets the text as it is, apart from hidden characters.
        _ => terminal::line(&terminal::block(text, 0)),
    }
}

/// Prints an inbox message for a model.
fn show_fenced(mail: &InboxMessageRow, labels: &Labels, reader: &str, command: &str) -> Result<()> {
    terminal::line(&mail_text::header("1 message", std::slice::from_ref(mail), reader))?;
    terminal::line(&fenced_heading(mail, labels))?;
    if !mail.title.is_empty() && !mail.payload.starts_with(&mail.title) {
        terminal::fenced(&mail.title)?;
    }
    terminal::fenced(mail.payload.trim_end())?;
    terminal::line(&mail_text::end(command, identity::shell_access()))
}

/// Returns the line before a fenced inbox message, with recipient, time and status.
pub(super) fn fenced_heading(mail: &InboxMessageRow, labels: &Labels) -> String {
    format!(
        "{} · to {} · {} · {}",
        mail_text::heading(mail, labels),
        quoted(&mail.to_inbox, 80),
        terminal::time(mail.created_at),
        one_line(&terminal::mail_state(mail, now_ms()), 80)
    )
}

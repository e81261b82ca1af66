//! `agenthub rename`: gives an agent a label, a second name that stays with its terminal.

use anyhow::Result;

use crate::cli::args::{self, DatabaseArgs};
use crate::cli::terminal;
use crate::config::{composed, is_human};
use crate::error::{Code, Error};
use crate::integrations::{identity, session_check};
use crate::store::{ALL_INBOXES, AgentState, Writer};
use crate::text::safe_text;

/// Maximum characters of a label.
const MAX_LABEL: usize = 60;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Other agents can use the label as the agent's name in send, ask and inbox. It stays with the \
    terminal: a later session of the same tool there gets it."
)]
pub(super) struct Args {
    /// The label; "" removes it
    #[arg(value_name = "NAME", value_parser = label)]
    label: String,
    /// The agent to label [default: the caller]. In an agent's shell, only the caller or an agent whose process is gone
    #[arg(long, value_name = "AGENT", value_parser = args::agent)]
    of: Option<String>,
}

/// Parses a label.
fn label(text: &str) -> Result<String, String> {
    let label = composed(text.trim());
    if is_human(&label) || label.eq_ignore_ascii_case(ALL_INBOXES) {
        return Err(format!("{label:?} is reserved; use another label"));
    }
    if label.chars().count() > MAX_LABEL {
        return Err(format!("a label has at most {MAX_LABEL} characters"));
    }
    if label.chars().any(safe_text::is_hidden) {
        return Err("a label has no control or invisible characters".to_owned());
    }
    Ok(label)
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let writer = database.existing_writer()?;
    let agent = match &args.of {
        Some(given) => writer.recipient(given)?,
        None => identity::declared_speaker(None, &writer)?.unwrap_or_default(),
    };
    if agent.is_empty() || is_human(&agent) || agent == ALL_INBOXES {
        let message = "no agent runs this command; name the agent to label with --of";
        return Err(Error::new(Code::Usage, message).into());
    }
    if args.of.is_some() {
        require_permission(&writer, &agent)?;
    }
    writer.atomically(|| rename(&writer, &agent, &args.label))?;
    let agent = terminal::name(&agent);
    terminal::line(&match args.label.as_str() {
        "" => format!("{agent} has no label"),
        label => format!("{agent} is also {}", terminal::name(label)),
    })
}

/// Checks that the caller can change the label of `agent`: the person that of each agent, an agent its own and that
/// of an agent whose process is gone.
fn require_permission(writer: &Writer, agent: &str) -> crate::error::Result<()> {
    let Some(marker) = identity::agent_shell() else {
        return Ok(());
    };
    let is_own = identity::declared_speaker(None, writer)?.as_deref() == Some(agent);
    let is_gone = || match writer.agent(agent)? {
        Some(row) => session_check::is_gone(writer, &row),
        None => Ok(true),
    };
    if is_own || is_gone()? {
        return Ok(());
    }
    let message = format!(
        "{marker}, and the label of {:?} belongs to that agent; leave out --of to label yourself, or let the person run \
         the command in a terminal of their own",
        safe_text::escape(agent)
    );
    Err(Error::new(Code::Usage, message))
}

/// Sets the label. Takes it from an agent whose process is gone.
fn rename(writer: &Writer, agent: &str, label: &str) -> crate::error::Result<()> {
    let conflict = |reason: &str| {
        let message = format!("{:?} is {reason}; use another label", safe_text::escape(label));
        Error::new(Code::Conflict, message)
    };
    if label != agent && !label.is_empty() && writer.agent_exists(label)? {
        return Err(conflict("the name of an agent"));
    }
    for other in writer
        .agents()?
        .iter()
        .filter(|other| other.label == label && other.id != agent)
    {
        if label.is_empty() {
            break;
        }
        if !session_check::is_gone(writer, other)? {
            return Err(conflict(&format!("the label of {}", safe_text::escape(&other.id))));
        }
        writer.move_label(label, &other.id, agent)?;
    }
    let state = AgentState {
        label: Some(label.to_owned()),
        ..AgentState::default()
    };
    writer.set_agent(agent, &state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_invisible_labels_are_refused() {
        for bad in ["human", " Human", "ALL", "a\u{200b}b", "a\nb", &"x".repeat(61)] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
        assert_eq!(label(" reviewer ").as_deref(), Ok("reviewer"));
        assert_eq!(label("").as_deref(), Ok(""));
    }
}

//! `agenthub send`: mail to an agent, to the human, or to everybody.

use anyhow::Result;

use super::{File, Speaker, output, text_or_stdin};
use crate::config::HUMAN;
use crate::error::{Code, Error};
use crate::store::{NewInbox, Writer};

/// The name that stands for every known agent.
const EVERYBODY: &str = "all";
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
    let agents: Vec<String> = writer.agents()?.into_iter().map(|agent| agent.id).collect();
    if to == EVERYBODY {
        let others: Vec<String> = agents.into_iter().filter(|name| name != from).collect();
        if others.is_empty() {
            return Err(Error::new(Code::NotFound, "nobody else has been here yet").into());
        }
        return Ok(others);
    }
    if new || to == HUMAN || agents.iter().any(|name| name == to) {
        return Ok(vec![to.to_owned()]);
    }
    let meant = closest(to, agents.iter().map(String::as_str).chain([HUMAN]));
    let advice = meant.map_or_else(
        || "--new sends all the same".to_owned(),
        |name| format!("did you mean {name}? --new sends all the same"),
    );
    Err(Error::new(
        Code::NotFound,
        format!(
            "no agent {} has been here; {}",
            output::short(to, 60),
            output::safe(&advice)
        ),
    )
    .into())
}

/// The name that is most like `typed`, if one is at all.
fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = typed.chars().count().div_ceil(3).max(1);
    names
        .map(|name| (distance(typed, name), name))
        .filter(|(d, _)| *d <= most)
        .min()
        .map(|(_, name)| name)
}

/// How many characters have to be put in, taken out or changed to make one of the other
/// (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_meant_is_found() {
        let names = ["planner", "reviewer", "human"];
        assert_eq!(closest("plannr", names.into_iter()), Some("planner"));
        assert_eq!(closest("reveiwer", names.into_iter()), Some("reviewer"));
        assert_eq!(closest("deploy", names.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}

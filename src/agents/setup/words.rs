//! The command line of a hook, taken apart as a shell does.
//!
//! For: telling our own command from one that merely mentions this program.
//! Not for: running it, or anything a shell does beyond quotes.

use std::ops::Range;
use std::path::Path;

use crate::agents::Vendor;
use crate::agents::hook;

/// One word: what it says, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    at: Range<usize>,
}

/// Whose command a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// `[path/]agenthub [--db X] hook TOOL`, as `init` writes it.
    Ours,
    /// The same with variables, which somebody has put there: it does our work, and stays as
    /// it is.
    Named,
    /// Anybody else's.
    Foreign,
}

/// A command of ours, with what matters for trying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    whose: Whose,
    /// The program's word.
    pub(super) program: String,
    /// The agent's name, if the command gives it one.
    pub(super) agent: Option<String>,
    db: Option<Range<usize>>,
}

/// Whose command this is.
pub(super) fn whose(command: &str, vendor: Vendor) -> Whose {
    call(command, vendor).map_or(Whose::Foreign, |call| call.whose)
}

/// The command as a call of our hook for `vendor`, if it is one and nothing else.
pub(super) fn call(command: &str, vendor: Vendor) -> Option<Call> {
    let words = split(command)?;
    let variables = words.iter().take_while(|word| is_assignment(&word.text)).count();
    let (given, called) = words.split_at(variables);
    let text = |i: usize| called.get(i).map(|word| word.text.as_str());
    let db = (text(1) == Some("--db")).then(|| called.get(2).map(|word| word.at.clone()));
    let rest = if db.is_some() { 3 } else { 1 };
    let is_call = Path::new(text(0)?).file_name()? == "agenthub"
        && called.len() == rest + 2
        && text(rest) == Some("hook")
        && text(rest + 1) == Some(hook::tool(vendor));
    let agent = given
        .iter()
        .rev()
        .find_map(|word| word.text.strip_prefix("AGENTHUB_AGENT="));
    is_call.then(|| Call {
        whose: if given.is_empty() && !command.contains('$') {
            Whose::Ours
        } else {
            Whose::Named
        },
        program: called[0].text.clone(),
        agent: agent.map(str::to_owned),
        db: db.flatten(),
    })
}

impl Call {
    /// The same command on another file. `db` is quoted already.
    pub(super) fn on(&self, command: &str, db: &str) -> String {
        let mut command = command.to_owned();
        if let Some(at) = &self.db {
            command.replace_range(at.clone(), db);
        }
        command
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The words of a simple command; `None` if a shell would do more with it than start one
/// program. Variables stay as they are written.
fn split(command: &str) -> Option<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    let mut open: Option<Word> = None;
    let mut quote = None;
    let mut chars = command.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '`' && quote != Some('\'') || c == '$' && chars.peek().is_some_and(|(_, next)| *next == '(') {
            return None;
        }
        if quote.is_none() && matches!(c, ' ' | '\t') {
            words.extend(open.take());
            continue;
        }
        if quote.is_none()
            && (matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')' | '\n') || c == '#' && open.is_none())
        {
            return None;
        }
        let word = open.get_or_insert_with(|| Word {
            text: String::new(),
            at: at..at,
        });
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(mark), _) if c == mark => quote = None,
            (None | Some('"'), '\\') => {
                let next = chars.next()?.1;
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.text.push('\\');
                }
                word.text.push(next);
            }
            _ => word.text.push(c),
        }
        word.at.end = chars.peek().map_or(command.len(), |(next, _)| *next);
    }
    words.extend(open);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_the_command_and_nothing_else() {
        for (command, expected) in [
            ("agenthub hook claude-code", Whose::Ours),
            ("\"/a b/agenthub\" hook claude-code ", Whose::Ours),
            (
                "'/a/agenthub' --db \"/x \\\"y\\\"/hub.db\" hook claude-code",
                Whose::Ours,
            ),
            ("AGENTHUB_AGENT=planner /opt/agenthub hook claude-code", Whose::Named),
            ("\"$HOME/bin/agenthub\" hook claude-code", Whose::Named),
            ("logger agenthub; my-tool hook claude-code", Whose::Foreign),
            ("agenthub hook claude-code && say done", Whose::Foreign),
            ("agenthub hook claude-code >> log", Whose::Foreign),
            ("agenthub hook codex", Whose::Foreign),
            ("agenthub-wrapper hook claude-code", Whose::Foreign),
            ("agenthub --db hook claude-code", Whose::Foreign),
            ("my-tool agenthub hook claude-code", Whose::Foreign),
            ("$(agenthub) agenthub hook claude-code", Whose::Foreign),
            ("agenthub hook 'claude-code", Whose::Foreign),
            ("", Whose::Foreign),
        ] {
            assert_eq!(whose(command, Vendor::Claude), expected, "{command}");
        }
    }

    #[test]
    fn a_command_is_tried_on_another_file() {
        let command = "AGENTHUB_AGENT='my planner' agenthub --db \"/a b\" hook codex";
        let call = call(command, Vendor::Codex).unwrap();
        assert_eq!(call.agent.as_deref(), Some("my planner"));
        assert_eq!(
            call.on(command, "\"/tmp/x\""),
            "AGENTHUB_AGENT='my planner' agenthub --db \"/tmp/x\" hook codex"
        );
    }
}

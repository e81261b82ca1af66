//! Writes the command line of a hook, and distinguishes it from other commands that contain the word
//! agenthub. Commands are split into words as by a shell; nothing is expanded or run.

use std::ops::Range;
use std::path::Path;

use crate::integrations::spec::InstallTarget;
use crate::text::shell;

/// Returns the command line that `init` installs.
pub(super) fn for_target(target: &InstallTarget, hook_word: &str) -> String {
    let program = shell::quote(&target.program);
    match &target.db {
        Some(db) => format!("{program} --db {} hook {hook_word}", shell::quote(db)),
        None => format!("{program} hook {hook_word}"),
    }
}

/// A word of a command line, and its range there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    place: Range<usize>,
    /// Whether a shell expands a `$` in it.
    is_expanded: bool,
}

/// The program or user that has written a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// `init`: `[path/]agenthub [--db X] hook WORD`, in any quotes.
    Agenthub,
    /// The user: the same with variables. It works as agenthub's hook and stays as it is.
    Customized,
    /// Another program.
    Other,
}

/// A command that runs agenthub's hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookCommand {
    owner: Owner,
    /// The program.
    pub(super) program: String,
    /// The agent's name, if the command sets it.
    pub(super) agent: Option<String>,
    db: Option<Range<usize>>,
}

/// Returns the owner of the command.
pub(super) fn owner(command: &str, hook_word: &str) -> Owner {
    parse(command, hook_word).map_or(Owner::Other, |command| command.owner)
}

/// Returns whether the command runs `agenthub hook WORD` and nothing else.
pub fn is_hook_command(command: &str, hook_word: &str) -> bool {
    owner(command, hook_word) != Owner::Other
}

/// Returns the parts of a command that runs `agenthub hook WORD` and nothing else.
pub(super) fn parse(command: &str, hook_word: &str) -> Option<HookCommand> {
    let words = split(command)?;
    let variables = words.iter().take_while(|word| is_assignment(&word.text)).count();
    let (assignments, called) = words.split_at(variables);
    let text = |i: usize| called.get(i).map(|word| word.text.as_str());
    let db = (text(1) == Some("--db")).then(|| called.get(2).map(|word| word.place.clone()));
    let rest = if db.is_some() { 3 } else { 1 };
    let is_hook = Path::new(text(0)?).file_name()? == "agenthub"
        && called.len() == rest + 2
        && text(rest) == Some("hook")
        && text(rest + 1) == Some(hook_word);
    let agent = assignments
        .iter()
        .rev()
        .find_map(|word| word.text.strip_prefix("AGENTHUB_AGENT="));
    is_hook.then(|| HookCommand {
        owner: if assignments.is_empty() && !words.iter().any(|word| word.is_expanded) {
            Owner::Agenthub
        } else {
            Owner::Customized
        },
        program: called[0].text.clone(),
        agent: agent.map(str::to_owned),
        db: db.flatten(),
    })
}

impl HookCommand {
    /// Returns `command`, from which this value was parsed, with another database. `db` is quoted.
    pub(super) fn with_db(&self, command: &str, db: &str) -> String {
        let mut command = command.to_owned();
        if let Some(place) = &self.db {
            command.replace_range(place.clone(), db);
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

/// Returns the words of a simple command, or `None` if a shell would do more than start one
/// program. Variables are not expanded.
fn split(command: &str) -> Option<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    let mut open: Option<Word> = None;
    let mut quote = None;
    let mut chars = command.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_substitution = c == '`' || c == '$' && chars.peek().is_some_and(|(_, next)| *next == '(');
        if is_substitution && quote != Some('\'') {
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
            place: at..at,
            is_expanded: false,
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
            _ => {
                word.is_expanded |= c == '$' && quote != Some('\'');
                word.text.push(c);
            }
        }
        word.place.end = chars.peek().map_or(command.len(), |(next, _)| *next);
    }
    words.extend(open);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_command_belongs_to_agenthub() {
        for (command, expected) in [
            ("agenthub hook claude-code", Owner::Agenthub),
            ("'/a $(b)/agenthub' hook claude-code", Owner::Agenthub),
            ("agenthub --db '/a $b/hub.db' hook claude-code", Owner::Agenthub),
            ("agenthub --db \"/a \\$b/hub.db\" hook claude-code", Owner::Agenthub),
            ("agenthub --db \"/a $b/hub.db\" hook claude-code", Owner::Customized),
            ("agenthub --db '/a'$b hook claude-code", Owner::Customized),
            ("\"/a b/agenthub\" hook claude-code ", Owner::Agenthub),
            (
                "'/a/agenthub' --db \"/x \\\"y\\\"/hub.db\" hook claude-code",
                Owner::Agenthub,
            ),
            (
                "AGENTHUB_AGENT=planner /opt/agenthub hook claude-code",
                Owner::Customized,
            ),
            ("\"$HOME/bin/agenthub\" hook claude-code", Owner::Customized),
            ("logger agenthub; my-tool hook claude-code", Owner::Other),
            ("agenthub hook claude-code && say done", Owner::Other),
            ("agenthub hook claude-code >> log", Owner::Other),
            ("agenthub hook codex", Owner::Other),
            ("agenthub-wrapper hook claude-code", Owner::Other),
            ("agenthub --db hook claude-code", Owner::Other),
            ("my-tool agenthub hook claude-code", Owner::Other),
            ("$(agenthub) agenthub hook claude-code", Owner::Other),
            ("agenthub hook 'claude-code", Owner::Other),
            ("", Owner::Other),
        ] {
            assert_eq!(owner(command, "claude-code"), expected, "{command}");
        }
    }

    #[test]
    fn database_is_replaced_in_place() {
        let command = "AGENTHUB_AGENT='my planner' agenthub --db \"/a b\" hook codex";
        let parsed = parse(command, "codex").unwrap();
        assert_eq!(parsed.agent.as_deref(), Some("my planner"));
        assert_eq!(
            parsed.with_db(command, "/tmp/x"),
            "AGENTHUB_AGENT='my planner' agenthub --db /tmp/x hook codex"
        );
    }

    #[test]
    fn recognizes_its_own_commands() {
        let mut target = InstallTarget {
            home: "/home/ada".into(),
            project: None,
            program: "/opt/bin/agenthub".into(),
            db: None,
        };
        let command = for_target(&target, "codex");
        assert_eq!(command, "/opt/bin/agenthub hook codex");
        assert_eq!(owner(&command, "codex"), Owner::Agenthub);
        target.program = "/my $apps/it's/agenthub".into();
        target.db = Some("/a b/hub.db".into());
        let command = for_target(&target, "codex");
        assert_eq!(command, r"'/my $apps/it'\''s/agenthub' --db '/a b/hub.db' hook codex");
        assert_eq!(owner(&command, "codex"), Owner::Agenthub);
        let parsed = parse(&command, "codex").unwrap();
        assert_eq!(parsed.program, "/my $apps/it's/agenthub");
    }
}

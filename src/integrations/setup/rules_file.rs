//! A file with nothing but permissions for agenthub's commands, a rule for each.

use serde_json::Value;

use crate::integrations::allowed_commands;
use crate::integrations::spec::{AllowRules, InstallTarget, Refusal, RuleWords};

/// The first line: the file is agenthub's.
const HEADER: &str = "# Commands of agenthub that need no confirmation. agenthub init writes this file.";

pub(super) fn install(text: &str, form: &AllowRules, target: &InstallTarget) -> Result<String, Refusal> {
    if !text.is_empty() && !is_own(text) {
        return Err("agenthub did not write this file".to_owned());
    }
    let quoted = |text: &String| Value::from(text.as_str()).to_string();
    let commands: Vec<String> = match form.words {
        RuleWords::Line => allowed_commands::lines(target).iter().map(quoted).collect(),
        RuleWords::List => allowed_commands::words(target)
            .iter()
            .map(|words| words.iter().map(quoted).collect::<Vec<_>>().join(", "))
            .collect(),
    };
    let (before, after) = form.rule;
    let rules = commands.iter().map(|command| format!("{before}{command}{after}\n"));
    Ok(format!("{HEADER}\n{}", rules.collect::<String>()))
}

/// Returns an empty text if the file is agenthub's.
pub(super) fn remove(text: &str) -> String {
    if is_own(text) { String::new() } else { text.to_owned() }
}

fn is_own(text: &str) -> bool {
    text.lines().next() == Some(HEADER)
}

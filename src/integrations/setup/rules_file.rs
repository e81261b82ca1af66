//! A file with nothing but permissions for agenthub's commands, one per line.

use crate::integrations::spec::{AllowRules, Refusal};

/// The first line: the file is agenthub's.
const HEADER: &str = "# Commands of agenthub that need no confirmation. agenthub init writes this file.";

pub(super) fn install(text: &str, form: &AllowRules, commands: &[Vec<String>]) -> Result<String, Refusal> {
    if !text.is_empty() && !is_own(text) {
        return Err("agenthub did not write this file".to_owned());
    }
    let (before, after) = form.line;
    let mut new = format!("{HEADER}\n");
    for words in commands {
        let words: Vec<String> = words
            .iter()
            .map(|word| serde_json::Value::from(word.as_str()).to_string())
            .collect();
        new.push_str(&format!("{before}{}{after}\n", words.join(", ")));
    }
    Ok(new)
}

/// Returns an empty text if the file is agenthub's.
pub(super) fn remove(text: &str) -> String {
    if is_own(text) { String::new() } else { text.to_owned() }
}

fn is_own(text: &str) -> bool {
    text.lines().next() == Some(HEADER)
}

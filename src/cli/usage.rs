//! What was typed wrong, in one line that says what to do next.
//!
//! For: the binary, when there is no command to run.
//! Not for: what a command refuses (`error`).

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Cli;
use crate::text::safe_text;

/// The line for this error, which came of what was `typed`.
pub fn explain(e: &clap::Error, typed: impl Iterator<Item = OsString>) -> String {
    if matches!(
        e.kind(),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return "give a command: agenthub serve runs the hub, agenthub demo shows it at work, agenthub --help names all"
            .to_owned();
    }
    // The first paragraph says what is wrong, a tip what was meant; the rest is the usage.
    let text = e.render().to_string();
    let wrong = text.split("\n\n").next().unwrap_or_default();
    let wrong = wrong.strip_prefix("error: ").unwrap_or(wrong);
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let mut said: Vec<_> = [wrong].into_iter().chain(tips).map(in_a_line).collect();
    said.push(match command_in(typed) {
        Some(command) => format!("see agenthub {command} --help"),
        None => "see agenthub --help".to_owned(),
    });
    safe_text::escape(&said.join("; "))
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command that was meant to be run.
fn command_in(typed: impl Iterator<Item = OsString>) -> Option<String> {
    let cli = Cli::command();
    typed
        .skip(1)
        .filter_map(|word| word.into_string().ok())
        .find(|word| cli.find_subcommand(word).is_some())
}

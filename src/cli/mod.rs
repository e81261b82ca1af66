//! The command line: `commands` has one file per command, the other modules are shared by them.
//!
//! Every command works on the database file directly, whether a hub is running or not. stdout is for
//! data, stderr for messages. `--json` prints one JSON document, or JSON Lines for commands that follow
//! new rows. Exit codes are those of [`crate::error`]'s table.

mod args;
mod commands;
mod hub_client;
mod rendered;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};

use args::DatabaseArgs;
use commands::CommandArgs;

pub use commands::is_hook;
pub use terminal::wants_color;

/// The local hub for AI agents: one binary, one SQLite file, one page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(
    after_help = "Set AGENTHUB_LOG=debug for a more detailed log.\n\nThe shortest possible agent:\n  sqlite3 -cmd '.timeout 5000' \"$(agenthub path)\" \
    \"INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'tests are green')\""
)]
pub struct Cli {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Format of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = args::GLOBAL)]
    log_format: LogFormat,
    #[command(flatten)]
    command: CommandArgs,
}

/// Format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Plain lines
    Text,
    /// JSON Lines
    Json,
}

impl Cli {
    /// Parses the arguments of a process, the program's name first.
    ///
    /// # Errors
    /// clap's error, which suggests no hidden command or flag. `--help` and `--version` are
    /// errors too: see [`clap::Error::use_stderr`].
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args).map_err(without_hidden_suggestions)
    }

    /// Returns the requested format of the log.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

/// Runs the command. Returns its exit code: 0, or that of the program which `agenthub run` ran.
///
/// # Errors
/// The error of the command. A [`crate::error::Error`] in the chain decides the exit code.
pub fn run(cli: Cli) -> Result<ExitCode> {
    cli.command.run(&cli.database.with_environment(), Cli::command)
}

/// Removes hidden commands and flags from the suggestions of a parse error: clap suggests them
/// like all others (4.6).
fn without_hidden_suggestions(mut error: clap::Error) -> clap::Error {
    let cli = Cli::command();
    let commands = || std::iter::once(&cli).chain(cli.get_subcommands());
    let is_hidden = |word: &str| {
        cli.get_subcommands().any(|c| c.is_hide_set() && c.get_name() == word)
            || commands().flat_map(clap::Command::get_arguments).any(|arg| {
                arg.is_hide_set() && arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
            })
    };
    let names_hidden = |text: &str| text.split(['\'', ' ', '=']).any(is_hidden);
    for kind in [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::Suggested,
        ContextKind::ValidSubcommand,
    ] {
        let kept = match error.remove(kind) {
            Some(ContextValue::String(name)) if !is_hidden(&name) => ContextValue::String(name),
            Some(ContextValue::Strings(mut names)) => {
                names.retain(|name| !is_hidden(name));
                ContextValue::Strings(names)
            }
            Some(ContextValue::StyledStrs(mut tips)) => {
                tips.retain(|tip| !names_hidden(&tip.to_string()));
                ContextValue::StyledStrs(tips)
            }
            _ => continue,
        };
        if !matches!(&kept, ContextValue::Strings(names) if names.is_empty()) {
            error.insert(kind, kept);
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_error(args: &[&str]) -> String {
        let args = ["agenthub"].iter().chain(args).map(OsString::from);
        Cli::parse_args(args).unwrap_err().render().to_string()
    }

    #[test]
    fn command_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn suggests_similar_commands_and_flags() {
        assert!(usage_error(&["serv"]).contains("'serve'"));
        assert!(usage_error(&["sned", "human", "x"]).contains("'send'"));
        assert!(usage_error(&["inbox", "--unred"]).contains("'--unread'"));
        assert!(usage_error(&["serve", "--watch", "pol"]).contains("'poll'"));
    }

    #[test]
    fn suggests_no_hidden_command() {
        for (args, hidden) in [
            (&["hok"][..], "'hook'"),
            (&["hoook"], "'hook'"),
            // Lists the commands, if a global flag is given.
            (&["--db", "x"], "hook"),
        ] {
            let shown = usage_error(args);
            assert!(!shown.contains(hidden), "{args:?}: {shown}");
        }
    }
}

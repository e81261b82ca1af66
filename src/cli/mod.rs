//! The command line: one file per command.
//!
//! For: what a person or a script types. Every command works on the file directly, whether
//! a hub is running or not.
//! Not for: anything a program could want from the library.
//!
//! stdout is data, stderr is talk. `--json` prints one JSON document, or JSON Lines where
//! rows keep coming. Exit codes are those of [`crate::error`]'s table.

mod ack;
mod agents;
mod ask;
mod backup;
mod client;
mod completions;
mod demo;
mod doctor;
mod hook;
mod inbox;
mod ingest;
mod init;
mod mcp;
mod open;
mod output;
mod path;
mod post;
mod prune;
mod read;
mod reply;
mod run;
mod schema;
mod search;
mod send;
mod serve;
mod signals;
mod status;
mod tail;
mod threads;
mod token;
mod trace;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config;
use crate::error::Code;
use crate::integrations::identity;
use crate::store::{EVERYBODY, NetworkFs, Reader, Store, Writer};
use crate::text::safe_text;
use crate::text::shell;

pub use hook::is_hook;
pub use output::wants_colour;
pub use usage::explain;

/// The local hub for AI agents: one binary, one SQLite file, one page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Environment: AGENTHUB_LOG=debug shows more of the log.\n\nThe shortest agent there is:\n  sqlite3 -cmd '.timeout 5000' \"$(agenthub path)\" \
    \"INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'tests are green')\""
)]
pub struct Cli {
    #[command(flatten)]
    file: File,
    /// How the log on stderr looks
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// Which file.
#[derive(Debug, Clone, clap::Args)]
struct File {
    /// The database [default: hub.db in the user's data folder]
    #[arg(long, global = true, env = "AGENTHUB_DB", value_name = "FILE")]
    db: Option<PathBuf>,
    /// Use a file on NFS, SMB, 9p or FUSE although rows may be lost there
    #[arg(long, global = true)]
    allow_network_fs: bool,
}

/// How the log on stderr looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// JSON Lines for programs
    Json,
}

impl Cli {
    /// How the log is to look.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

impl File {
    fn path(&self) -> Result<PathBuf> {
        Ok(config::db_path(self.db.as_deref())?)
    }

    /// The program as it has to be called to come to this file.
    fn command(&self) -> String {
        match self.path() {
            Ok(path) if !config::is_found_unasked(&path) => {
                format!("agenthub --db {}", safe_text::escape(&shell::quote(&path)))
            }
            _ => "agenthub".to_owned(),
        }
    }

    fn network_fs(&self) -> NetworkFs {
        if self.allow_network_fs {
            NetworkFs::Allow
        } else {
            NetworkFs::Refuse
        }
    }

    /// The file, for one command's writes. Made if it is not there.
    fn writer(&self) -> Result<Writer> {
        Ok(Writer::open(&self.path()?, self.network_fs())?)
    }

    /// The file, for one command's reads. Made if it is not there or somebody's sqlite3 left
    /// it empty: what is empty can be listed.
    fn reader(&self) -> Result<Reader> {
        let path = self.path()?;
        if std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
            drop(self.writer()?);
        }
        match Reader::open(&path, self.network_fs()) {
            // Without a schema as yet, if another process is just making it. What is another
            // program's the writer refuses as well.
            Err(e) if e.code() == Code::StoreForeign => {
                drop(self.writer()?);
                Ok(Reader::open(&path, self.network_fs())?)
            }
            opened => Ok(opened?),
        }
    }

    /// The file, for as long as a process lives.
    fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.path()?, self.network_fs())?)
    }
}

/// Who is speaking.
#[derive(Debug, Clone, clap::Args)]
struct Speaker {
    /// Speak as this agent [default: $AGENTHUB_AGENT, the agent tool's session, or human]
    #[arg(long = "from", visible_alias = "as", value_name = "NAME", value_parser = speaker)]
    name: Option<String>,
}

impl Speaker {
    fn name(&self) -> String {
        identity::speaker(self.name.as_deref())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub and its page on localhost
    Serve(Box<serve::Args>),
    /// See it at work: a throw-away hub with made-up agents
    Demo(demo::Args),
    /// Open the dashboard in the browser
    Open(open::Args),
    /// Show how hub and file are
    Status(status::Args),
    /// Print the database's path, making it if need be
    Path(path::Args),
    /// Print the token that lets programs in
    Token(token::Args),
    /// Print the SQL contract of the file
    Schema(schema::Args),
    /// Write a message to a thread
    Post(post::Args),
    /// Send mail to an agent, to human, or to all
    Send(send::Args),
    /// List mail, wait for it, or take it to work on
    Inbox(inbox::Args),
    /// Show mail in full and mark it read
    Read(read::Args),
    /// Mark mail as dealt with
    Ack(ack::Args),
    /// Answer mail
    Reply(reply::Args),
    /// Ask an agent or the human, and print the answer
    Ask(ask::Args),
    /// List threads
    Threads(threads::Args),
    /// List agents
    Agents(agents::Args),
    /// Show where a message is and who has seen it
    Trace(trace::Args),
    /// Follow a thread, or everything, in the terminal
    Tail(tail::Args),
    /// Be an MCP server on stdio, for an agent's tool
    Mcp(mcp::Args),
    /// Run an agent's program and record what it does
    Run(run::Args),
    /// Record an agent's JSON stream from stdin
    Ingest(ingest::Args),
    /// Connect the agents' tools on this machine: hooks and MCP
    Init(init::Args),
    /// What agents' tools start at their events; agenthub init puts it there
    #[command(hide = true)]
    Hook(hook::Args),
    /// Print a shell's completions
    Completions(completions::Args),
    /// Find messages, mail and tasks by their words
    Search(search::Args),
    /// Check that all is well, and say what to do if not
    Doctor(doctor::Args),
    /// Copy the database while it is in use
    Backup(backup::Args),
    /// Remove old rows
    Prune(prune::Args),
}

/// By which way receipts written here came.
const VIA: &str = "cli";

/// What `--json` prints of mail, for the help of each command that does.
macro_rules! mail_row {
    ($before:literal) => {
        concat!(
            $before,
            "\n  {n, id, message_id, correlation_id, from_agent, to_inbox, message_type, title, payload,\n   \
            priority, status, created_at, read_at, expires_at, claimed_by, claim_expires_at}\n\
            n is the number that tables show. Times are Unix milliseconds, or null. Text that is not there\n\
            is \"\"."
        )
    };
}
const JSON_MAIL: &str = mail_row!("--json prints an array of rows:");
const JSON_MAIL_ONE: &str = mail_row!("--json prints one row:");
const JSON_INBOX: &str = mail_row!(
    "--json prints an array of rows, newest first; with --claim oldest first; with --wait JSON Lines,\n\
    a row each, oldest first. A row:"
);

const JSON_MESSAGE: &str = "--json prints the row:\n  \
    {id, thread_id, message_seq, created_at, from_type, from_id, to_type, to_id, kind, subject,\n   \
    content, metadata_json, reply_to, delivery_state, business_state, deleted_at}\n\
    Times are Unix milliseconds, or null. Text that is not there is \"\".";

/// A name or an id: nobody is called nothing.
fn name(text: &str) -> std::result::Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty; give a name or an id".to_owned());
    }
    Ok(text.to_owned())
}

/// Who speaks: one, not everybody.
fn speaker(text: &str) -> std::result::Result<String, String> {
    if text == EVERYBODY {
        return Err(format!("{EVERYBODY} is everybody; give the name of one"));
    }
    name(text)
}

/// A number of seconds from 0 up to a year.
fn seconds(text: &str) -> std::result::Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|s: f64| Duration::try_from_secs_f64(s).ok())
        .filter(|duration| *duration <= Duration::from_secs(366 * 86_400))
        .ok_or_else(|| "a number of seconds, 0 or more, such as 0.5".to_owned())
}

/// Runs what was typed. What comes back is the exit code: 0, or that of the program that was
/// run.
///
/// # Errors
/// What the command returns. An [`crate::error::Error`] within decides the exit code.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { file, command, .. } = cli;
    let done = match command {
        Command::Run(args) => return run::run(&file, &args),
        Command::Ingest(args) => return ingest::run(&file, &args),
        Command::Init(args) => init::run(&file, &args),
        Command::Hook(args) => {
            hook::run(&file, &args);
            Ok(())
        }
        Command::Serve(args) => serve::run(&file, *args),
        Command::Demo(args) => demo::run(&args),
        Command::Open(args) => open::run(&file, &args),
        Command::Status(args) => status::run(&file, &args),
        Command::Path(args) => path::run(&file, &args),
        Command::Token(args) => token::run(&file, &args),
        Command::Schema(args) => schema::run(&args),
        Command::Post(args) => post::run(&file, args),
        Command::Send(args) => send::run(&file, args),
        Command::Inbox(args) => inbox::run(&file, &args),
        Command::Read(args) => read::run(&file, &args),
        Command::Ack(args) => ack::run(&file, &args),
        Command::Reply(args) => reply::run(&file, args),
        Command::Ask(args) => ask::run(&file, args),
        Command::Threads(args) => threads::run(&file, &args),
        Command::Agents(args) => agents::run(&file, &args),
        Command::Trace(args) => trace::run(&file, &args),
        Command::Tail(args) => tail::run(&file, &args),
        Command::Mcp(args) => mcp::run(&file, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Search(args) => search::run(&file, &args),
        Command::Doctor(args) => doctor::run(&file, &args),
        Command::Backup(args) => backup::run(&file, &args),
        Command::Prune(args) => prune::run(&file, &args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// A text given on the command line, or all of stdin for `-`.
fn text_or_stdin(given: String) -> Result<String> {
    if given != "-" {
        return Ok(given);
    }
    let text = std::io::read_to_string(std::io::stdin()).map_err(|e| {
        crate::error::Error::new(
            crate::error::Code::Invalid,
            format!("cannot read the text from stdin: {e}"),
        )
    })?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}

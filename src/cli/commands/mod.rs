//! The commands, one file each: its arguments, and a function that runs it.

mod ack;
mod agents;
mod ask;
mod backup;
mod completions;
mod demo;
mod doctor;
mod hook;
mod inbox;
mod ingest;
mod init;
mod mcp;
mod open;
mod path;
mod post;
mod prune;
mod read;
mod rename;
mod reply;
mod restore;
mod run;
mod schema;
mod search;
mod send;
mod serve;
mod sessions;
mod status;
mod tail;
mod threads;
mod token;
mod trace;
mod wake;

use std::process::ExitCode;

use anyhow::Result;

use super::args::{self, DatabaseArgs};

pub use hook::is_hook;

/// The command to run, with its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct CommandArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the hub and its web page on localhost
    Serve(Box<serve::Args>),
    /// Run a temporary hub with simulated agents
    Demo(demo::Args),
    /// Open the hub's page in the browser
    Open(open::Args),
    /// Show hub and database status
    Status(status::Args),
    /// Print the path of the database, creating it if needed
    Path(path::Args),
    /// Print the access token
    Token(token::Args),
    /// List the browsers that act for you, and revoke them
    Sessions(sessions::Args),
    /// Print the annotated SQL schema of the database
    Schema(schema::Args),
    /// Write a message to a thread
    Post(post::Args),
    /// Send mail to an agent, to human or to all
    Send(send::Args),
    /// List mail, wait for it, or claim it
    Inbox(inbox::Args),
    /// Show one piece of mail and mark it as read
    Read(read::Args),
    /// Acknowledge mail as handled
    Ack(ack::Args),
    /// Reply to mail
    Reply(reply::Args),
    /// Ask an agent or the human a question and wait for the answer
    Ask(ask::Args),
    /// List threads
    Threads(threads::Args),
    /// List agents
    Agents(agents::Args),
    /// Give an agent a label, by which others can address it
    Rename(rename::Args),
    /// Show who has seen a message or mail
    Trace(trace::Args),
    /// Show and set which mail wakes idle agents, or wake one
    Wake(wake::Args),
    /// Follow one thread or all activity
    Tail(tail::Args),
    /// Run an MCP server on stdio
    Mcp(mcp::Args),
    /// Run an agent program and record what it does
    Run(run::Args),
    /// Record an agent's JSON stream from stdin
    Ingest(ingest::Args),
    /// Connect installed agent tools through hooks and MCP
    Init(init::Args),
    /// Handle an event of an agent tool; agenthub init configures this
    #[command(hide = true)]
    Hook(hook::Args),
    /// Generate shell completions
    Completions(completions::Args),
    /// Search messages, mail and task events
    Search(search::Args),
    /// Diagnose problems and suggest fixes
    Doctor(doctor::Args),
    /// Back up the database while it is in use
    Backup(backup::Args),
    /// Restore a backup while the database is in use
    Restore(restore::Args),
    /// Delete old rows
    Prune(prune::Args),
}

impl CommandArgs {
    /// Runs the command. `definition` returns the definition of the whole command line.
    pub(super) fn run(self, database: &DatabaseArgs, definition: fn() -> clap::Command) -> Result<ExitCode> {
        let mcp_tool = self.command.mcp_tool();
        match self.command {
            Command::Run(args) => return run::run(database, &args),
            Command::Ingest(args) => return ingest::run(database, &args),
            Command::Hook(args) => return Ok(hook::run(database, &args)),
            Command::Init(args) => init::run(database, &args),
            Command::Serve(args) => serve::run(database, *args),
            Command::Demo(args) => demo::run(&args),
            Command::Open(args) => open::run(database, &args),
            Command::Status(args) => status::run(database, &args),
            Command::Path(args) => path::run(database, &args),
            Command::Token(args) => token::run(database, &args),
            Command::Sessions(args) => sessions::run(database, &args),
            Command::Schema(args) => schema::run(&args),
            Command::Post(args) => post::run(database, args),
            Command::Send(args) => send::run(database, args),
            Command::Inbox(args) => inbox::run(database, &args),
            Command::Read(args) => read::run(database, &args),
            Command::Ack(args) => ack::run(database, &args),
            Command::Reply(args) => reply::run(database, args),
            Command::Ask(args) => ask::run(database, args),
            Command::Threads(args) => threads::run(database, &args),
            Command::Agents(args) => agents::run(database, &args),
            Command::Rename(args) => rename::run(database, &args),
            Command::Trace(args) => trace::run(database, &args),
            Command::Wake(args) => wake::run(database, &args),
            Command::Tail(args) => tail::run(database, &args),
            Command::Mcp(args) => mcp::run(database, &args),
            Command::Completions(args) => completions::run(&args, definition()),
            Command::Search(args) => search::run(database, &args),
            Command::Doctor(args) => doctor::run(database, &args),
            Command::Backup(args) => backup::run(database, &args),
            Command::Restore(args) => restore::run(database, &args),
            Command::Prune(args) => prune::run(database, &args),
        }
        .map(|()| ExitCode::SUCCESS)
        .map_err(|error| match mcp_tool {
            Some(tool) => args::advise_mcp(error, tool),
            None => error,
        })
    }
}

impl Command {
    /// Returns the MCP tool that does what the command does.
    fn mcp_tool(&self) -> Option<&'static str> {
        match self {
            Self::Send(_) | Self::Post(_) => Some("send_message"),
            Self::Reply(_) => Some("reply"),
            Self::Ack(_) => Some("ack_message"),
            Self::Ask(args) => Some(args.mcp_tool()),
            Self::Inbox(_) | Self::Read(_) => Some("check_inbox"),
            Self::Agents(_) => Some("list_agents"),
            Self::Search(_) => Some("search"),
            _ => None,
        }
    }
}

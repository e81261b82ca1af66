//! The types in which a tool describes itself: one [`Integration`] value per tool.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::task_builder::TaskBuilder;
use super::usage::Usage;

/// An agent tool.
pub struct Integration {
    /// The short name: `source_type` in rows, the first part of agents' names, the value of
    /// `AGENTHUB_TASK_VENDOR` and of `init --only`, and the name of the tool's directory here.
    pub id: &'static str,
    /// The name shown to users.
    pub name: &'static str,
    /// Programs whose presence on `PATH` shows that the tool is installed.
    pub binaries: &'static [&'static str],
    /// The directory in the user's home whose existence shows that the tool is installed.
    pub home_folder: &'static str,
    /// The environment variables in which the tool passes the session's id to processes it starts.
    pub session_variables: &'static [&'static str],
    /// Further environment variables that mark the shells of the tool: none of them is set in a terminal
    /// of the person.
    pub marker_variables: &'static [&'static str],
    /// The tags in which the tool gives the model its own text or the user's.
    pub context_tags: &'static [&'static str],
    /// How to run the tool without a terminal, and its JSON stream.
    pub stream: Option<StreamSpec>,
    /// The tool's hooks.
    pub hooks: Option<HookSpec>,
    /// Returns the configuration files, and the entries that agenthub writes into each.
    pub config_files: fn(&InstallTarget) -> Vec<(PathBuf, ConfigContent)>,
    /// For a tool whose sessions share one MCP server: how a call names its session.
    pub session_of_mcp_call: Option<SessionOfMcpCall>,
    /// How to recognize hooks of other tools that this tool runs too.
    pub foreign_hooks: Option<ForeignHooks>,
    /// The tool's own record of a session, whose path its hooks get.
    pub transcript: Option<TranscriptSpec>,
}

/// A tool that agenthub recognizes, and neither configures nor records.
#[derive(Debug)]
pub struct RecognizedTool {
    /// As [`Integration::id`].
    pub id: &'static str,
    /// As [`Integration::name`].
    pub name: &'static str,
    /// As [`Integration::marker_variables`].
    pub marker_variables: &'static [&'static str],
    /// As [`Integration::context_tags`].
    pub context_tags: &'static [&'static str],
}

/// Returns a session's id from the `_meta` of an MCP call and the client's name.
pub type SessionOfMcpCall = fn(meta: &Map<String, Value>, client: &str) -> Option<String>;

impl PartialEq for Integration {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Integration {}

impl fmt::Debug for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// A tool's mode without a terminal, in which it prints JSON Lines.
#[derive(Debug)]
pub struct StreamSpec {
    /// The value of `--format`.
    pub format: &'static str,
    /// The command line that prints the stream, for help texts.
    pub command: &'static str,
    /// The beginning of a command line for `agenthub run`, for help texts.
    pub example: &'static str,
    /// The program that `agenthub run` recognizes.
    pub binary: &'static str,
    /// Returns the flags that make the program print its stream, without those already in the
    /// given arguments, or why this command line cannot be recorded.
    pub flags: fn(given: &[String]) -> Result<StreamFlags, &'static str>,
    /// Flags whose value is the prompt.
    pub prompt_flags: &'static [&'static str],
    /// Flags without a value: an argument after one of them may be the prompt.
    pub switches: &'static [&'static str],
    /// Creates a parser for one stream.
    pub parser: fn() -> Box<dyn StreamParser>,
}

/// The parser of one stream.
pub trait StreamParser: fmt::Debug + Send {
    /// Turns one JSON object of the stream into calls of the builder.
    fn line(&mut self, line: &Value, task: &mut TaskBuilder);

    /// Writes the buffered rows when the stream ends.
    fn end(&mut self, _task: &mut TaskBuilder) {}
}

/// The file in which a tool itself records a session: JSON Lines that the tool appends to.
#[derive(Debug)]
pub struct TranscriptSpec {
    /// What to do with such a file instead of recording it as a stream, for an error message.
    pub advice: &'static str,
    /// The hooks' events at which the new part of the file is read: each after the model has worked, and the
    /// first ones of a process.
    pub events: &'static [&'static str],
    /// Of `events`, that of a new prompt.
    pub prompt: &'static str,
    /// Of `events`, that whose `turn_end` row has the turn's tokens.
    pub turn_end: &'static str,
    /// Returns the further files of the session, such as those of its subagents. Their lines have the same form.
    pub further_files: fn(transcript: &Path) -> Vec<PathBuf>,
    /// Texts of which each line with usage has one. Other lines are not parsed.
    pub marks: &'static [&'static str],
    /// Returns what a line says of the session's usage.
    pub entry: fn(&Value) -> Option<TranscriptEntry>,
    /// Returns whether a JSON object is a line of such a file, and not one of the tool's stream.
    pub is_line: fn(&Value) -> bool,
}

/// What a line of a transcript says of the session's usage.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscriptEntry {
    /// The usage of one message of the model. A later line with the same id has the same usage, or a more recent
    /// figure of it.
    Message {
        /// Identifies the message within the session.
        id: String,
        /// Its usage; `turns` is 0 for a message of a subagent.
        usage: Usage,
        /// The model.
        model: String,
    },
    /// The usage since the session began.
    Totals {
        /// The usage; its `turns` do not count.
        usage: Usage,
        /// The part of it that is the last request's, if the file says it.
        last: Usage,
    },
    /// The model of the messages that follow.
    Model(String),
    /// A turn of the model that has begun, in a file whose totals do not count turns.
    Turn,
    /// The line should have usage and does not: the format has changed.
    Missing,
}

/// Flags to insert into a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFlags {
    /// The index among the arguments, program excluded.
    pub index: usize,
    /// The flags.
    pub flags: Vec<String>,
}

/// A tool's hooks. They all have the form that Claude Code introduced (events, input fields,
/// output), which [`super::hook_handler`] and `setup::json_config` implement once. The fields are the
/// differences between tools.
#[derive(Debug)]
pub struct HookSpec {
    /// The word after `agenthub hook` in installed commands. It never changes.
    pub word: &'static str,
    /// The events that agenthub installs a hook for.
    pub hooks: &'static [Hook],
    /// The environment variable with the process id of the tool.
    pub pid_variable: Option<&'static str>,
    /// The question that the tool asks the user after the hooks were installed.
    pub consent: Option<fn() -> String>,
    /// Returns why hooks must not be installed for this target. `is_chosen`: the user has named
    /// the tool.
    pub obstacle: fn(&InstallTarget, is_chosen: bool) -> Option<String>,
    /// Returns the settings in a configuration file's text that turn hooks off, or why the text
    /// cannot be read.
    pub off_switches: fn(ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal>,
    /// Files in which administrators set the same settings as in the file with
    /// [`ConfigContent::Hooks`].
    pub managed_files: &'static [&'static str],
}

/// The signs of a tool that also runs hooks installed for other tools.
#[derive(Debug)]
pub struct ForeignHooks {
    /// A field of the hook's input.
    pub input_field: &'static str,
    /// An environment variable. Other tools that run in a terminal of this tool inherit it.
    pub variable: &'static str,
}

/// The reason why the text of a configuration file was refused: one line for the user.
pub type Refusal = String;

/// The event of a new session. Every tool with hooks has it.
pub const SESSION_START: &str = "SessionStart";

/// A hook for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The tool's name of the event.
    pub event: &'static str,
    /// Whether the tool waits for the hook.
    pub blocking: HookBlocking,
    /// How the hook delivers mail, if it does.
    pub mail: MailDelivery,
}

/// Whether the tool waits until a hook has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookBlocking {
    /// The tool waits. Only then does it read the hook's output.
    Waits,
    /// The tool continues.
    Continues,
}

/// How a hook delivers mail to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailDelivery {
    /// No mail at this event.
    None,
    /// As context, after a greeting; mail that an earlier session may have missed is repeated.
    SessionStart,
    /// As context. The model has run since the last delivery, except at the start of a prompt.
    Context,
    /// As context. The model may not have run since the last delivery.
    ContextDuringTurn,
    /// As the reason to continue instead of stopping.
    StopReason,
}

/// The place of an installation, and the program that the installed commands start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallTarget {
    /// The user's home.
    pub home: PathBuf,
    /// The project's directory, to install there instead of in the home.
    pub project: Option<PathBuf>,
    /// This program.
    pub program: PathBuf,
    /// The database, if it is not the default one.
    pub db: Option<PathBuf>,
}

impl InstallTarget {
    /// Returns a file in the project, or else in the home.
    pub fn file(&self, in_project: &str, in_home: &str) -> PathBuf {
        match &self.project {
            Some(project) => project.join(in_project),
            None => self.home.join(in_home),
        }
    }

    /// Returns the tool's directory: the value of `variable`, or `name` in the home; `name` in the
    /// project.
    pub fn folder(&self, variable: &str, name: &str) -> PathBuf {
        match (&self.project, std::env::var_os(variable)) {
            (None, Some(dir)) if !dir.is_empty() => dir.into(),
            _ => self.file(name, name),
        }
    }
}

/// The entries that agenthub writes into a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigContent {
    /// The hooks, in JSON.
    Hooks,
    /// The MCP server, in JSON.
    McpJson(&'static McpJson),
    /// The MCP server, in TOML.
    McpToml(&'static McpToml),
}

/// The form of an MCP server's entry in a JSON file.
#[derive(Debug, PartialEq, Eq)]
pub struct McpJson {
    /// The key of the object with all servers.
    pub servers: &'static str,
    /// Fields before `command` and `args`.
    pub fields: &'static [(&'static str, &'static str)],
    /// The agent's name in `env`. For tools that give their MCP servers no session: without a
    /// name each start would be another agent, which would not see the mail of the last one.
    pub agent: Option<&'static str>,
}

/// The form of an MCP server's entry in a TOML file.
#[derive(Debug, PartialEq, Eq)]
pub struct McpToml {
    /// The key of the table with all servers.
    pub servers: &'static str,
    /// The environment variables that the tool passes to the server.
    pub env_vars: &'static [&'static str],
}

/// A configuration file of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The tool.
    pub tool: &'static Integration,
    /// The path.
    pub path: PathBuf,
    /// The entries that agenthub writes into the file.
    pub content: ConfigContent,
}

impl Integration {
    /// Returns the tool's configuration files for a target.
    pub fn files(&'static self, target: &InstallTarget) -> Vec<ConfigFile> {
        (self.config_files)(target)
            .into_iter()
            .map(|(path, content)| ConfigFile {
                tool: self,
                path,
                content,
            })
            .collect()
    }
}

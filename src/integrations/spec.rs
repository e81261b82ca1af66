//! The types in which a tool describes itself: one [`Integration`] value per tool.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::task_builder::TaskBuilder;
use super::usage::Usage;
use crate::process::Process;

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
    /// The names of the tool calls that edit files.
    pub edit_calls: &'static [&'static str],
    /// How to run the tool without a terminal, and its JSON stream.
    pub stream: Option<StreamSpec>,
    /// The tool's hooks.
    pub hooks: Option<HookSpec>,
    /// Whether commands in the tool's shells can write the database.
    pub shell_access: ShellAccess,
    /// Returns the configuration files, and the entries that agenthub writes into each. Contents of the same file
    /// follow each other.
    pub config_files: fn(&InstallTarget) -> Vec<(PathBuf, ConfigContent)>,
    /// For a tool whose sessions share one MCP server: how a call names its session.
    pub session_of_mcp_call: Option<SessionOfMcpCall>,
    /// How to recognize hooks of other tools that this tool runs too.
    pub foreign_hooks: Option<ForeignHooks>,
    /// What is known about the tool's processes.
    pub processes: ProcessSpec,
    /// The tool's own record of a session, whose path its hooks get.
    pub transcript: Option<TranscriptSpec>,
    /// How mail wakes an idle session, or why it cannot: a sentence for the user.
    pub wake: Result<WakeSpec, &'static str>,
}

/// How an idle session is woken: it gets [`WAKE_PROMPT`] as a prompt, and the hook of that prompt delivers the mail.
#[derive(Debug)]
pub struct WakeSpec {
    /// How the prompt reaches the session.
    pub method: WakeMethod,
    /// The values of `permission_mode` in hooks' inputs with which the tool asks the person nothing.
    pub unattended_modes: &'static [&'static str],
}

/// The prompt of a woken session. Nothing from a row enters it.
pub const WAKE_PROMPT: &str = "You have mail on agenthub.";

/// How a prompt reaches an idle session.
#[derive(Debug, Clone, Copy)]
pub enum WakeMethod {
    /// The tool, or agenthub's extension in it, watches the file that the output of the hook of
    /// [`EventKind::SessionStart`] names. When the file changes, it runs the hook of [`EventKind::Wake`], whose output is
    /// the prompt if the session is to be woken.
    WatchedFile(WatchForm),
    /// The tool's process reads prompts from a file. Returns the file of a process; `None` if it reads none. The line
    /// is appended to it.
    InputFile {
        /// Returns the file.
        file: fn(&Process) -> Option<PathBuf>,
        /// The line, without its end.
        line: &'static str,
    },
    /// A command of the tool gives the session a prompt.
    Command {
        /// The program.
        program: &'static str,
        /// Returns the arguments for the session with this id.
        arguments: fn(session: &str) -> Vec<String>,
    },
}

impl WakeMethod {
    /// Returns the name in the column `wakes.via`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WatchedFile(WatchForm::Hook) => "hook",
            Self::WatchedFile(WatchForm::Extension | WatchForm::OptionalExtension(_)) => "extension",
            Self::InputFile { .. } => "input file",
            Self::Command { program, .. } => program,
        }
    }
}

/// The form in which hooks name the watched file and answer with the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchForm {
    /// Named in `hookSpecificOutput.watchPaths`. The prompt is on stderr, with exit code 2.
    Hook,
    /// Named in the field `watch_file`. The prompt is `{"prompt":TEXT}`.
    Extension,
    /// As `Extension`, for an extension that a session may lack and that does not run its hooks: the output of the hook
    /// of [`EventKind::Watch`] names the file. The text says what a session lacks that has no such file.
    OptionalExtension(&'static str),
}

/// What is known about the processes of a tool.
#[derive(Debug)]
pub struct ProcessSpec {
    /// The name that the tool's process gives itself instead of its program's.
    pub title: Option<&'static str>,
    /// Returns whether the process runs many sessions at once. Its environment is that of the program that
    /// has started it, so it names the agent of no session.
    pub is_shared: fn(&Process) -> bool,
    /// Returns what the tool itself has recorded about the session that its process with this number runs now.
    pub running_session: fn(pid: u32) -> Option<RunningSession>,
    /// Returns what the tool itself has recorded about the session with this id in that process, for a tool whose
    /// records do not name the process.
    pub recorded_session: fn(pid: u32, session: &str) -> Option<RunningSession>,
    /// Returns the id of the session that begins, from the input of a hook of [`EventKind::SessionStart`] and the tool's
    /// process. `None` if a later hook names it first.
    pub begun_session: fn(&Value, &Process) -> Option<String>,
}

impl ProcessSpec {
    /// Each process runs one session, about which the tool records nothing.
    pub const DEFAULT: Self = Self {
        title: None,
        is_shared: |_| false,
        running_session: |_| None,
        recorded_session: |_, _| None,
        begun_session: |input, _| input["session_id"].as_str().map(str::to_owned),
    };
}

/// The session that a tool's process runs, as the tool has recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSession {
    /// The session's id.
    pub id: String,
    /// Since when the session waits for a prompt, Unix milliseconds; `None` if it works, or if that is not
    /// known.
    pub idle_since: Option<i64>,
    /// Whether the tool says that the last turn is completed.
    pub is_completed: bool,
    /// Why the last turn has failed; `None` if the user has interrupted it, or if that is not known.
    pub error: Option<String>,
}

/// Whether commands in a tool's shells can write the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellAccess {
    /// They can.
    Full,
    /// A sandbox may make the database read-only for them. The tool's MCP servers run outside of it.
    MayBeReadOnly,
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
    /// Returns the further files of the session, such as those of its subagents. Their lines have the same form.
    pub further_files: fn(transcript: &Path) -> Vec<PathBuf>,
    /// Texts of which each line with usage has one. Other lines are not parsed.
    pub marks: &'static [&'static str],
    /// Returns what a line says of the session's usage.
    pub entry: fn(&Value) -> Option<TranscriptEntry>,
    /// Returns whether a JSON object is a line of such a file, and not one of the tool's stream.
    pub is_line: fn(&Value) -> bool,
    /// For a tool whose stream has no usage, or that writes the file while its hooks run.
    pub late: Option<LateTranscript>,
}

/// What is known of a transcript that the tool writes late.
#[derive(Debug)]
pub struct LateTranscript {
    /// Returns the file of a session, from which `agenthub run` takes the usage when the tool has ended.
    pub of_session: fn(session: &str) -> Option<PathBuf>,
    /// Returns whether the end of the file shows that it has all of the turn whose hook of [`EventKind::Stop`] runs.
    pub has_turn: fn(end: &str) -> bool,
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

/// A tool's hooks: a table of its events, where the input has its fields, and how output is written.
/// [`super::hook_handler`] and `setup::json_config` implement the rest once.
#[derive(Debug)]
pub struct HookSpec {
    /// The word after `agenthub hook` in installed commands. It never changes.
    pub word: &'static str,
    /// The events that agenthub installs a hook for.
    pub hooks: &'static [Hook],
    /// The agent's name in all sessions, for a tool whose MCP server cannot tell its sessions apart: see
    /// [`McpJson::agent`]. Answers to mail that was sent with the MCP server reach the session's hooks then.
    pub agent: Option<&'static str>,
    /// Where the input has its fields.
    pub fields: HookFields,
    /// Where the tool reads context for the model in a hook's output.
    pub context: OutputForm,
    /// Where the tool reads the text with which the model continues instead of stopping.
    pub continuation: OutputForm,
    /// The object in the output of a session's first hook whose variables the tool sets for its later hooks.
    pub session_environment: Option<&'static str>,
    /// The values of `notification_type` that say that the session waits for the user.
    pub waiting_notifications: &'static [&'static str],
    /// Maximum times in a row that the tool lets hooks keep a session from stopping, if it has a limit.
    pub max_continuations_in_a_row: Option<i64>,
    /// How the tool's file has the hooks, for [`ConfigContent::Hooks`]. Of it, [`ConfigContent::HooksToml`] has the
    /// timeouts.
    pub file: HookFileForm,
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
    /// Finds what else keeps the installed hooks from running in a directory. It may ask the tool's program.
    pub state: fn(&InstallTarget, directory: &Path) -> Vec<HookState>,
}

/// What `agenthub doctor` says about a tool's hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// Something that the user may want to know.
    Note(String),
    /// Hooks do not run.
    Problem {
        /// What is wrong.
        message: String,
        /// What to do.
        advice: &'static str,
    },
}

impl HookSpec {
    /// Returns the hook for the tool's event with this name.
    pub fn hook(&self, event: &str) -> Option<&'static Hook> {
        self.hooks.iter().find(|hook| hook.event == event)
    }

    /// Returns the tool's name of the event of a new session; "" if it has no such event.
    pub fn start_event(&self) -> &'static str {
        let start = self.hooks.iter().find(|hook| hook.kind == EventKind::SessionStart);
        start.map_or("", |hook| hook.event)
    }

    /// Returns the tool's name of the first event at which mail is delivered; "" if there is none.
    pub fn first_delivery(&self) -> &'static str {
        let delivers = self.hooks.iter().find(|hook| hook.mail != MailDelivery::None);
        delivers.map_or("", |hook| hook.event)
    }
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A session begins or is resumed.
    SessionStart,
    /// The user has sent a prompt. The model has not run since the hook before it.
    Prompt,
    /// The model has written a text, and its turn continues or ends.
    Text,
    /// A tool is about to run.
    ToolUse,
    /// A tool has run. The result may be an error.
    ToolResult,
    /// All tools that the model called at once have run.
    Batch,
    /// A tool waits for the user's permission.
    PermissionRequest,
    /// The session may wait for the user; see [`HookSpec::waiting_notifications`].
    Notification,
    /// The model has ended its turn.
    Stop,
    /// The user has interrupted the turn.
    Interrupt,
    /// The turn has ended with an error.
    StopFailure,
    /// The session has ended.
    SessionEnd,
    /// The file that wakes the session has changed: see [`WakeMethod::WatchedFile`].
    Wake,
    /// An extension asks for that file: see [`WatchForm::OptionalExtension`].
    Watch,
}

/// Where a hook's input has its fields.
#[derive(Debug)]
pub struct HookFields {
    /// The id of the session.
    pub session: &'static str,
    /// The id of the session to which a subagent belongs, if `session` is the subagent's own.
    pub parent_session: Option<&'static str>,
    /// The id of a tool call; `None` if the input has none: a result belongs to the oldest call of the same tool
    /// without one.
    pub call_id: Option<&'static str>,
    /// The last text of the model, at [`EventKind::Stop`].
    pub last_message: &'static str,
    /// What that text has, if a hook has kept the session from stopping.
    pub last_message_extent: MessageExtent,
    /// The milliseconds that a tool ran.
    pub duration: &'static str,
    /// Returns the working directory.
    pub workspace: fn(&Value) -> &str,
    /// Returns the directories that the session is about: if one is excluded, the session is not recorded.
    pub directories: fn(&Value) -> Vec<&str>,
    /// Returns what the user wrote.
    pub prompt: fn(&Value) -> &str,
    /// Returns whether an input of [`EventKind::Prompt`] has a prompt. Another one is no event.
    pub is_prompt: fn(&Value) -> bool,
    /// Returns whether an input of [`EventKind::Notification`] says that the session waits for a prompt. A turn that is
    /// open then was interrupted.
    pub is_idle: fn(&Value) -> bool,
    /// Returns the output of a tool.
    pub tool_output: fn(&Value) -> String,
    /// Returns the error of a tool; "" without one.
    pub tool_error: fn(&Value) -> &str,
    /// Returns why the turn that ends is not completed; "" if it is.
    pub stop_error: fn(&Value) -> String,
    /// Returns whether a hook has kept the session from stopping since the last prompt.
    pub is_continuation: fn(&Value) -> bool,
    /// Returns the usage of messages of the model, for a tool without a [`TranscriptSpec`]. Each message is in one
    /// input, or with more recent figures in a later one.
    pub usage: fn(&Value) -> Vec<TranscriptEntry>,
}

impl HookFields {
    /// Returns the id of the session that an input is about.
    pub fn session_of<'v>(&self, input: &'v Value) -> &'v str {
        let parent = self.parent_session.and_then(|field| input[field].as_str());
        let parent = parent.filter(|session| !session.is_empty());
        parent.unwrap_or_else(|| input[self.session].as_str().unwrap_or_default())
    }
}

/// What a text of the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageExtent {
    /// What the model has written last.
    Last,
    /// All that the model has written since the user's prompt.
    SincePrompt,
}

/// Where a tool reads a text for the model in a hook's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// `{"hookSpecificOutput":{"hookEventName":EVENT,"additionalContext":TEXT}}`.
    Context,
    /// `{"decision":VALUE,"reason":TEXT}`, with this value.
    Decision(&'static str),
    /// `{FIELD:TEXT}`, with this field.
    Field(&'static str),
    /// `{"hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":TEXT}}`.
    Denial,
}

impl OutputForm {
    /// Returns the output with a text for the model.
    pub fn output(self, event: &str, text: &str) -> Value {
        match self {
            Self::Context => json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}),
            Self::Decision(value) => json!({"decision": value, "reason": text}),
            Self::Field(field) => json!({ field: text }),
            Self::Denial => {
                json!({"hookSpecificOutput": {"permissionDecision": "deny", "permissionDecisionReason": text}})
            }
        }
    }

    /// Returns the text in an output.
    pub fn text(self, output: &Value) -> Option<&str> {
        match self {
            Self::Context => output["hookSpecificOutput"]["additionalContext"].as_str(),
            Self::Decision(_) => output["reason"].as_str(),
            Self::Field(field) => output[field].as_str(),
            Self::Denial => output["hookSpecificOutput"]["permissionDecisionReason"].as_str(),
        }
    }
}

/// How a tool's JSON file has the hooks: in the object `hooks`, with an array for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookFileForm {
    /// What an event's array has.
    pub nesting: HandlerNesting,
    /// The time after which the tool ends a hook, in the tool's unit. A hook takes a few milliseconds.
    pub timeout: i64,
    /// The events whose hooks the tool ends earlier, with their times in the same unit.
    pub short_timeouts: &'static [(&'static str, i64)],
    /// The value of `version`, if the tool requires it.
    pub version: Option<i64>,
}

impl HookFileForm {
    /// No such file: an extension runs the hooks.
    pub const NONE: Self = Self {
        nesting: HandlerNesting::Flat,
        timeout: 0,
        short_timeouts: &[],
        version: None,
    };
}

/// What the array of an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerNesting {
    /// Groups, each with an array `hooks` of handlers.
    Groups,
    /// The handlers.
    Flat,
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

/// A hook for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The tool's name of the event.
    pub event: &'static str,
    /// What the event means.
    pub kind: EventKind,
    /// Whether the tool waits for the hook.
    pub blocking: HookBlocking,
    /// How the hook delivers mail, if it does.
    pub mail: MailDelivery,
}

impl Hook {
    /// Returns a hook for which the tool waits.
    pub const fn waits(event: &'static str, kind: EventKind, mail: MailDelivery) -> Self {
        Self {
            event,
            kind,
            blocking: HookBlocking::Waits,
            mail,
        }
    }
}

/// Whether the tool waits until a hook has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookBlocking {
    /// The tool waits. Only then does it read the hook's output.
    Waits,
    /// The tool continues. Only for tools that support `async`.
    Continues,
    /// The tool continues, and begins a turn if the hook ends with exit code 2. Only for tools that support
    /// `asyncRewake`.
    Wakes,
    /// The tool does not know the hook: agenthub's extension runs it.
    ByExtension,
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
    /// As the text with which the model continues instead of stopping.
    Continuation,
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
    /// The hooks, in TOML: an array of tables, each with an event, a command and a timeout.
    HooksToml,
    /// The MCP server, in JSON.
    McpJson(&'static McpJson),
    /// The MCP server, in TOML.
    McpToml(&'static McpToml),
    /// Permissions in a list of a JSON file.
    AllowList(&'static AllowList),
    /// Permission for the tools of the MCP server, in JSON.
    AllowServerJson(&'static ServerPermission),
    /// Permission for the tools of the MCP server, in TOML.
    AllowServerToml(&'static ServerPermission),
    /// A file with permissions for commands, and nothing else.
    AllowRules(&'static AllowRules),
    /// A program that the tool loads and that runs the hooks.
    Extension(&'static ExtensionFile),
}

impl ConfigContent {
    /// Returns whether the content gives agents permission to do something without asking the user.
    pub fn is_permission(self) -> bool {
        match self {
            Self::Hooks | Self::HooksToml | Self::McpJson(_) | Self::McpToml(_) | Self::Extension(_) => false,
            Self::AllowList(_) | Self::AllowServerJson(_) | Self::AllowServerToml(_) | Self::AllowRules(_) => true,
        }
    }

    /// Returns whether the tool runs agenthub's hooks because of the content.
    pub fn has_hooks(self) -> bool {
        match self {
            Self::Hooks | Self::HooksToml => true,
            Self::Extension(file) => file.runs_hooks,
            _ => false,
        }
    }
}

/// A JavaScript file that agenthub owns and a tool loads.
#[derive(Debug, PartialEq, Eq)]
pub struct ExtensionFile {
    /// The program. A line before it defines `COMMAND`: an array with the words of the command line of
    /// `agenthub hook`, for a start without a shell.
    pub program: &'static str,
    /// Whether it runs the hooks of the tool, and not only those with [`HookBlocking::ByExtension`].
    pub runs_hooks: bool,
}

/// A list of permissions in a JSON file.
#[derive(Debug, PartialEq, Eq)]
pub struct AllowList {
    /// The keys of the objects that lead to the list, and the key of the list.
    pub path: (&'static str, &'static str),
    /// The entry for all tools of the MCP server.
    pub server: Option<&'static str>,
    /// The texts before and after a command. The entry must allow only this command with any arguments.
    pub command: Option<(&'static str, &'static str)>,
}

/// Permission for all tools of the MCP server: a field of its entry.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerPermission {
    /// The key of the object with all servers.
    pub servers: &'static str,
    /// The field.
    pub field: &'static str,
    /// The value, in JSON and TOML.
    pub value: &'static str,
}

/// The form of a file with permissions: a rule for each command.
#[derive(Debug, PartialEq, Eq)]
pub struct AllowRules {
    /// The form of a command in its rule.
    pub words: RuleWords,
    /// The texts of a rule before and after the command.
    pub rule: (&'static str, &'static str),
}

/// The form of a command in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleWords {
    /// Its words in quotes, separated by commas.
    List,
    /// One text in quotes, as in a shell.
    Line,
}

/// The argument of an MCP call in which agenthub's extension in a tool names the session, if the tool names none. The
/// server moves it into the call's `_meta`, under the same name.
pub const SESSION_ARGUMENT: &str = "agenthub_session";

/// The form of an MCP server's entry in a JSON file.
#[derive(Debug, PartialEq, Eq)]
pub struct McpJson {
    /// The key of the object with all servers.
    pub servers: &'static str,
    /// Fields before the command.
    pub fields: &'static [(&'static str, &'static str)],
    /// Where the command is.
    pub command: CommandForm,
    /// The agent's name in `env`. For tools that give their MCP servers no session: without a
    /// name each start would be another agent, which would not see the mail of the last one.
    pub agent: Option<&'static str>,
    /// The name that earlier versions have written, which is replaced.
    pub earlier_agent: Option<&'static str>,
}

/// Where a server's entry has its command and its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandForm {
    /// The program in `command`, the arguments in `args`, the variables in `env`.
    Program,
    /// All words in `command`, the variables in `environment`.
    Words,
}

impl CommandForm {
    /// Returns the field with the variables.
    pub fn environment(self) -> &'static str {
        match self {
            Self::Program => "env",
            Self::Words => "environment",
        }
    }
}

/// The form of an MCP server's entry in a TOML file.
#[derive(Debug, PartialEq, Eq)]
pub struct McpToml {
    /// The key of the table with all servers.
    pub servers: &'static str,
    /// The environment variables that the tool passes to the server.
    pub env_vars: &'static [&'static str],
}

/// What agenthub writes into a configuration file of a tool. A file may have several contents.
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

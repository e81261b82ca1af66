//! Handles one call of a hook, in a process that runs for a few milliseconds.
//!
//! A tool's [`HookSpec`] says what its events mean, and where the fields of the input are. The event becomes
//! rows, and at some events unread mail is delivered to the model.
//!
//! 1. All writes are one transaction, and output is printed after its commit: mail never reaches
//!    a model without its receipt. A second write confirms that the output was printed; mail
//!    without that confirmation is delivered again.
//! 2. `offered` means that the mail was put into the model's context. A later hook of the same
//!    session, after the model has run, makes it `seen`; mail that was delivered in full becomes read
//!    at that time. Mail that was offered to another session, and not seen, is delivered again when a
//!    session starts.
//! 3. Urgent mail comes first, then mail that asks for an action, then the rest; of each the oldest first.
//! 4. A hook keeps a session from stopping only for mail that it has not received, and at most
//!    [`MAX_CONTINUATIONS`] times an hour; in a row not more often than the tool allows. So two sessions can talk
//!    for a while, and not without end. The last text says that the limit is reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::agent_name;
use super::json_fields::{number, text};
use super::session_agent::{continues_a_session, known_agent};
use super::session_check::INTERRUPTED;
use super::spec::{
    EventKind, Hook, HookBlocking, HookSpec, Integration, MailDelivery, MessageExtent, WAKE_PROMPT, WakeMethod,
    WatchForm,
};
use super::task_builder::{MAX_SHORT_DIRECTIVE, truncate};
use super::transcript::{self, HookSession};
use super::usage::Usage;
use super::{mail_text, prompt_text, wake};
use crate::config::HUMAN;
use crate::error::Result;
use crate::process::ProcessId;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{
    AgentState, ContinuationLimits, ContinuationRow, Continuations, MailToDeliver, NewTaskEvent, ReadContext, Receipt,
    Repeat, SessionEvent, SessionRow, WakeMode, Writer, session_key,
};
use crate::text::quantity::count;

/// Maximum times an hour that mail keeps an agent from stopping. Each time the model runs once more, at the
/// user's cost.
pub const MAX_CONTINUATIONS: i64 = 20;
/// Times that the hook of a tool that waits for a prompt looks whether another hook has ended the turn.
const END_OF_TURN_CHECKS: u32 = 40;
/// Time between two of them.
const END_OF_TURN_INTERVAL: Duration = Duration::from_millis(50);
/// The variable with the agent's name.
const AGENT_VARIABLE: &str = "AGENTHUB_AGENT";
/// The status of a running task.
const RUNNING: &str = "running";
/// The status of a task that waits for the user.
const WAITING: &str = "waiting";

/// The environment of a hook: all its input except stdin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookEnvironment {
    /// The agent's name, if it was given one.
    pub agent: Option<String>,
    /// The task that `agenthub run` records, if any. The hook then records nothing.
    pub task: Option<String>,
    /// The database, quoted for a shell; `None` if it is the default one.
    pub db: Option<String>,
    /// The tool's process id.
    pub pid: Option<i64>,
    /// The tool's process, if it runs this session only.
    pub process: Option<ProcessId>,
    /// The terminal of that process.
    pub terminal: Option<String>,
    /// Unix milliseconds.
    pub now: i64,
}

/// Where a hook writes its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputPlace {
    /// One line of JSON on stdout; exit code 0.
    Stdout,
    /// A prompt on stderr; exit code 2.
    Stderr,
}

/// The output of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "mail that is not printed does not reach the model until it is offered again"]
pub struct HookOutput {
    /// One line.
    pub text: String,
    /// Where it is written.
    pub place: OutputPlace,
    agent: String,
    session: String,
    /// The numbers of the delivered mail.
    mail: Vec<i64>,
}

impl HookOutput {
    /// Records that the output was printed, so that the mail in it is not offered again.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirm_printed(&self, writer: &Writer) -> Result<()> {
        if self.mail.is_empty() {
            return Ok(());
        }
        writer.confirm_delivery(&self.mail, &self.session, &self.agent)
    }
}

/// Records a hook's `input` and returns the output, if any. Input that is not that of a hook is
/// ignored.
///
/// # Errors
/// A `Store…` code; in that case nothing is written.
pub fn handle(
    writer: &Writer,
    (tool, hooks): (&Integration, &HookSpec),
    input: &Value,
    environment: &HookEnvironment,
) -> Result<Option<HookOutput>> {
    let Some(mut call) = HookCall::new(writer, (tool, hooks), input, environment)? else {
        return Ok(None);
    };
    match call.hook.kind {
        EventKind::Wake => return call.wake(),
        EventKind::Watch => return call.watch(),
        _ => {}
    }
    if !call.is_recorded()? || call.has_nothing_to_write()? {
        return Ok(None);
    }
    call.wait_for_end_of_turn()?;
    call.create_watched_file();
    let usage = match environment.task {
        None => transcript::read(writer, call.session(), call.kind, input)?,
        Some(_) => None,
    };
    writer.atomically(|| {
        call.record_session()?;
        if let Some(usage) = &usage {
            call.turn = usage.store(writer)?;
        }
        if environment.task.is_none() {
            call.record()?;
        }
        call.deliver_mail()
    })
}

/// Records a hook's `input` later than it occurred, at `environment.now`. Delivers no mail.
///
/// # Errors
/// A `Store…` code, or [`Code::Invalid`](crate::error::Code::Invalid) if the schema refuses a value.
pub fn record_late(
    writer: &Writer,
    tool: (&Integration, &HookSpec),
    input: &Value,
    environment: &HookEnvironment,
) -> Result<()> {
    match HookCall::new(writer, tool, input, environment)? {
        // The process of such a hook is that of the extension.
        Some(call) if call.hook.blocking == HookBlocking::ByExtension => Ok(()),
        Some(mut call) if call.is_recorded()? => {
            call.occurred_at = Some(environment.now);
            call.record_session()?;
            call.record()
        }
        _ => Ok(()),
    }
}

/// Returns whether the prompt is that of a wake, in the tool's own tags. A prompt of the person may quote it.
fn is_wake_prompt(tool: &Integration, prompt: &str) -> bool {
    let text = prompt.trim();
    text == WAKE_PROMPT
        || text.contains(WAKE_PROMPT)
            && tool
                .context_tags
                .iter()
                .any(|tag| text.strip_prefix('<').is_some_and(|rest| rest.starts_with(tag)))
}

/// One call of a hook.
struct HookCall<'a> {
    writer: &'a Writer,
    tool: &'a Integration,
    hooks: &'a HookSpec,
    input: &'a Value,
    environment: &'a HookEnvironment,
    hook: &'static Hook,
    /// What the event means, with this input.
    kind: EventKind,
    agent: String,
    task: String,
    /// The session before this event; `None` if it is the first one.
    session: Option<SessionRow>,
    /// When the event occurred, if it is not recorded at once.
    occurred_at: Option<i64>,
    /// The file that the output tells the tool to watch.
    watched_file: Option<PathBuf>,
    /// The prompt is that of a wake.
    is_woken: bool,
    /// The usage of the turn that ends, from the tool's record of the session.
    turn: Usage,
}

impl<'a> HookCall<'a> {
    fn new(
        writer: &'a Writer,
        (tool, hooks): (&'a Integration, &'a HookSpec),
        input: &'a Value,
        environment: &'a HookEnvironment,
    ) -> Result<Option<Self>> {
        let session = hooks.fields.session_of(input);
        let Some(hook) = hooks
            .hook(text(input, "hook_event_name"))
            .filter(|_| !session.is_empty())
        else {
            return Ok(None);
        };
        let begun_from = (hook.kind == EventKind::SessionStart).then(|| text(input, "source"));
        let agent = match &environment.agent {
            Some(agent) => agent.clone(),
            None => known_agent(writer, tool, (session, begun_from), environment.process.as_ref())?
                .unwrap_or_else(|| agent_name::of_session(tool.id, session)),
        };
        let task = session_key(tool.id, session);
        let Some(kind) = kind(writer, hooks, (hook, input), &task)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            writer,
            tool,
            hooks,
            input,
            environment,
            hook,
            kind,
            agent,
            session: writer.session(&task)?,
            task,
            occurred_at: None,
            watched_file: None,
            is_woken: false,
            turn: Usage::default(),
        }))
    }

    /// Returns the form in which the tool watches a file that wakes its sessions, if it does.
    fn watch_form(&self) -> Option<WatchForm> {
        match self.tool.wake.as_ref().ok()?.method {
            WakeMethod::WatchedFile(form) => Some(form),
            WakeMethod::InputFile { .. } | WakeMethod::Command { .. } => None,
        }
    }

    /// Creates the file whose change wakes this session, which begins.
    fn create_watched_file(&mut self) {
        let is_named = matches!(self.watch_form(), Some(WatchForm::Hook | WatchForm::Extension));
        if self.hook.kind == EventKind::SessionStart && is_named {
            self.watched_file = wake::create(self.writer.path(), &self.task);
        }
    }

    /// Answers a tool that asks whether the session is to be woken.
    fn wake(&self) -> Result<Option<HookOutput>> {
        let Some(form) = self.watch_form() else { return Ok(None) };
        // The file changes for other reasons too. Then there is nothing to write.
        if self.writer.begun_wake(&self.task)?.is_none() {
            return Ok(None);
        }
        if !self.writer.atomically(|| self.give_wake())? {
            return Ok(None);
        }
        let (text, place) = match form {
            WatchForm::Hook => (WAKE_PROMPT.to_owned(), OutputPlace::Stderr),
            WatchForm::Extension | WatchForm::OptionalExtension(_) => {
                (json!({"prompt": WAKE_PROMPT}).to_string(), OutputPlace::Stdout)
            }
        };
        Ok(Some(self.output_without_mail(text, place)))
    }

    /// Gives the prompt of the wake that has begun, if it is still to wake the session. Returns whether it is given. Much
    /// may have happened since the wake began, and any program can write its row.
    fn give_wake(&self) -> Result<bool> {
        let now = self.environment.now;
        let (Some(begun), Some(session)) = (self.writer.begun_wake(&self.task)?, self.writer.session(&self.task)?)
        else {
            return Ok(false);
        };
        let is_persons = begun.asked_by == HUMAN;
        if wake::is_overdue(&begun, now) || session.ended_at.is_some() || wake::is_working(self.writer, &session)? {
            return Ok(false);
        }
        if !is_persons && self.writer.wake_rules()?.mode(&begun.agent) == WakeMode::Off {
            return Ok(false);
        }
        let mail = self
            .writer
            .waking_mail(&begun.agent, (0, WakeMode::All), now, mail_text::MAX_MESSAGES)?;
        if mail.is_empty() {
            self.writer.cancel_wake(begun.n, "the mail was read before", now)?;
            return Ok(false);
        }
        let mode = self.permission_mode().unwrap_or(&session.permission_mode);
        let is_unattended = self
            .tool
            .wake
            .as_ref()
            .is_ok_and(|spec| wake::is_unattended(spec, mode));
        if is_unattended && !is_persons && !mail.iter().any(|mail| mail.verified) {
            self.writer
                .cancel_wake(begun.n, "the session asks before no command now", now)?;
            return Ok(false);
        }
        self.writer.give_wake(&self.task)
    }

    /// Names the file to watch to an extension of a session that is recorded, and records the permission mode, which
    /// the hooks of the tool do not know.
    fn watch(&self) -> Result<Option<HookOutput>> {
        let Some(session) = self.session.as_ref().filter(|session| session.ended_at.is_none()) else {
            return Ok(None);
        };
        let Some(file) = wake::create(self.writer.path(), &self.task) else {
            return Ok(None);
        };
        self.writer.record_session_event(&SessionEvent {
            id: &self.task,
            agent: &session.agent,
            process: None,
            terminal: None,
            permission_mode: self.permission_mode(),
            at: self.environment.now,
        })?;
        let text = json!({"watch_file": file.to_str()}).to_string();
        Ok(Some(self.output_without_mail(text, OutputPlace::Stdout)))
    }

    fn permission_mode(&self) -> Option<&'a str> {
        self.input["permission_mode"].as_str().filter(|mode| !mode.is_empty())
    }

    fn output_without_mail(&self, text: String, place: OutputPlace) -> HookOutput {
        HookOutput {
            text,
            place,
            agent: self.agent.clone(),
            session: self.task.clone(),
            mail: Vec::new(),
        }
    }

    /// Records whether the prompt is that of a wake or the person's.
    fn record_prompt(&mut self) -> Result<()> {
        let prompt = (self.hooks.fields.prompt)(self.input);
        self.is_woken =
            is_wake_prompt(self.tool, prompt) && self.writer.confirm_wake(&self.task, self.environment.now)?;
        if !self.is_woken && !prompt.starts_with(mail_text::MARK) {
            self.writer.note_prompt(&self.task, self.environment.now)?;
            // This turn gets the mail: another one for it would be empty.
            if let Some(begun) = self.writer.begun_wake(&self.task)? {
                self.writer
                    .cancel_wake(begun.n, "another prompt came first", self.environment.now)?;
            }
        }
        Ok(())
    }

    /// Waits for the hook that ends a failed turn, before a notification counts as an interruption: a tool may start both
    /// at the same time.
    fn wait_for_end_of_turn(&mut self) -> Result<()> {
        let is_notification = self.hook.kind == EventKind::Notification && self.kind == EventKind::Interrupt;
        if !is_notification || self.environment.task.is_some() {
            return Ok(());
        }
        let turn = self.writer.task_progress(&self.task)?.turn;
        for _ in 0..END_OF_TURN_CHECKS {
            // A new turn begins if the user sends a prompt at once.
            let is_open =
                self.writer.task_progress(&self.task)?.turn == turn && is_interrupted(self.writer, &self.task)?;
            if !is_open {
                self.kind = EventKind::Notification;
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "a hook has its own process")]
            std::thread::sleep(END_OF_TURN_INTERVAL);
        }
        Ok(())
    }

    /// Records the event in the session's own row: its agent, process and terminal, and whether it is open.
    fn record_session(&mut self) -> Result<()> {
        let mode_before = self.mode_before()?;
        let event = SessionEvent {
            id: &self.task,
            agent: &self.agent,
            process: self.environment.process.as_ref(),
            terminal: self.environment.terminal.as_deref(),
            permission_mode: self.permission_mode().or(mode_before.as_deref()),
            at: self.environment.now,
        };
        match self.kind {
            EventKind::SessionStart | EventKind::Prompt if !self.in_subagent() => self.writer.open_session(&event)?,
            EventKind::SessionEnd => {
                self.writer.record_session_event(&event)?;
                self.writer.end_session(&self.task, self.environment.now)?;
            }
            _ if self.was_ended_too_early()? => self.writer.open_session(&event)?,
            _ => self.writer.record_session_event(&event)?,
        }
        if self.session.is_none() {
            self.take_over_label()?;
        }
        match self.kind {
            EventKind::Prompt if !self.in_subagent() => self.record_prompt(),
            EventKind::SessionEnd => {
                wake::remove(self.writer.path(), &self.task);
                self.writer
                    .fail_wakes_of_session(&self.task, "the session has ended", self.environment.now)
            }
            _ => Ok(()),
        }
    }

    /// Returns the permission mode of the session that this one continues in the same process: it stays.
    fn mode_before(&self) -> Result<Option<String>> {
        let process = self.environment.process.as_ref();
        let continues = self.kind == EventKind::SessionStart && continues_a_session(text(self.input, "source"));
        Ok(match process.filter(|_| continues) {
            Some(process) => self
                .writer
                .last_session_of(process, self.tool.id)?
                .map(|session| session.permission_mode)
                .filter(|mode| !mode.is_empty()),
            None => None,
        })
    }

    /// Returns whether the session was found to have ended although its process runs. An event that comes late,
    /// after another session of the process has begun, is no sign of that.
    fn was_ended_too_early(&self) -> Result<bool> {
        let has_ended = self.session.as_ref().is_some_and(|session| session.ended_at.is_some());
        match self.environment.process.as_ref().filter(|_| has_ended) {
            Some(process) => Ok(process.is_alive() && self.writer.open_session_of(process)?.is_none()),
            None => Ok(false),
        }
    }

    /// Gives this new session the label of the last session of the tool in the same terminal, if no session of that
    /// agent runs: a label stays with its terminal.
    fn take_over_label(&self) -> Result<()> {
        let Some(terminal) = &self.environment.terminal else {
            return Ok(());
        };
        let last = self.writer.last_session_in(terminal, self.tool.id, &self.task)?;
        let Some(last) = last.filter(|last| last.agent != self.agent) else {
            return Ok(());
        };
        let label = self.writer.label(&last.agent)?;
        if label.is_empty() || !self.writer.label(&self.agent)?.is_empty() {
            return Ok(());
        }
        // A session whose process is not known has ended if another one begins in its terminal.
        let runs = |session: &SessionRow| match &session.process {
            Some(process) => process.is_alive(),
            None => session.terminal.as_ref() != Some(terminal),
        };
        let sessions = self.writer.sessions_of_agent(&last.agent)?;
        if sessions
            .iter()
            .any(|session| session.ended_at.is_none() && runs(session))
        {
            return Ok(());
        }
        self.writer.move_label(&label, &last.agent, &self.agent)
    }

    fn session(&self) -> HookSession<'_> {
        HookSession {
            tool: self.tool,
            id: &self.task,
            instance: self.hooks.fields.session_of(self.input),
            agent: &self.agent,
            pid: self.environment.pid,
        }
    }

    /// Returns whether a subagent is the source. Its tool calls are recorded; its start and end are not
    /// those of the session.
    fn in_subagent(&self) -> bool {
        !text(self.input, "agent_id").is_empty()
    }

    /// Returns whether the session is recorded. Its first event decides: a session may change its working directory.
    fn is_recorded(&self) -> Result<bool> {
        match self.writer.is_session_recorded(&self.task)? {
            Some(true) => return Ok(true),
            // `prune` deletes the row of a session without events: each start renews it.
            Some(false) if self.kind != EventKind::SessionStart => return Ok(false),
            None if !self.is_excluded()? => return Ok(true),
            Some(false) | None => {}
        }
        if self.kind != EventKind::SessionEnd {
            self.writer.leave_session_out(&self.task, self.environment.now)?;
        }
        Ok(false)
    }

    /// Returns whether a directory of the session is one that the user has excluded.
    fn is_excluded(&self) -> Result<bool> {
        for directory in (self.hooks.fields.directories)(self.input) {
            if self.writer.is_excluded(Path::new(directory))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether this event only delivers mail and there is none, or ends a session that never began. The
    /// first fires between every two steps of a session, and must not wait for the write lock unnecessarily. The
    /// second comes from a command that lists the tool's servers.
    fn has_nothing_to_write(&self) -> Result<bool> {
        if self.kind == EventKind::SessionEnd && self.session.is_none() {
            return Ok(!self.writer.agent_exists(&self.agent)?);
        }
        Ok(self.kind == EventKind::Batch
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.greeted_at.is_some())
            && self
                .writer
                .mail_delivered_to_session(&self.agent, &self.task, self.environment.now)?
                .is_empty()
            && !self.writer.has_mail_to_deliver(&self.agent, self.environment.now)?)
    }

    fn record(&self) -> Result<()> {
        let input = self.input;
        match self.kind {
            EventKind::SessionStart => self.set_agent("idle"),
            EventKind::Prompt => self.prompt(),
            EventKind::Text => self.text(text(input, "text")),
            EventKind::ToolUse => self.tool_use(),
            EventKind::ToolResult => self.tool_result(),
            EventKind::PermissionRequest => {
                self.set_status(WAITING, &format!("asks for permission: {}", text(input, "tool_name")))
            }
            EventKind::Notification => {
                let kind = text(input, "notification_type");
                match self.hooks.waiting_notifications.contains(&kind) {
                    true => self.set_status(WAITING, text(input, "message")),
                    false => Ok(()),
                }
            }
            // The session goes on.
            EventKind::Stop if self.in_subagent() => Ok(()),
            EventKind::Stop => self.stop(),
            EventKind::Interrupt => self.interrupted(),
            EventKind::StopFailure => self.fail(&(self.hooks.fields.stop_error)(input), "error"),
            EventKind::SessionEnd => self.session_end(),
            EventKind::Batch | EventKind::Wake | EventKind::Watch => Ok(()),
        }
    }

    fn prompt(&self) -> Result<()> {
        if self.in_subagent() {
            return Ok(());
        }
        let prompt = (self.hooks.fields.prompt)(self.input);
        // Some tools run this hook for the text with which the model continues, and a wake is no prompt of the user
        // either.
        let is_own = prompt.starts_with(mail_text::MARK) || self.is_woken;
        let prompt = if is_own { "" } else { prompt };
        let turn = self.writer.task_progress(&self.task)?.turn + 1;
        self.write(&NewTaskEvent {
            turn_num: turn,
            ..self.row(Kind::TURN_START)?
        })?;
        self.write(&NewTaskEvent {
            turn_num: turn,
            status: RUNNING.to_owned(),
            directive: prompt_text::title(self.tool.context_tags, prompt)
                .chars()
                .take(MAX_SHORT_DIRECTIVE)
                .collect(),
            directive_full: truncate(prompt),
            workspace: (self.hooks.fields.workspace)(self.input).to_owned(),
            ..self.row(Kind::STATUS)?
        })?;
        self.set_agent(RUNNING)
    }

    fn text(&self, message: &str) -> Result<()> {
        if message.is_empty() {
            return Ok(());
        }
        self.write(&NewTaskEvent {
            text: truncate(message),
            ..self.row(Kind::TEXT)?
        })
    }

    fn tool_use(&self) -> Result<()> {
        self.resume()?;
        let call_id = match self.hooks.fields.call_id {
            Some(field) => text(self.input, field).to_owned(),
            None => self.writer.new_call_id()?,
        };
        self.write(&NewTaskEvent {
            tool_name: text(self.input, "tool_name").to_owned(),
            tool_input: truncate(&self.input["tool_input"].to_string()),
            call_id,
            ..self.row(Kind::TOOL_USE)?
        })
    }

    fn tool_result(&self) -> Result<()> {
        self.resume()?;
        let fields = &self.hooks.fields;
        let tool_name = text(self.input, "tool_name");
        let call_id = match fields.call_id {
            Some(field) => text(self.input, field).to_owned(),
            None => {
                let tool_input = truncate(&self.input["tool_input"].to_string());
                match self.writer.oldest_open_call(&self.task, tool_name, &tool_input)? {
                    Some(open) => open,
                    None => self.call_without_hook(tool_name, tool_input)?,
                }
            }
        };
        self.write(&NewTaskEvent {
            tool_name: tool_name.to_owned(),
            tool_output: truncate(&(fields.tool_output)(self.input)),
            error_msg: truncate((fields.tool_error)(self.input)),
            call_id,
            duration_sec: number(self.input, fields.duration) / 1000,
            ..self.row(Kind::TOOL_RESULT)?
        })
    }

    /// Records the call of a tool that has run, if the tool has no hook before that. Returns the call's id, or "".
    fn call_without_hook(&self, tool_name: &str, tool_input: String) -> Result<String> {
        let mut hooks = self.hooks.hooks.iter();
        if hooks.any(|hook| hook.kind == EventKind::ToolUse) {
            return Ok(String::new());
        }
        let call_id = self.writer.new_call_id()?;
        self.write(&NewTaskEvent {
            tool_name: tool_name.to_owned(),
            tool_input,
            call_id: call_id.clone(),
            ..self.row(Kind::TOOL_USE)?
        })?;
        Ok(call_id)
    }

    /// Records that the session works again: the user has answered a request, or another hook has kept
    /// the session from stopping after its task was recorded as completed.
    fn resume(&self) -> Result<()> {
        match self.writer.task_progress(&self.task)?.status.as_str() {
            WAITING => self.set_status(RUNNING, ""),
            "failed"
                if self.session.as_ref().is_some_and(|session| session.ended_at.is_some())
                    && self
                        .writer
                        .session(&self.task)?
                        .is_some_and(|session| session.ended_at.is_none()) =>
            {
                self.set_status(RUNNING, "")?;
                self.set_agent(RUNNING)
            }
            "completed" if !self.in_subagent() => {
                self.set_status(RUNNING, "")?;
                self.set_agent(RUNNING)
            }
            _ => Ok(()),
        }
    }

    fn set_status(&self, status: &str, remark: &str) -> Result<()> {
        self.write(&NewTaskEvent {
            status: status.to_owned(),
            text: truncate(remark),
            ..self.row(Kind::STATUS)?
        })
    }

    fn stop(&self) -> Result<()> {
        let error = (self.hooks.fields.stop_error)(self.input);
        if !error.is_empty() {
            return self.fail(&error, "idle");
        }
        self.text(&self.last_message()?)?;
        self.end_turn()?;
        match background_tasks(self.input) {
            0 => self.finish("completed", "idle"),
            tasks => {
                let remark = format!("waits for {}", count(tasks, "background task"));
                self.set_status(RUNNING, &remark)?;
                self.set_agent(RUNNING)
            }
        }
    }

    /// Records that the user has interrupted the turn.
    fn interrupted(&self) -> Result<()> {
        // Another hook may have ended the turn meanwhile.
        let has_ended = self.hook.kind == EventKind::Notification && !is_interrupted(self.writer, &self.task)?;
        if self.in_subagent() || has_ended {
            return Ok(());
        }
        self.write(&NewTaskEvent {
            error_msg: INTERRUPTED.to_owned(),
            ..self.row(Kind::ERROR)?
        })?;
        self.end_turn()?;
        self.finish("failed", "idle")
    }

    /// Records the end of the turn, with its tokens.
    fn end_turn(&self) -> Result<()> {
        self.write(&NewTaskEvent {
            tokens_in: self.turn.tokens_in,
            tokens_out: self.turn.tokens_out,
            ..self.row(Kind::TURN_END)?
        })
    }

    /// Returns what the model has written in this turn.
    fn last_message(&self) -> Result<String> {
        let message = text(self.input, self.hooks.fields.last_message);
        if self.hooks.fields.last_message_extent == MessageExtent::Last {
            return Ok(message.to_owned());
        }
        // The texts of earlier turns since the prompt are recorded.
        let mut rest = message;
        for recorded in self.writer.texts_since_prompt(&self.task)? {
            match rest.trim_start().strip_prefix(recorded.trim()) {
                Some(after) => rest = after,
                None => return Ok(message.to_owned()),
            }
        }
        Ok(rest.trim().to_owned())
    }

    /// Records that the turn has failed. `agent` is the status of the agent from now on.
    fn fail(&self, error: &str, agent: &str) -> Result<()> {
        self.write(&NewTaskEvent {
            error_msg: truncate(error),
            ..self.row(Kind::ERROR)?
        })?;
        self.finish("failed", agent)
    }

    /// Records that the session has ended. An open turn cannot complete any more.
    fn session_end(&self) -> Result<()> {
        if matches!(
            self.writer.task_progress(&self.task)?.status.as_str(),
            RUNNING | WAITING
        ) {
            return self.fail("the session ended in the middle of a turn", "idle");
        }
        self.set_agent("idle")
    }

    fn finish(&self, task: &str, agent: &str) -> Result<()> {
        self.write(&NewTaskEvent {
            status: task.to_owned(),
            ..self.row(Kind::STATUS)?
        })?;
        self.set_agent(agent)
    }

    fn set_agent(&self, status: &str) -> Result<()> {
        let state = AgentState {
            status: Some(status.to_owned()),
            workspace: Some((self.hooks.fields.workspace)(self.input).to_owned()).filter(|path| !path.is_empty()),
            pid: self.environment.pid,
            ..AgentState::default()
        };
        self.writer.set_agent(&self.agent, &state)
    }

    fn row(&self, stream_type: Kind) -> Result<NewTaskEvent> {
        Ok(NewTaskEvent {
            task_id: self.task.clone(),
            stream_type,
            turn_num: self.writer.task_progress(&self.task)?.turn,
            agent_id: self.agent.clone(),
            source_type: self.tool.id.to_owned(),
            model: text(self.input, "model").to_owned(),
            created_at: self.occurred_at,
            ..NewTaskEvent::default()
        })
    }

    fn write(&self, row: &NewTaskEvent) -> Result<()> {
        self.writer.record_task_event(row).map(drop)
    }

    /// Delivers unread mail, if this event does.
    fn deliver_mail(&self) -> Result<Option<HookOutput>> {
        let delivery = self.hook.mail;
        if delivery == MailDelivery::None || self.in_subagent() {
            return Ok(None);
        }
        let via = format!("{} {}", self.hooks.word, self.hook.event);
        let context = ReadContext {
            reader: &self.agent,
            via: &via,
            now: self.environment.now,
        };
        // From now on the agent gets mail to all.
        self.writer.register_agent(&self.agent)?;
        self.writer.adopt_deliveries(&self.agent)?;
        self.writer.advance_broadcasts(&self.agent, self.environment.now)?;
        let has_model_run =
            matches!(delivery, MailDelivery::Context | MailDelivery::Continuation) && self.kind != EventKind::Prompt;
        if has_model_run {
            self.mark_offered_as_seen(context)?;
        }
        let is_start = delivery == MailDelivery::SessionStart;
        let session = self.writer.session(&self.task)?;
        let is_greeted = session.is_some_and(|session| session.greeted_at.is_some());
        let greets = is_start || !is_greeted && delivery != MailDelivery::Continuation;
        let repeat = if is_start { Repeat::Unseen } else { Repeat::Lost };
        let MailToDeliver { mail, waiting } =
            self.writer
                .mail_to_deliver(&self.agent, repeat, self.environment.now, mail_text::MAX_MESSAGES)?;
        let access = mail_text::Access {
            db: self.environment.db.as_deref(),
            shells: self.tool.shell_access,
        };
        let label = if greets {
            self.writer.label(&self.agent)?
        } else {
            String::new()
        };
        let greeting = greets.then(|| mail_text::greeting(&self.agent, &label, access));
        let labels = self.writer.sender_labels(&mail)?;
        let messages = (!mail.is_empty()).then(|| mail_text::text(&mail, &labels, waiting, &self.agent, access));
        let mut parts: Vec<String> = greeting.into_iter().chain(messages).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        if delivery == MailDelivery::Continuation {
            match self.continue_session()? {
                None => return Ok(None),
                Some(Continuations::Left) => {}
                Some(Continuations::Last) => parts.push(mail_text::last_continuation(access)),
            }
        }
        if !mail.is_empty() {
            self.writer.record_delivery(&mail, &self.task, context)?;
        }
        if greets {
            self.writer.note_greeting(&self.task, self.environment.now)?;
        }
        Ok(Some(HookOutput {
            text: self.output(&parts.join("\n\n")).to_string(),
            place: OutputPlace::Stdout,
            agent: self.agent.clone(),
            session: self.task.clone(),
            mail: mail.iter().map(|row| row.n).collect(),
        }))
    }

    /// Marks the mail offered to this session as seen: the model has run since.
    fn mark_offered_as_seen(&self, context: ReadContext<'_>) -> Result<()> {
        let offered = self
            .writer
            .mail_delivered_to_session(&self.agent, &self.task, self.environment.now)?;
        for row in &offered {
            if mail_text::is_whole(row) {
                self.writer.read_mail(&row.message_id, context)?;
            } else {
                self.writer.add_receipt(&row.message_id, Receipt::Seen, context)?;
            }
        }
        Ok(())
    }

    /// Keeps the session from stopping, if that is allowed: its task continues.
    fn continue_session(&self) -> Result<Option<Continuations>> {
        if !(self.hooks.fields.stop_error)(self.input).is_empty() {
            return Ok(None);
        }
        let limits = ContinuationLimits {
            an_hour: MAX_CONTINUATIONS,
            in_a_row: self.hooks.max_continuations_in_a_row.unwrap_or(MAX_CONTINUATIONS),
        };
        let row = match (self.hooks.fields.is_continuation)(self.input) {
            true => ContinuationRow::Continues,
            false => ContinuationRow::Begins,
        };
        let counted = self
            .writer
            .count_continuation(&self.agent, self.environment.now, row, limits)?;
        if counted.is_some() && self.environment.task.is_none() {
            self.set_status(RUNNING, "continues: new mail")?;
            self.set_agent(RUNNING)?;
        }
        Ok(counted)
    }

    fn output(&self, text: &str) -> Value {
        let form = match self.hook.mail {
            MailDelivery::Continuation => self.hooks.continuation,
            _ => self.hooks.context,
        };
        let mut output = form.output(self.hook.event, text);
        if let (EventKind::SessionStart, Some(field)) = (self.kind, self.hooks.session_environment) {
            output[field] = json!({AGENT_VARIABLE: self.agent});
        }
        if let (Some(form), Some(file)) = (
            self.watch_form(),
            self.watched_file.as_ref().and_then(|path| path.to_str()),
        ) {
            match form {
                WatchForm::Hook => output["hookSpecificOutput"]["watchPaths"] = json!([file]),
                WatchForm::Extension | WatchForm::OptionalExtension(_) => output["watch_file"] = file.into(),
            }
        }
        output
    }
}

/// Returns what an event means, with this input. `None`: nothing.
fn kind(writer: &Writer, hooks: &HookSpec, (hook, input): (&Hook, &Value), task: &str) -> Result<Option<EventKind>> {
    match hook.kind {
        EventKind::Prompt if !(hooks.fields.is_prompt)(input) => Ok(None),
        EventKind::Notification if (hooks.fields.is_idle)(input) && is_interrupted(writer, task)? => {
            Ok(Some(EventKind::Interrupt))
        }
        kind => Ok(Some(kind)),
    }
}

/// Returns whether no hook has ended the turn of a session that waits for a prompt.
fn is_interrupted(writer: &Writer, task: &str) -> Result<bool> {
    let is_active = matches!(writer.task_progress(task)?.status.as_str(), RUNNING | WAITING);
    Ok(is_active && writer.is_turn_open(task)?)
}

/// Returns the number of the session's tasks that still run in the background.
fn background_tasks(input: &Value) -> usize {
    let tasks = input["background_tasks"].as_array().into_iter().flatten();
    let has_ended = |task: &&Value| matches!(text(task, "status"), "completed" | "failed" | "cancelled" | "killed");
    tasks.filter(|task| !has_ended(task)).count()
}

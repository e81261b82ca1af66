//! Handles one call of a hook, in a process that runs for a few milliseconds.
//!
//! The events and fields are those that Claude Code introduced and other tools adopted. A tool's
//! [`HookSpec`] contains the differences. The event becomes rows, and at some events unread mail is
//! delivered to the model.
//!
//! 1. All writes are one transaction, and output is printed after its commit: mail never reaches
//!    a model without its receipt. A second write confirms that the output was printed; mail
//!    without that confirmation is delivered again.
//! 2. `offered` means that the mail was put into the model's context. A later hook of the same
//!    session, after the model has run, makes it `seen`; mail that was delivered in full becomes read
//!    at that time. Mail that was offered to another session, and not seen, is delivered again when a
//!    session starts.
//! 3. Urgent mail comes first, then mail that asks for an action, then the rest; of each the oldest first.
//! 4. A hook keeps a session from stopping only for mail that it has not received, never twice in a
//!    row, and at most [`MAX_CONTINUATIONS`] times an hour.

use serde_json::{Value, json};

use super::agent_name;
use super::json_fields::{number, result_text, text};
use super::spec::{HookSpec, Integration, MailDelivery, SESSION_START};
use super::task_builder::{MAX_SHORT_DIRECTIVE, truncate};
use super::transcript::{self, HookSession};
use super::usage::Usage;
use super::{mail_text, prompt_text};
use crate::error::Result;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{AgentState, MailToDeliver, NewTaskEvent, ReadContext, Receipt, Repeat, Writer};

/// Maximum times an hour that a session is kept from stopping.
pub const MAX_CONTINUATIONS: i64 = 6;
/// The event of a new prompt. The model has not run since the hook before it.
const PROMPT: &str = "UserPromptSubmit";
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
    /// Unix milliseconds.
    pub now: i64,
}

/// The output of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "mail that is not printed does not reach the model until it is offered again"]
pub struct HookOutput {
    /// One line of JSON.
    pub text: String,
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
    let Some(mut call) = HookCall::new(writer, (tool, hooks), input, environment) else {
        return Ok(None);
    };
    if call.has_nothing_to_write()? {
        return Ok(None);
    }
    let usage = match environment.task {
        None => transcript::read(writer, call.session(), input)?,
        Some(_) => None,
    };
    writer.atomically(|| {
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
    match HookCall::new(writer, tool, input, environment) {
        Some(mut call) => {
            call.occurred_at = Some(environment.now);
            call.record()
        }
        None => Ok(()),
    }
}

/// One call of a hook.
struct HookCall<'a> {
    writer: &'a Writer,
    tool: &'a Integration,
    hooks: &'a HookSpec,
    input: &'a Value,
    environment: &'a HookEnvironment,
    event: &'a str,
    agent: String,
    task: String,
    /// When the event occurred, if it is not recorded at once.
    occurred_at: Option<i64>,
    /// The usage of the turn that ends, from the tool's record of the session.
    turn: Usage,
}

impl<'a> HookCall<'a> {
    fn new(
        writer: &'a Writer,
        (tool, hooks): (&'a Integration, &'a HookSpec),
        input: &'a Value,
        environment: &'a HookEnvironment,
    ) -> Option<Self> {
        let session = text(input, "session_id");
        let event = text(input, "hook_event_name");
        if session.is_empty() || event.is_empty() {
            return None;
        }
        Some(Self {
            writer,
            tool,
            hooks,
            input,
            environment,
            event,
            agent: environment
                .agent
                .clone()
                .unwrap_or_else(|| agent_name::of_session(tool.id, session)),
            task: format!("{}-{session}", tool.id),
            occurred_at: None,
            turn: Usage::default(),
        })
    }

    fn session(&self) -> HookSession<'_> {
        HookSession {
            tool: self.tool,
            id: &self.task,
            agent: &self.agent,
            pid: self.environment.pid,
        }
    }

    /// Returns whether a subagent is the source. Its tool calls are recorded; its start and end are not
    /// those of the session.
    fn in_subagent(&self) -> bool {
        !text(self.input, "agent_id").is_empty()
    }

    /// Returns whether this event only delivers mail and there is none. Such an event fires between
    /// every two steps of a session, and must not wait for the write lock unnecessarily.
    fn has_nothing_to_write(&self) -> Result<bool> {
        Ok(self.event == "PostToolBatch"
            && self
                .writer
                .mail_delivered_to_session(&self.agent, &self.task, self.environment.now)?
                .is_empty()
            && !self.writer.has_mail_to_deliver(&self.agent, self.environment.now)?)
    }

    fn record(&self) -> Result<()> {
        let input = self.input;
        match self.event {
            SESSION_START => self.set_agent("idle"),
            PROMPT => self.prompt(),
            "PreToolUse" => self.tool_use(),
            "PostToolUse" => self.tool_result(&tool_output(&input["tool_response"]), ""),
            "PostToolUseFailure" => self.tool_result("", text(input, "error")),
            "PermissionRequest" => {
                self.set_status(WAITING, &format!("asks for permission: {}", text(input, "tool_name")))
            }
            "Notification" => match text(input, "notification_type") {
                "agent_needs_input" | "elicitation_dialog" => self.set_status(WAITING, text(input, "message")),
                _ => Ok(()),
            },
            "Stop" => self.stop(),
            "StopFailure" => {
                let details = text(input, "error_details");
                self.write(&NewTaskEvent {
                    error_msg: truncate(&format!("{} {details}", text(input, "error"))),
                    ..self.row(Kind::ERROR)?
                })?;
                self.finish("failed", "error")
            }
            "SessionEnd" => self.session_end(),
            _ => Ok(()),
        }
    }

    fn prompt(&self) -> Result<()> {
        let prompt = text(self.input, "prompt");
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
            workspace: text(self.input, "cwd").to_owned(),
            ..self.row(Kind::STATUS)?
        })?;
        self.set_agent(RUNNING)
    }

    fn tool_use(&self) -> Result<()> {
        self.resume()?;
        self.write(&NewTaskEvent {
            tool_name: text(self.input, "tool_name").to_owned(),
            tool_input: truncate(&self.input["tool_input"].to_string()),
            call_id: text(self.input, "tool_use_id").to_owned(),
            ..self.row(Kind::TOOL_USE)?
        })
    }

    fn tool_result(&self, output: &str, error: &str) -> Result<()> {
        self.resume()?;
        self.write(&NewTaskEvent {
            tool_name: text(self.input, "tool_name").to_owned(),
            tool_output: truncate(output),
            error_msg: truncate(error),
            call_id: text(self.input, "tool_use_id").to_owned(),
            duration_sec: number(self.input, "duration_ms") / 1000,
            ..self.row(Kind::TOOL_RESULT)?
        })
    }

    /// Records that the session works again: the user has answered a request, or another hook has kept
    /// the session from stopping after its task was recorded as completed.
    fn resume(&self) -> Result<()> {
        match self.writer.task_progress(&self.task)?.status.as_str() {
            WAITING => self.set_status(RUNNING, ""),
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
        let message = text(self.input, "last_assistant_message");
        if !message.is_empty() {
            self.write(&NewTaskEvent {
                text: truncate(message),
                ..self.row(Kind::TEXT)?
            })?;
        }
        self.write(&NewTaskEvent {
            tokens_in: self.turn.tokens_in,
            tokens_out: self.turn.tokens_out,
            ..self.row(Kind::TURN_END)?
        })?;
        self.finish("completed", "idle")
    }

    /// Records that the session has ended. An open turn cannot complete any more.
    fn session_end(&self) -> Result<()> {
        if matches!(
            self.writer.task_progress(&self.task)?.status.as_str(),
            RUNNING | WAITING
        ) {
            self.write(&NewTaskEvent {
                error_msg: "the session ended in the middle of a turn".to_owned(),
                ..self.row(Kind::ERROR)?
            })?;
            return self.finish("failed", "idle");
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
            workspace: Some(text(self.input, "cwd").to_owned()).filter(|cwd| !cwd.is_empty()),
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
        let delivery = self
            .hooks
            .hooks
            .iter()
            .find(|hook| hook.event == self.event)
            .map_or(MailDelivery::None, |hook| hook.mail);
        if delivery == MailDelivery::None || self.in_subagent() {
            return Ok(None);
        }
        let via = format!("{} {}", self.hooks.word, self.event);
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
            matches!(delivery, MailDelivery::Context | MailDelivery::StopReason) && self.event != PROMPT;
        if has_model_run {
            self.mark_offered_as_seen(context)?;
        }
        let is_start = delivery == MailDelivery::SessionStart;
        let repeat = if is_start { Repeat::Unseen } else { Repeat::Lost };
        let MailToDeliver { mail, waiting } =
            self.writer
                .mail_to_deliver(&self.agent, repeat, self.environment.now, mail_text::MAX_MESSAGES)?;
        let db = self.environment.db.as_deref();
        let greeting = is_start.then(|| mail_text::greeting(&self.agent, db));
        let messages = (!mail.is_empty()).then(|| mail_text::text(&mail, waiting, &self.agent, db));
        let text = greeting.into_iter().chain(messages).collect::<Vec<_>>().join("\n\n");
        if text.is_empty() || delivery == MailDelivery::StopReason && !self.continue_session()? {
            return Ok(None);
        }
        if !mail.is_empty() {
            self.writer.record_delivery(&mail, &self.task, context)?;
        }
        Ok(Some(HookOutput {
            text: self.output(delivery, &text).to_string(),
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

    /// Returns whether the session may be kept from stopping. If so, its task continues.
    fn continue_session(&self) -> Result<bool> {
        if self.input["stop_hook_active"] == Value::Bool(true)
            || !self
                .writer
                .count_continuation(&self.agent, self.environment.now, MAX_CONTINUATIONS)?
        {
            return Ok(false);
        }
        if self.environment.task.is_none() {
            self.set_status(RUNNING, "continues: new mail")?;
            self.set_agent(RUNNING)?;
        }
        Ok(true)
    }

    fn output(&self, delivery: MailDelivery, text: &str) -> Value {
        match delivery {
            MailDelivery::StopReason => json!({"decision": "block", "reason": text}),
            _ => json!({"hookSpecificOutput": {"hookEventName": self.event, "additionalContext": text}}),
        }
    }
}

/// Returns a tool's output as text: stdout and stderr, the texts of its blocks, or its JSON.
fn tool_output(value: &Value) -> String {
    let Some(object) = value.as_object() else {
        return result_text(value);
    };
    match (
        object.get("stdout").and_then(Value::as_str),
        object.get("stderr").and_then(Value::as_str),
    ) {
        (Some(out), None | Some("")) => out.to_owned(),
        (Some(""), Some(err)) => err.to_owned(),
        (Some(out), Some(err)) => format!("{out}\n{err}"),
        _ if object.get("content").is_some_and(Value::is_array) => result_text(&value["content"]),
        _ => result_text(value),
    }
}

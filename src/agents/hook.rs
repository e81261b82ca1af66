//! Hooks: what an agent's tool tells a process that lives for milliseconds.
//!
//! For: Claude Code's and Codex's hooks, which are alike: the event becomes rows, and at some
//! events unread mail is handed to the model.
//! Not for: which events those are (`claude`, `codex`), or how a failure is kept from the
//! tool (`cli::hook`).
//!
//! 1. Everything is one transaction, and what is printed is printed after its commit: mail
//!    is never put before a model without its receipt. That it was printed is written after
//!    that; otherwise it is offered again.
//! 2. Offered means put before the model. A later hook of the same session, after the model
//!    has spoken, makes it seen; mail that was shown whole is read from then on. What was
//!    offered to another session, and not seen, is offered again when one starts.
//! 3. A session is kept from stopping only for mail that was not put before it, never twice in
//!    a row, and [`CONTINUATIONS`] times an hour at most.

use serde_json::{Value, json};

use super::task::clip;
use super::{Vendor, claude, codex, mail, number, text};
use crate::config;
use crate::error::Result;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{AgentState, NewTask, ReadContext, Receipt, Writer};

/// How often an hour a session is kept from stopping.
pub const CONTINUATIONS: i64 = 6;
/// Characters of a directive's short form.
const DIRECTIVE: usize = 200;
/// A task's status while it goes on.
const RUNNING: &str = "running";
/// A task's status while the person is asked for something.
const WAITING: &str = "waiting";

/// One event that a hook is installed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The vendor's name for it.
    pub event: &'static str,
    /// What the hook does to the tool meanwhile.
    pub pace: Pace,
    /// Whether and how mail is handed over.
    pub mail: Mail,
}

/// Whether the tool waits for the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It does.
    Waits,
    /// It goes on.
    GoesOn,
}

/// How mail is handed over at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// Not at all.
    No,
    /// As context, with a greeting, and what an earlier session may have missed once more.
    Again,
    /// As context. The model has spoken since the last time.
    Context,
    /// As context. The model may not have spoken since the last time.
    Beside,
    /// As the reason to go on instead of stopping.
    Reason,
}

/// What the process knows beside the hook's input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `AGENTHUB_AGENT`: the agent's name, if it has been given one.
    pub agent: Option<String>,
    /// `AGENTHUB_TASK`: `agenthub run` records this task, so that the hook need not.
    pub task: Option<String>,
    /// The file, as a shell has to be told it; `None` if the tool's commands find it unasked.
    pub db: Option<String>,
    /// The tool's process.
    pub pid: Option<i64>,
    /// Unix milliseconds.
    pub now: i64,
}

/// The hooks of a vendor's tool; none if it has no hooks of ours.
pub fn hooks(vendor: Vendor) -> &'static [Hook] {
    match vendor {
        Vendor::Claude => claude::HOOKS,
        Vendor::Codex => codex::HOOKS,
        Vendor::Gemini | Vendor::Cursor => &[],
    }
}

/// What `agenthub hook` calls a vendor's tool.
pub fn tool(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Claude => "claude-code",
        other => other.name(),
    }
}

/// What a hook is to print for the tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "mail that is not printed is lost to the model until it is offered again"]
pub struct Answer {
    /// One line of JSON.
    pub text: String,
    agent: String,
    session: String,
    /// The numbers of the mail in it.
    mail: Vec<i64>,
}

impl Answer {
    /// Writes that the answer was printed, and so that the mail in it is before the model.
    /// What is never said to be printed is offered again.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn printed(&self, writer: &Writer) -> Result<()> {
        if self.mail.is_empty() {
            return Ok(());
        }
        writer.confirm_delivery(&self.mail, &self.session, &self.agent)
    }
}

/// Writes what a hook's `input` says, and returns what is to be printed for the tool, if
/// anything. Input that is none of a hook changes nothing.
///
/// # Errors
/// A `Store…` code; nothing is written then.
pub fn answer(writer: &Writer, vendor: Vendor, input: &Value, around: &Surroundings) -> Result<Option<Answer>> {
    let Some(call) = Call::new(writer, vendor, input, around) else {
        return Ok(None);
    };
    if call.is_idle()? {
        return Ok(None);
    }
    writer.atomically(|| {
        if around.task.is_none() {
            call.record()?;
        }
        call.hand_over()
    })
}

/// One call of a hook.
struct Call<'a> {
    writer: &'a Writer,
    vendor: Vendor,
    input: &'a Value,
    around: &'a Surroundings,
    event: &'a str,
    agent: String,
    task: String,
}

impl<'a> Call<'a> {
    fn new(writer: &'a Writer, vendor: Vendor, input: &'a Value, around: &'a Surroundings) -> Option<Self> {
        let session = text(input, "session_id");
        let event = text(input, "hook_event_name");
        if session.is_empty() || event.is_empty() {
            return None;
        }
        Some(Self {
            writer,
            vendor,
            input,
            around,
            event,
            agent: around
                .agent
                .clone()
                .unwrap_or_else(|| config::session_agent(vendor.name(), session)),
            task: format!("{}-{session}", vendor.name()),
        })
    }

    /// Within a subagent: its tools are recorded, its beginning and end are not the session's.
    fn in_subagent(&self) -> bool {
        !text(self.input, "agent_id").is_empty()
    }

    /// Nothing is to be written and there is no mail: no reason to queue for the lock, between
    /// every two steps of a session.
    fn is_idle(&self) -> Result<bool> {
        Ok(self.event == "PostToolBatch"
            && self
                .writer
                .mail_delivered_to_session(&self.agent, &self.task, self.around.now)?
                .is_empty()
            && self.writer.mail_to_deliver(&self.agent, self.around.now, 1)?.is_empty())
    }

    fn record(&self) -> Result<()> {
        let input = self.input;
        match self.event {
            "SessionStart" => self.agent_is("idle"),
            "UserPromptSubmit" => self.prompt(),
            "PreToolUse" => self.tool_use(),
            "PostToolUse" => self.tool_result(&response(&input["tool_response"]), ""),
            "PostToolUseFailure" => self.tool_result("", text(input, "error")),
            "PermissionRequest" => self.remark(WAITING, &format!("asks for permission: {}", text(input, "tool_name"))),
            "Notification" => match text(input, "notification_type") {
                "agent_needs_input" | "elicitation_dialog" => self.remark(WAITING, text(input, "message")),
                _ => Ok(()),
            },
            "Stop" => self.stop(),
            "StopFailure" => {
                let details = text(input, "error_details");
                self.put(&NewTask {
                    error_msg: clip(&format!("{} {details}", text(input, "error"))),
                    ..self.row(Kind::ERROR)?
                })?;
                self.settle("failed", "error")
            }
            "SessionEnd" => self.session_end(),
            _ => Ok(()),
        }
    }

    fn prompt(&self) -> Result<()> {
        let prompt = text(self.input, "prompt");
        let turn = self.writer.task_progress(&self.task)?.turn + 1;
        self.put(&NewTask {
            turn_num: turn,
            ..self.row(Kind::TURN_START)?
        })?;
        self.put(&NewTask {
            turn_num: turn,
            status: RUNNING.to_owned(),
            directive: prompt.chars().take(DIRECTIVE).collect(),
            directive_full: clip(prompt),
            workspace: text(self.input, "cwd").to_owned(),
            ..self.row(Kind::STATUS)?
        })?;
        self.agent_is(RUNNING)
    }

    fn tool_use(&self) -> Result<()> {
        self.goes_on()?;
        self.put(&NewTask {
            tool_name: text(self.input, "tool_name").to_owned(),
            tool_input: clip(&self.input["tool_input"].to_string()),
            call_id: text(self.input, "tool_use_id").to_owned(),
            ..self.row(Kind::TOOL_USE)?
        })
    }

    fn tool_result(&self, output: &str, error: &str) -> Result<()> {
        self.goes_on()?;
        self.put(&NewTask {
            tool_name: text(self.input, "tool_name").to_owned(),
            tool_output: clip(output),
            error_msg: clip(error),
            call_id: text(self.input, "tool_use_id").to_owned(),
            duration_sec: number(self.input, "duration_ms") / 1000,
            ..self.row(Kind::TOOL_RESULT)?
        })
    }

    /// There is work again: whatever the person was asked for has been given, or refused; and
    /// a session that another hook kept from stopping has not ended.
    fn goes_on(&self) -> Result<()> {
        match self.writer.task_progress(&self.task)?.status.as_str() {
            WAITING => self.remark(RUNNING, ""),
            "completed" if !self.in_subagent() => {
                self.remark(RUNNING, "")?;
                self.agent_is(RUNNING)
            }
            _ => Ok(()),
        }
    }

    fn remark(&self, status: &str, remark: &str) -> Result<()> {
        self.put(&NewTask {
            status: status.to_owned(),
            text: clip(remark),
            ..self.row(Kind::STATUS)?
        })
    }

    fn stop(&self) -> Result<()> {
        let said = text(self.input, "last_assistant_message");
        if !said.is_empty() {
            self.put(&NewTask {
                text: clip(said),
                ..self.row(Kind::TEXT)?
            })?;
        }
        self.put(&self.row(Kind::TURN_END)?)?;
        self.settle("completed", "idle")
    }

    /// The session is over; a turn that was under way will not be finished.
    fn session_end(&self) -> Result<()> {
        if matches!(
            self.writer.task_progress(&self.task)?.status.as_str(),
            RUNNING | WAITING
        ) {
            self.put(&NewTask {
                error_msg: "the session ended in the middle of a turn".to_owned(),
                ..self.row(Kind::ERROR)?
            })?;
            return self.settle("failed", "idle");
        }
        self.agent_is("idle")
    }

    fn settle(&self, task: &str, agent: &str) -> Result<()> {
        self.put(&NewTask {
            status: task.to_owned(),
            ..self.row(Kind::STATUS)?
        })?;
        self.agent_is(agent)
    }

    fn agent_is(&self, status: &str) -> Result<()> {
        let state = AgentState {
            status: Some(status.to_owned()),
            workspace: Some(text(self.input, "cwd").to_owned()).filter(|cwd| !cwd.is_empty()),
            pid: self.around.pid,
            ..AgentState::default()
        };
        self.writer.set_agent(&self.agent, &state)
    }

    fn row(&self, stream_type: Kind) -> Result<NewTask> {
        Ok(NewTask {
            task_id: self.task.clone(),
            stream_type,
            turn_num: self.writer.task_progress(&self.task)?.turn,
            agent_id: self.agent.clone(),
            source_type: self.vendor.name().to_owned(),
            model: text(self.input, "model").to_owned(),
            ..NewTask::default()
        })
    }

    fn put(&self, row: &NewTask) -> Result<()> {
        self.writer.record_task_event(row).map(drop)
    }

    /// Hands unread mail over, if this is a place for it.
    fn hand_over(&self) -> Result<Option<Answer>> {
        let way = hooks(self.vendor)
            .iter()
            .find(|hook| hook.event == self.event)
            .map_or(Mail::No, |hook| hook.mail);
        if way == Mail::No || self.in_subagent() {
            return Ok(None);
        }
        let via = format!("{} {}", tool(self.vendor), self.event);
        let reading = ReadContext {
            reader: &self.agent,
            via: &via,
            now: self.around.now,
        };
        // A prompt comes before the model runs: what it will be shown, it has not seen.
        if matches!(way, Mail::Context | Mail::Reason) && self.event != "UserPromptSubmit" {
            self.was_seen(reading)?;
        }
        let mut found = match way {
            Mail::Again => self
                .writer
                .mail_delivered_unseen(&self.agent, self.around.now, mail::MOST)?,
            _ => Vec::new(),
        };
        for mail in self.writer.mail_to_deliver(&self.agent, self.around.now, mail::MOST)? {
            if found.iter().all(|other| other.n != mail.n) {
                found.push(mail);
            }
        }
        found.truncate(mail::MOST);
        let db = self.around.db.as_deref();
        let greeting = (way == Mail::Again).then(|| mail::greeting(&self.agent, db));
        let shown = (!found.is_empty()).then(|| mail::text(&found, &self.agent, db));
        let text = greeting.into_iter().chain(shown).collect::<Vec<_>>().join("\n\n");
        if text.is_empty() || way == Mail::Reason && !self.may_go_on()? {
            return Ok(None);
        }
        if !found.is_empty() {
            self.writer.record_delivery(&found, &self.task, reading)?;
        }
        Ok(Some(Answer {
            text: self.output(way, &text).to_string(),
            agent: self.agent.clone(),
            session: self.task.clone(),
            mail: found.iter().map(|mail| mail.n).collect(),
        }))
    }

    /// The model has spoken since mail was put before it in this session.
    fn was_seen(&self, reading: ReadContext<'_>) -> Result<()> {
        let before = self
            .writer
            .mail_delivered_to_session(&self.agent, &self.task, self.around.now)?;
        for row in &before {
            if mail::is_whole(row) {
                self.writer.read_mail(&row.message_id, reading)?;
            } else {
                self.writer.add_receipt(&row.message_id, Receipt::Seen, reading)?;
            }
        }
        Ok(())
    }

    /// Whether the session may be kept from stopping. If so, its task goes on.
    fn may_go_on(&self) -> Result<bool> {
        if self.input["stop_hook_active"] == Value::Bool(true)
            || !self
                .writer
                .count_continuation(&self.agent, self.around.now, CONTINUATIONS)?
        {
            return Ok(false);
        }
        if self.around.task.is_none() {
            self.remark(RUNNING, "goes on: mail has come")?;
            self.agent_is(RUNNING)?;
        }
        Ok(true)
    }

    fn output(&self, way: Mail, text: &str) -> Value {
        match way {
            Mail::Reason => json!({"decision": "block", "reason": text}),
            _ => json!({"hookSpecificOutput": {"hookEventName": self.event, "additionalContext": text}}),
        }
    }
}

/// A tool's answer as text: what it printed, its blocks' texts, or its JSON.
fn response(value: &Value) -> String {
    let Some(object) = value.as_object() else {
        return claude::joined(value);
    };
    match (
        object.get("stdout").and_then(Value::as_str),
        object.get("stderr").and_then(Value::as_str),
    ) {
        (Some(out), None | Some("")) => out.to_owned(),
        (Some(""), Some(err)) => err.to_owned(),
        (Some(out), Some(err)) => format!("{out}\n{err}"),
        _ if object.get("content").is_some_and(Value::is_array) => claude::joined(&value["content"]),
        _ => value.to_string(),
    }
}

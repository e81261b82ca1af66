//! The payloads: the type of `data` for each event.
//!
//! The fields of the compatible form come first, in AILANG's order. Fields marked "With `streams`"
//! are in the extended form only.

use serde::{Deserialize, Serialize};

use super::TaskStreamEventType;

/// Client subscribes to a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeEvent {
    /// The thread.
    pub thread_id: String,
    /// The last `message_seq` the client has: 0 = from the first stored message, -1 = from this
    /// instance's last ack.
    #[serde(default, deserialize_with = "super::null_is_zero")]
    pub from_seq: i64,
    /// The id of the message at `from_seq`. If given, it must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_id: Option<String>,
}

/// Client unsubscribes from a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsubscribeEvent {
    /// The thread.
    pub thread_id: String,
}

/// Client acknowledges all messages of a thread up to a `message_seq`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckEvent {
    /// The thread.
    pub thread_id: String,
    /// `message_seq` of the last processed message.
    pub ack_seq: i64,
}

/// A thread message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEvent {
    /// Unique id.
    pub id: String,
    /// The thread it belongs to.
    pub thread_id: String,
    /// 1, 2, 3 … within the thread.
    pub message_seq: i64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// human, agent, system, `ailang_instance`, or another value that its writer stored.
    pub from_type: String,
    /// The sender.
    pub from_id: String,
    /// As `from_type`, also broadcast; empty without a recipient.
    pub to_type: String,
    /// The recipient; empty without one.
    pub to_id: String,
    /// directive, question, proposal, status, result, or another value that its writer stored.
    pub kind: String,
    /// A subject line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The text; empty if the message was deleted.
    pub content: String,
    /// JSON with fields of the sender's choice.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata_json: String,
    /// The row had an invalid value, which was converted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// With `streams`: the id of the message this one answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply_to: String,
    /// With `streams`: the person wrote the row; its proof is valid.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verified: bool,
}

/// Several messages of one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEvent {
    /// The thread.
    pub thread_id: String,
    /// In order of `message_seq`, without a gap.
    pub messages: Vec<MessageEvent>,
    /// Another batch follows.
    pub has_more: bool,
}

/// An error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// One of the codes in [`crate::error`].
    pub code: String,
    /// The problem and what to do about it.
    pub message: String,
    /// The thread it concerns, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// The same request may succeed later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub temporary: bool,
    /// With `POSITION_LOST`: `message_seq` of the thread's first stored message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<i64>,
}

/// Rows that were pruned before they could be sent, in a stream with `since=0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEvent {
    /// The number of the first change whose row is missing.
    pub from: i64,
    /// The number of the last change whose row is missing.
    pub to: i64,
}

/// A thread's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStateEvent {
    /// The thread.
    pub thread_id: String,
    /// active, paused, resolved, archived.
    pub status: String,
    /// `message_seq` of the newest message.
    pub last_seq: i64,
    /// Unix milliseconds.
    pub updated_at: i64,
    /// The title.
    pub title: String,
}

/// Cumulative usage totals of a process or session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryEvent {
    /// The name of the process or session.
    pub instance_id: String,
    /// Process id.
    pub pid: i64,
    /// Turns of the model so far.
    pub turns: i64,
    /// Tokens in so far, cached ones included.
    pub tokens_in: i64,
    /// Tokens out so far.
    pub tokens_out: i64,
    /// US dollars so far.
    pub cost: f64,
    /// running, completed, error.
    pub status: String,
    /// Seconds so far.
    pub duration_sec: i64,
    /// With `streams`: primary key of the row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: i64,
    /// With `streams`: the agent the instance belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// With `streams`: the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// With `streams`: the cached part of `tokens_in`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_cached: i64,
    /// With `streams`: reported, priced, unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cost_source: String,
    /// With `streams`: Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub created_at: i64,
}

/// An inbox message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxMessageEvent {
    /// Unique id.
    pub id: String,
    /// The message's public id.
    pub message_id: String,
    /// Shared by a question and its answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    /// The sender.
    pub from_agent: String,
    /// The inbox that contains the message.
    pub to_inbox: String,
    /// notification, request, response, completion, handoff, info, audit,
    /// `approval_request`, feedback, or another value that its writer stored.
    pub message_type: String,
    /// A subject line.
    pub title: String,
    /// The text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub payload: String,
    /// unread, read, archived, deleted.
    pub status: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// The row had an invalid value, which was converted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// With `streams`: info, action, urgent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub priority: String,
    /// With `streams`: when it was read, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read_at: i64,
    /// With `streams`: when it expires and is no longer listed, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expires_at: i64,
    /// With `streams`: the owner of the claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub claimed_by: String,
    /// With `streams`: end of the claim's lease, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub claim_expires_at: i64,
    /// With `streams`: the person wrote the row; its proof is valid.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verified: bool,
}

/// An event of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskStreamEvent {
    /// The task.
    pub task_id: String,
    /// The thread it belongs to, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// The type of the event.
    pub stream_type: TaskStreamEventType,
    /// The turn of the model, from 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn_num: i64,
    /// Text from the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The tool's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_name: String,
    /// The tool's input.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_input: String,
    /// The tool's output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_output: String,
    /// Error message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_msg: String,
    /// running, completed, failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Tokens in. Telemetry counts the same tokens; never add the two.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_in: i64,
    /// Tokens out. Telemetry counts the same tokens; never add the two.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_out: i64,
    /// US dollars. Telemetry counts the same cost; never add the two.
    #[serde(default, skip_serializing_if = "is_zero_f64")]
    pub cost: f64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duration_sec: i64,
    /// Working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workspace: String,
    /// The task's prompt, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directive: String,
    /// The task's prompt, complete.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directive_full: String,
    /// The agent that runs the task.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// The source of the event: coordinator, eval, github, direct …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_type: String,
    /// With `streams`: primary key of the row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: i64,
    /// With `streams`: id of a tool call, the same in its `tool_use` and its `tool_result`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call_id: String,
    /// With `streams`: id of the call that made this one (a subagent's).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parent_call_id: String,
    /// With `streams`: the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// With `streams`: Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub created_at: i64,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

fn is_zero_f64(value: &f64) -> bool {
    *value == 0.0
}

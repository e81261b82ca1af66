//! The payloads: what stands under `data`, type by type.
//!
//! The fields are the seed's, in its order, left out when empty where the seed leaves them
//! out. Fields marked "with `streams`" came later and follow at the end.

use serde::{Deserialize, Serialize};

use super::TaskStreamEventType;

/// Client subscribes to a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeEvent {
    /// The thread.
    pub thread_id: String,
    /// The last `message_seq` the client has: 0 = from the first kept, -1 = from this
    /// instance's last ack.
    #[serde(default, deserialize_with = "super::null_is_zero")]
    pub from_seq: i64,
    /// The id of the message at `from_seq`; checked if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_id: Option<String>,
}

/// Client leaves a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsubscribeEvent {
    /// The thread.
    pub thread_id: String,
}

/// Client acknowledges all messages of a thread up to a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckEvent {
    /// The thread.
    pub thread_id: String,
    /// The last `message_seq` processed.
    pub ack_seq: i64,
}

/// One message of a thread.
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
    /// human, agent, system, `ailang_instance`, or what its writer put there.
    pub from_type: String,
    /// Who wrote it.
    pub from_id: String,
    /// As `from_type`, also broadcast; empty if nobody in particular.
    pub to_type: String,
    /// Whom it is for; empty if nobody in particular.
    pub to_id: String,
    /// directive, question, proposal, status, result, or what its writer put there.
    pub kind: String,
    /// A subject line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The text; empty if the message was deleted.
    pub content: String,
    /// JSON of the writer's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata_json: String,
    /// Something in the row could not be read as it is and was made readable.
    #[serde(default, skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// With `streams`: the id of the message this one answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply_to: String,
}

/// Several messages of one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEvent {
    /// The thread.
    pub thread_id: String,
    /// In order of `message_seq`, without a gap.
    pub messages: Vec<MessageEvent>,
    /// More messages follow after this batch.
    pub has_more: bool,
}

/// Something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// One of the names in [`crate::error`]'s table.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
    /// The thread it concerns, if one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// The same request may work later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub temporary: bool,
    /// With `POSITION_LOST`: the first number the file still has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<i64>,
}

/// A thread's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStateEvent {
    /// The thread.
    pub thread_id: String,
    /// active, paused, resolved, archived.
    pub status: String,
    /// The `message_seq` of its newest message.
    pub last_seq: i64,
    /// Unix milliseconds.
    pub updated_at: i64,
    /// Its title.
    pub title: String,
}

/// Running totals of one process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryEvent {
    /// The process's or session's name.
    pub instance_id: String,
    /// Its process id.
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
    /// With `streams`: the row's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: i64,
    /// With `streams`: the agent behind the instance.
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

/// One inbox message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxMessageEvent {
    /// Unique id.
    pub id: String,
    /// The message's public id.
    pub message_id: String,
    /// What binds question and answer together.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    /// Who sent it.
    pub from_agent: String,
    /// Whose inbox it is in.
    pub to_inbox: String,
    /// notification, request, response, completion, handoff, info, audit,
    /// `approval_request`, feedback, or what its writer put there.
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
    /// Something in the row could not be read as it is and was made readable.
    #[serde(default, skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// With `streams`: info, action, urgent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub priority: String,
    /// With `streams`: when it was read, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read_at: i64,
    /// With `streams`: when it stops being listed, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expires_at: i64,
    /// With `streams`: who works on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub claimed_by: String,
    /// With `streams`: until when, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub claim_expires_at: i64,
}

/// One event of a running task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskStreamEvent {
    /// The task.
    pub task_id: String,
    /// The thread it belongs to, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// What happened.
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
    /// What the tool was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_input: String,
    /// What it answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_output: String,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_msg: String,
    /// running, completed, failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Tokens in; never added to telemetry's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_in: i64,
    /// Tokens out; never added to telemetry's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_out: i64,
    /// US dollars; never added to telemetry's.
    #[serde(default, skip_serializing_if = "is_zero_f64")]
    pub cost: f64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duration_sec: i64,
    /// Working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workspace: String,
    /// What the task was asked to do, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directive: String,
    /// What the task was asked to do, whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directive_full: String,
    /// The agent at work.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// Where the event comes from: coordinator, eval, github, direct …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_type: String,
    /// With `streams`: the row's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: i64,
    /// With `streams`: pairs a tool's call with its result.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call_id: String,
    /// With `streams`: the call within which this one was made (a subagent's).
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

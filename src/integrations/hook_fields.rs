//! The fields of hooks' input that Claude Code introduced and other tools adopted. A tool replaces those that
//! differ.

use serde_json::Value;

use super::json_fields::{result_text, text};
use super::spec::{HookFields, MessageExtent};

/// The fields that most tools have.
pub(super) const COMMON: HookFields = HookFields {
    session: "session_id",
    parent_session: None,
    call_id: Some("tool_use_id"),
    last_message: "last_assistant_message",
    last_message_extent: MessageExtent::Last,
    duration: "duration_ms",
    workspace: |input| text(input, "cwd"),
    directories: |input| vec![text(input, "cwd")],
    prompt: |input| text(input, "prompt"),
    is_prompt: |_| true,
    is_idle: |_| false,
    tool_output: |input| tool_output(&input["tool_response"]),
    tool_error: |input| text(input, "error"),
    stop_error: |input| {
        let words = [text(input, "error"), text(input, "error_details")];
        words.join(" ").trim().to_owned()
    },
    is_continuation: |input| input["stop_hook_active"] == Value::Bool(true),
    usage: |_| Vec::new(),
};

/// Returns a tool's output from a `tool_response` with two forms of it: what the tool shows the user, or else what the
/// model gets.
pub(super) fn shown_output(input: &Value) -> String {
    let response = &input["tool_response"];
    let shown = response["returnDisplay"].as_str().filter(|text| !text.is_empty());
    match shown.or_else(|| response["llmContent"].as_str()) {
        Some(text) => text.to_owned(),
        None => tool_output(&response["llmContent"]),
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

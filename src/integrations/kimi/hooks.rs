//! Kimi Code's hooks.
//!
//! It waits for the hooks of `UserPromptSubmit`, `PreToolUse` and `Stop`, and takes a text for the model from the first
//! and the last. After a hook has kept a turn from its end, there is no `Stop` for that turn any more:
//! [`sessions`](super::sessions) tells when it has ended. Hooks of subagents have the fields of the session's own.

use serde_json::Value;

use super::shell;
use crate::integrations::hook_fields;
use crate::integrations::json_fields::text;
use crate::integrations::spec::{
    EventKind, HandlerNesting, Hook, HookFields, HookFileForm, HookSpec, MailDelivery, OutputForm,
};

pub(super) const SPEC: HookSpec = HookSpec {
    word: "kimi",
    // The output of `SessionStart` has no effect: the first prompt brings the greeting.
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::None),
        Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
        Hook::waits("PreToolUse", EventKind::ToolUse, MailDelivery::None),
        Hook::waits("PostToolUse", EventKind::ToolResult, MailDelivery::None),
        Hook::waits("PostToolUseFailure", EventKind::ToolResult, MailDelivery::None),
        Hook::waits("PermissionRequest", EventKind::PermissionRequest, MailDelivery::None),
        Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
        Hook::waits("StopFailure", EventKind::StopFailure, MailDelivery::None),
        Hook::waits("Interrupt", EventKind::Interrupt, MailDelivery::None),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
    ],
    agent: None,
    fields: HookFields {
        call_id: Some("tool_call_id"),
        prompt,
        tool_output,
        tool_error,
        stop_error: |input| {
            let words = [text(input, "error_type"), text(input, "error_message")];
            words.join(" ").trim().to_owned()
        },
        ..hook_fields::COMMON
    },
    context: OutputForm::Field("message"),
    continuation: OutputForm::Denial,
    session_environment: None,
    waiting_notifications: &[],
    max_continuations_in_a_row: None,
    file: HookFileForm {
        nesting: HandlerNesting::Flat,
        // Seconds.
        timeout: 10,
        short_timeouts: &[],
        version: None,
    },
    pid_variable: None,
    consent: None,
    obstacle: |_, _| None,
    off_switches: |_, _| Ok(Vec::new()),
    managed_files: &[],
    state: |_, _| Vec::new(),
};

/// Returns the first text of a prompt, which may have images too.
fn prompt(input: &Value) -> &str {
    let prompt = &input["prompt"];
    let parts = prompt.as_array().into_iter().flatten();
    let first = parts.filter_map(|part| part["text"].as_str()).next();
    prompt.as_str().or(first).unwrap_or_default()
}

fn failure(input: &Value) -> &str {
    text(&input["error"], "message")
}

fn tool_output(input: &Value) -> String {
    match input["tool_output"].as_str() {
        Some(output) => output.to_owned(),
        None => shell::split_failure(failure(input)).0.to_owned(),
    }
}

fn tool_error(input: &Value) -> &str {
    match shell::split_failure(failure(input)) {
        (_, "") => failure(input),
        (_, error) => error,
    }
}

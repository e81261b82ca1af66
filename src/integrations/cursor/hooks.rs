//! Cursor's hooks. Cursor runs the hooks in Claude Code's settings too; agenthub's hooks there do nothing in Cursor.

use serde_json::Value;

use super::config;
use crate::integrations::hook_fields;
use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{
    EventKind, ForeignHooks, HandlerNesting, Hook, HookFields, HookFileForm, HookSpec, MailDelivery, OutputForm,
};

pub(super) const SPEC: HookSpec = HookSpec {
    word: "cursor",
    // `beforeSubmitPrompt` takes no context: mail waits for the first tool, or the end of the turn.
    hooks: &[
        Hook::waits("sessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("beforeSubmitPrompt", EventKind::Prompt, MailDelivery::None),
        Hook::waits("preToolUse", EventKind::ToolUse, MailDelivery::None),
        Hook::waits("postToolUse", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
        Hook::waits("postToolUseFailure", EventKind::ToolResult, MailDelivery::None),
        Hook::waits("afterAgentResponse", EventKind::Text, MailDelivery::None),
        Hook::waits("stop", EventKind::Stop, MailDelivery::Continuation),
        Hook::waits("sessionEnd", EventKind::SessionEnd, MailDelivery::None),
    ],
    agent: Some(config::AGENT),
    fields: HookFields {
        session: "conversation_id",
        duration: "duration",
        workspace,
        directories,
        tool_output: |input| {
            (hook_fields::COMMON.tool_output)(&serde_json::json!({"tool_response": input["tool_output"]}))
        },
        tool_error: |input| text(input, "error_message"),
        stop_error,
        is_continuation: |input| number(input, "loop_count") > 0,
        ..hook_fields::COMMON
    },
    context: OutputForm::Field("additional_context"),
    continuation: OutputForm::Field("followup_message"),
    session_environment: Some("env"),
    waiting_notifications: &[],
    // The default of a hook's loop_limit.
    max_continuations_in_a_row: Some(5),
    file: HookFileForm {
        nesting: HandlerNesting::Flat,
        timeout: 10,
        short_timeouts: &[],
        version: Some(1),
    },
    pid_variable: None,
    consent: None,
    obstacle: |_, _| None,
    off_switches: |_, _| Ok(Vec::new()),
    managed_files: &[],
    state: |_, _| Vec::new(),
};

pub(super) const FOREIGN: ForeignHooks = ForeignHooks {
    input_field: "cursor_version",
    variable: "CURSOR_VERSION",
};

/// Returns the directory of the call, or else the first one of the window.
fn workspace(input: &Value) -> &str {
    let of_call = input["cwd"].as_str().filter(|path| !path.is_empty());
    of_call
        .or_else(|| input["workspace_roots"][0].as_str())
        .unwrap_or_default()
}

/// Returns the directories of the window. A call may be in another one; it counts only for a window without any.
fn directories(input: &Value) -> Vec<&str> {
    let roots = input["workspace_roots"].as_array().into_iter().flatten();
    let roots: Vec<&str> = roots.filter_map(Value::as_str).collect();
    if roots.is_empty() {
        return vec![text(input, "cwd")];
    }
    roots
}

/// Returns why a turn ended that is not completed: such a turn takes no further message.
fn stop_error(input: &Value) -> String {
    match text(input, "status") {
        "" | "completed" => String::new(),
        "aborted" => "the user has aborted the turn".to_owned(),
        status => format!("the turn ended with the status {status}"),
    }
}

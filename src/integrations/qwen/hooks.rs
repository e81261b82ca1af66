//! Qwen Code's hooks.

use serde_json::Value;

use crate::integrations::hook_fields;
use crate::integrations::json_fields::text;
use crate::integrations::setup::json_config;
use crate::integrations::spec::{
    ConfigContent, EventKind, HandlerNesting, Hook, HookFields, HookFileForm, HookSpec, MailDelivery, OutputForm,
    Refusal,
};

pub(super) const SPEC: HookSpec = HookSpec {
    word: "qwen",
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
        Hook::waits("PreToolUse", EventKind::ToolUse, MailDelivery::None),
        Hook::waits("PostToolUse", EventKind::ToolResult, MailDelivery::None),
        Hook::waits("PostToolUseFailure", EventKind::ToolResult, MailDelivery::None),
        // Without a terminal, it fires after each tool of an answer.
        Hook::waits("PostToolBatch", EventKind::Batch, MailDelivery::ContextDuringTurn),
        Hook::waits("PermissionRequest", EventKind::PermissionRequest, MailDelivery::None),
        Hook::waits("Notification", EventKind::Notification, MailDelivery::None),
        Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
        Hook::waits("StopFailure", EventKind::StopFailure, MailDelivery::None),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
    ],
    agent: None,
    fields: HookFields {
        prompt,
        is_prompt,
        is_idle: |input| text(input, "notification_type") == "idle_prompt",
        tool_output: hook_fields::shown_output,
        ..hook_fields::COMMON
    },
    context: OutputForm::Context,
    continuation: OutputForm::Decision("block"),
    session_environment: None,
    waiting_notifications: &["permission_prompt"],
    // The default of QWEN_CODE_STOP_HOOK_BLOCK_CAP is 8. Qwen Code drops the text of the eighth.
    max_continuations_in_a_row: Some(7),
    file: HookFileForm {
        nesting: HandlerNesting::Groups,
        timeout: 10,
        short_timeouts: &[],
        version: None,
    },
    pid_variable: Some("QWEN_CODE_LAUNCHER_PID"),
    consent: None,
    obstacle: |_, _| None,
    off_switches,
    managed_files: &[
        "/etc/qwen-code/settings.json",
        "/Library/Application Support/QwenCode/settings.json",
    ],
    state: |_, _| Vec::new(),
};

/// Returns what the user has typed, or else what the model gets.
fn prompt(input: &Value) -> &str {
    input["submitted_prompt"].as_str().unwrap_or(text(input, "prompt"))
}

/// `UserPromptSubmit` fires before each request to the model. Without a new prompt, the text is empty.
fn is_prompt(input: &Value) -> bool {
    !prompt(input).is_empty()
}

/// Returns the setting that turns hooks off.
fn off_switches(content: ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal> {
    let is_off = content == ConfigContent::Hooks && json_config::is_at(text, &["disableAllHooks"], &true.into())?;
    Ok(is_off.then_some("disableAllHooks").into_iter().collect())
}

//! Gemini CLI's hooks.

use serde_json::Value;

use super::trust;
use crate::integrations::hook_fields;
use crate::integrations::setup::json_config;
use crate::integrations::spec::{
    ConfigContent, EventKind, HandlerNesting, Hook, HookFields, HookFileForm, HookSpec, MailDelivery, MessageExtent,
    OutputForm, Refusal,
};

pub(super) const SPEC: HookSpec = HookSpec {
    word: "gemini",
    // There is no hook for `PreCompress`: it fires before every call of the model, also if nothing is compressed.
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("BeforeAgent", EventKind::Prompt, MailDelivery::Context),
        Hook::waits("BeforeTool", EventKind::ToolUse, MailDelivery::None),
        Hook::waits("AfterTool", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
        Hook::waits("Notification", EventKind::Notification, MailDelivery::None),
        Hook::waits("AfterAgent", EventKind::Stop, MailDelivery::Continuation),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
    ],
    agent: None,
    fields: HookFields {
        call_id: None,
        last_message: "prompt_response",
        last_message_extent: MessageExtent::SincePrompt,
        prompt,
        tool_output: hook_fields::shown_output,
        tool_error,
        ..hook_fields::COMMON
    },
    context: OutputForm::Context,
    continuation: OutputForm::Decision("deny"),
    session_environment: None,
    waiting_notifications: &["ToolPermission"],
    max_continuations_in_a_row: None,
    file: HookFileForm {
        nesting: HandlerNesting::Groups,
        // Milliseconds.
        timeout: 10_000,
        short_timeouts: &[],
        version: None,
    },
    pid_variable: None,
    consent: None,
    obstacle: |_, _| None,
    off_switches,
    managed_files: &[
        "/etc/gemini-cli/settings.json",
        "/Library/Application Support/GeminiCli/settings.json",
    ],
    state: trust::state,
};

/// Returns the user's prompt. Without a terminal, Gemini CLI puts the context of `SessionStart` before it.
fn prompt(input: &Value) -> &str {
    let prompt = input["prompt"].as_str().unwrap_or_default();
    let after_context = || {
        let (_, after) = prompt.strip_prefix("<hook_context>")?.split_once("</hook_context>")?;
        Some(after.trim_start())
    };
    after_context().unwrap_or(prompt)
}

fn tool_error(input: &Value) -> &str {
    let error = &input["tool_response"]["error"];
    error["message"].as_str().or_else(|| error.as_str()).unwrap_or_default()
}

/// Returns the setting that turns hooks off.
fn off_switches(content: ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal> {
    let is_off =
        content == ConfigContent::Hooks && json_config::is_at(text, &["hooksConfig", "enabled"], &false.into())?;
    Ok(is_off.then_some("hooksConfig.enabled = false").into_iter().collect())
}

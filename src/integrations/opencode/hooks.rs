//! The hooks that agenthub's plugin (`plugin.js`) runs in OpenCode's process. Names and fields are the plugin's own.

use serde_json::Value;

use crate::integrations::hook_fields;
use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{
    EventKind, Hook, HookFields, HookFileForm, HookSpec, MailDelivery, OutputForm, TranscriptEntry,
};
use crate::integrations::usage::Usage;

pub(super) const SPEC: HookSpec = HookSpec {
    word: "opencode",
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
        Hook::waits("PreToolUse", EventKind::ToolUse, MailDelivery::None),
        Hook::waits("PostToolUse", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
        Hook::waits("PostToolUseFailure", EventKind::ToolResult, MailDelivery::None),
        Hook::waits("PermissionRequest", EventKind::PermissionRequest, MailDelivery::None),
        // The last moment at which a message keeps `opencode run` from ending.
        Hook::waits("TextComplete", EventKind::Text, MailDelivery::Continuation),
        Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
        // The end of the turn of `opencode run`.
        Hook::waits("RunEnd", EventKind::Stop, MailDelivery::None),
        Hook::waits("Interrupt", EventKind::Interrupt, MailDelivery::None),
        Hook::waits("StopFailure", EventKind::StopFailure, MailDelivery::None),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
        Hook::waits("Wake", EventKind::Wake, MailDelivery::None),
    ],
    agent: None,
    fields: HookFields {
        usage,
        ..hook_fields::COMMON
    },
    context: OutputForm::Field("context"),
    continuation: OutputForm::Field("continuation"),
    session_environment: Some("env"),
    waiting_notifications: &[],
    max_continuations_in_a_row: None,
    file: HookFileForm::NONE,
    pid_variable: None,
    consent: None,
    obstacle: |_, _| None,
    off_switches: |_, _| Ok(Vec::new()),
    managed_files: &[],
    state: |_, _| Vec::new(),
};

/// Returns the usage of the model's messages since the last hook that has reported some.
fn usage(input: &Value) -> Vec<TranscriptEntry> {
    let messages = input["usage"].as_array().into_iter().flatten();
    messages
        .map(|message| TranscriptEntry::Message {
            id: text(message, "id").to_owned(),
            usage: Usage {
                turns: number(message, "turns"),
                tokens_in: number(message, "tokens_in"),
                tokens_out: number(message, "tokens_out"),
                tokens_cached: number(message, "tokens_cached"),
                // OpenCode reports 0 for a model without a known price.
                cost: message["cost"].as_f64().filter(|cost| *cost > 0.0),
                duration_sec: 0,
            },
            model: text(message, "model").to_owned(),
        })
        .collect()
}

//! Claude Code's hooks.

use std::process::Command;

use crate::integrations::setup::json_config;
use crate::integrations::spec::{
    ConfigContent, EventKind, HandlerNesting, Hook, HookBlocking, HookFileForm, HookSpec, InstallTarget, MailDelivery,
    OutputForm, Refusal,
};
use crate::integrations::{hook_fields, program};

/// An event at which Claude Code continues.
const fn record(event: &'static str, kind: EventKind) -> Hook {
    Hook {
        event,
        kind,
        blocking: HookBlocking::Continues,
        mail: MailDelivery::None,
    }
}

pub(super) const SPEC: HookSpec = HookSpec {
    word: "claude-code",
    // Between two calls of the model, mail is delivered at `PostToolBatch`: it fires once for all
    // parallel tools, while `PostToolUse` fires for each of them.
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
        record("PreToolUse", EventKind::ToolUse),
        record("PostToolUse", EventKind::ToolResult),
        record("PostToolUseFailure", EventKind::ToolResult),
        Hook::waits("PostToolBatch", EventKind::Batch, MailDelivery::Context),
        record("PermissionRequest", EventKind::PermissionRequest),
        record("Notification", EventKind::Notification),
        Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
        record("StopFailure", EventKind::StopFailure),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
        Hook {
            event: "FileChanged",
            kind: EventKind::Wake,
            blocking: HookBlocking::Wakes,
            mail: MailDelivery::None,
        },
    ],
    agent: None,
    fields: hook_fields::COMMON,
    context: OutputForm::Context,
    // `decision: block` works too, and is shown to the user as an error.
    continuation: OutputForm::Context,
    session_environment: None,
    waiting_notifications: &["agent_needs_input", "elicitation_dialog"],
    // The default of CLAUDE_CODE_STOP_HOOK_BLOCK_CAP. Claude Code drops the text of the next one.
    max_continuations_in_a_row: Some(8),
    file: HookFileForm {
        nesting: HandlerNesting::Groups,
        timeout: 10,
        short_timeouts: &[],
        version: None,
    },
    pid_variable: Some("CLAUDE_PID"),
    consent: None,
    obstacle,
    off_switches,
    // Linux and macOS.
    managed_files: &[
        "/etc/claude-code/managed-settings.json",
        "/Library/Application Support/ClaudeCode/managed-settings.json",
    ],
    state: |_, _| Vec::new(),
};

/// The first version that skips unknown events. An older version ignores a whole settings file with an
/// unknown event.
const FIRST_VERSION: (u32, u32, u32) = (2, 1, 101);

fn obstacle(_: &InstallTarget, is_chosen: bool) -> Option<String> {
    match version() {
        Some(version) if version < FIRST_VERSION => Some(format!(
            "Claude Code {}.{}.{}: no hooks, because this version ignores a whole settings file with an unknown event. \
             Update it to 2.1.101 or later and run this again.",
            version.0, version.1, version.2
        )),
        None if !is_chosen => Some(
            "Claude Code: no hooks, because claude --version fails and an old version would ignore its whole settings \
             file. If it is 2.1.101 or later, run: agenthub init --only claude"
                .to_owned(),
        ),
        _ => None,
    }
}

fn version() -> Option<(u32, u32, u32)> {
    let mut command = Command::new(program::find("claude")?);
    command.arg("--version");
    let output = program::output(command, b"")?;
    let mut numbers = output.split_whitespace().next()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns the settings that keep hooks of the user from running.
fn off_switches(content: ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal> {
    let mut set = Vec::new();
    if content == ConfigContent::Hooks {
        for name in ["disableAllHooks", "allowManagedHooksOnly"] {
            if json_config::is_at(text, &[name], &true.into())? {
                set.push(name);
            }
        }
    }
    Ok(set)
}

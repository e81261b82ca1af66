//! Claude Code's hooks.

use std::process::Command;

use crate::integrations::program;
use crate::integrations::setup::json_config;
use crate::integrations::spec::{
    ConfigContent, Hook, HookBlocking, HookSpec, InstallTarget, MailDelivery, Refusal, SESSION_START,
};

const fn hook(event: &'static str, blocking: HookBlocking, mail: MailDelivery) -> Hook {
    Hook { event, blocking, mail }
}

pub(super) const SPEC: HookSpec = HookSpec {
    word: "claude-code",
    // Between two calls of the model, mail is delivered at `PostToolBatch`: it fires once for all
    // parallel tools, while `PostToolUse` fires for each of them.
    hooks: &[
        hook(SESSION_START, HookBlocking::Waits, MailDelivery::SessionStart),
        hook("UserPromptSubmit", HookBlocking::Waits, MailDelivery::Context),
        hook("PreToolUse", HookBlocking::Continues, MailDelivery::None),
        hook("PostToolUse", HookBlocking::Continues, MailDelivery::None),
        hook("PostToolUseFailure", HookBlocking::Continues, MailDelivery::None),
        hook("PostToolBatch", HookBlocking::Waits, MailDelivery::Context),
        hook("PermissionRequest", HookBlocking::Continues, MailDelivery::None),
        hook("Notification", HookBlocking::Continues, MailDelivery::None),
        hook("Stop", HookBlocking::Waits, MailDelivery::StopReason),
        hook("StopFailure", HookBlocking::Continues, MailDelivery::None),
        hook("SessionEnd", HookBlocking::Waits, MailDelivery::None),
    ],
    short_timeouts: &[],
    pid_variable: Some("CLAUDE_PID"),
    consent: None,
    obstacle,
    off_switches,
    // Linux and macOS.
    managed_files: &[
        "/etc/claude-code/managed-settings.json",
        "/Library/Application Support/ClaudeCode/managed-settings.json",
    ],
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
            if json_config::is_true(text, name)? {
                set.push(name);
            }
        }
    }
    Ok(set)
}

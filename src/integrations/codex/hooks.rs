//! Codex's hooks. Codex asks the user once to trust each hook, and again after its command has
//! changed.

use super::config;
use crate::integrations::spec::{Hook, HookBlocking, HookSpec, MailDelivery, SESSION_START};

const fn hook(event: &'static str, mail: MailDelivery) -> Hook {
    Hook {
        event,
        blocking: HookBlocking::Waits,
        mail,
    }
}

const HOOKS: &[Hook] = &[
    hook(SESSION_START, MailDelivery::SessionStart),
    hook("UserPromptSubmit", MailDelivery::Context),
    hook("PreToolUse", MailDelivery::None),
    hook("PermissionRequest", MailDelivery::None),
    hook("PostToolUse", MailDelivery::ContextDuringTurn),
    hook("Stop", MailDelivery::StopReason),
    hook("Interrupt", MailDelivery::None),
    hook("SessionEnd", MailDelivery::None),
];

pub(super) const SPEC: HookSpec = HookSpec {
    word: "codex",
    hooks: HOOKS,
    // Codex warns of a longer time.
    short_timeouts: &[("Interrupt", 3), ("SessionEnd", 3)],
    pid_variable: None,
    consent: Some(|| format!("It will ask once whether to trust {} hooks (/hooks).", HOOKS.len())),
    obstacle: config::hooks_obstacle,
    off_switches: config::off_switches,
    managed_files: &[],
};

//! Codex's hooks. Codex asks the user once to trust each hook, and again after its command has
//! changed.

use super::{config, trust};
use crate::integrations::hook_fields;
use crate::integrations::spec::{EventKind, HandlerNesting, Hook, HookFileForm, HookSpec, MailDelivery, OutputForm};

const HOOKS: &[Hook] = &[
    Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
    Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
    Hook::waits("PreToolUse", EventKind::ToolUse, MailDelivery::None),
    Hook::waits("PermissionRequest", EventKind::PermissionRequest, MailDelivery::None),
    Hook::waits("PostToolUse", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
    Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
    Hook::waits("Interrupt", EventKind::Interrupt, MailDelivery::None),
    Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
];

pub(super) const SPEC: HookSpec = HookSpec {
    word: config::HOOK_WORD,
    hooks: HOOKS,
    agent: None,
    fields: hook_fields::COMMON,
    context: OutputForm::Context,
    continuation: OutputForm::Decision("block"),
    session_environment: None,
    waiting_notifications: &[],
    max_continuations_in_a_row: None,
    file: HookFileForm {
        nesting: HandlerNesting::Groups,
        timeout: 10,
        // Codex warns of a longer time.
        short_timeouts: &[("Interrupt", 3), ("SessionEnd", 3)],
        version: None,
    },
    pid_variable: None,
    consent: Some(|| format!("It will ask once whether to trust {} hooks (/hooks).", HOOKS.len())),
    obstacle: config::hooks_obstacle,
    off_switches: config::off_switches,
    managed_files: &[],
    state: trust::state,
};

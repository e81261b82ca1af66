//! Codex's hooks. Codex asks the user once to trust each hook, and again after its command has
//! changed.

use super::{config, trust};
use crate::integrations::hook_fields;
use crate::integrations::spec::{
    EventKind, HandlerNesting, Hook, HookBlocking, HookFileForm, HookSpec, MailDelivery, OutputForm,
};

const fn hook(event: &'static str, kind: EventKind, mail: MailDelivery) -> Hook {
    Hook {
        event,
        kind,
        blocking: HookBlocking::Waits,
        mail,
    }
}

const HOOKS: &[Hook] = &[
    hook("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
    hook("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
    hook("PreToolUse", EventKind::ToolUse, MailDelivery::None),
    hook("PermissionRequest", EventKind::PermissionRequest, MailDelivery::None),
    hook("PostToolUse", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
    hook("Stop", EventKind::Stop, MailDelivery::Continuation),
    hook("Interrupt", EventKind::Interrupt, MailDelivery::None),
    hook("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
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

//! Copilot CLI's hooks. For events with Claude Code's names, it sends Claude Code's fields.
//!
//! There is no hook before a tool: if it cannot be started, for example because agenthub was removed, Copilot CLI
//! refuses every tool. The hook after a tool records the call too. There is no hook for `PermissionRequest`: it fires
//! for each call, also if the person is not asked. There is none for `ErrorOccurred`: it does not tell whether the turn goes on.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::shell;
use crate::integrations::hook_fields;
use crate::integrations::json_fields::text;
use crate::integrations::setup::json_config;
use crate::integrations::spec::{
    ConfigContent, EventKind, ForeignHooks, HandlerNesting, Hook, HookBlocking, HookFields, HookFileForm, HookSpec,
    HookState, InstallTarget, MailDelivery, OutputForm, Refusal,
};

const OFF_SWITCH: &str = "disableAllHooks";

/// An event of agenthub's extension.
const fn of_extension(event: &'static str, kind: EventKind) -> Hook {
    Hook {
        event,
        kind,
        blocking: HookBlocking::ByExtension,
        mail: MailDelivery::None,
    }
}

pub(super) const SPEC: HookSpec = HookSpec {
    word: "copilot",
    hooks: &[
        Hook::waits("SessionStart", EventKind::SessionStart, MailDelivery::SessionStart),
        Hook::waits("UserPromptSubmit", EventKind::Prompt, MailDelivery::Context),
        Hook::waits("PostToolUse", EventKind::ToolResult, MailDelivery::ContextDuringTurn),
        Hook::waits(
            "PostToolUseFailure",
            EventKind::ToolResult,
            MailDelivery::ContextDuringTurn,
        ),
        Hook::waits("Notification", EventKind::Notification, MailDelivery::None),
        Hook::waits("Stop", EventKind::Stop, MailDelivery::Continuation),
        Hook::waits("SessionEnd", EventKind::SessionEnd, MailDelivery::None),
        of_extension("Watch", EventKind::Watch),
        of_extension("Wake", EventKind::Wake),
    ],
    agent: None,
    fields: HookFields {
        parent_session: Some("parent_agent_id"),
        call_id: None,
        tool_output,
        tool_error,
        ..hook_fields::COMMON
    },
    context: OutputForm::Field("additionalContext"),
    continuation: OutputForm::Decision("block"),
    session_environment: None,
    waiting_notifications: &["permission_prompt", "elicitation_dialog"],
    // Copilot CLI ends the turn at the next one.
    max_continuations_in_a_row: Some(8),
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
    off_switches,
    managed_files: &[],
    state,
};

/// Copilot CLI runs the hooks in a project's `.claude/settings.json` too.
pub(super) const FOREIGN: ForeignHooks = ForeignHooks {
    input_field: "initial_prompt",
    variable: "COPILOT_PROJECT_DIR",
};

fn result(input: &Value) -> &str {
    text(&input["tool_result"], "text_result_for_llm")
}

fn tool_output(input: &Value) -> String {
    shell::split_exit_code(result(input)).0.to_owned()
}

fn tool_error(input: &Value) -> &str {
    match shell::split_exit_code(result(input)).1 {
        "" => text(input, "error"),
        error => error,
    }
}

/// Finds the settings of a repository that turn hooks off, those of the user too. The same setting of the user has no
/// effect on hooks in a file of their own.
fn state(_: &InstallTarget, directory: &Path) -> Vec<HookState> {
    let root = directory.ancestors().find(|folder| folder.join(".git").exists());
    let settings = ["settings.json", "settings.local.json"].map(|name| format!(".github/copilot/{name}"));
    let files = settings.iter().map(|file| root.unwrap_or(directory).join(file));
    let is_off = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        json_config::is_at(&text, &[OFF_SWITCH], &true.into()) == Ok(true)
    };
    let problem = |file: PathBuf| HookState::Problem {
        message: format!("Copilot CLI: hooks are turned off: {OFF_SWITCH} in {}", file.display()),
        advice: "remove that setting; without hooks agents get mail only when they ask for it",
    };
    files.filter(is_off).map(problem).collect()
}

/// Returns the setting that turns hooks off.
fn off_switches(content: ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal> {
    let is_off = content == ConfigContent::Hooks && json_config::is_at(text, &[OFF_SWITCH], &true.into())?;
    Ok(is_off.then_some(OFF_SWITCH).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_of_the_repository_turns_hooks_off() {
        let folder = tempfile::tempdir().unwrap();
        let target = InstallTarget {
            home: folder.path().to_owned(),
            project: None,
            program: "/opt/agenthub".into(),
            db: None,
        };
        let inner = folder.path().join("repository/src");
        fs::create_dir_all(&inner).unwrap();
        let settings = folder.path().join("repository/.github/copilot");
        fs::create_dir_all(&settings).unwrap();
        fs::write(settings.join("settings.json"), r#"{"disableAllHooks": true}"#).unwrap();
        assert_eq!(state(&target, &inner), []);
        fs::create_dir(folder.path().join("repository/.git")).unwrap();
        let found = state(&target, &inner);
        let is_named = |state: &HookState| matches!(state, HookState::Problem { message, .. } if message.contains("disableAllHooks in"));
        assert!(found.len() == 1 && is_named(&found[0]), "{found:?}");
        fs::write(settings.join("settings.json"), r#"{"disableAllHooks": false}"#).unwrap();
        assert_eq!(state(&target, &inner), []);
    }
}

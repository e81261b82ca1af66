//! Whether Codex trusts agenthub's hooks. Only Codex can say it: it keeps a hash of each hook.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::config;
use crate::integrations::program::{self, StdioRequest};
use crate::integrations::setup::is_hook_command;
use crate::integrations::spec::{HookState, InstallTarget};
use crate::text::quantity::count;

/// Maximum time to wait for the answer. It takes half a second.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks a new Codex app-server, on stdio, for the hooks in `directory`. It starts no daemon.
pub(super) fn state(_: &InstallTarget, directory: &Path) -> Vec<HookState> {
    let Some(codex) = program::find("codex") else {
        return vec![HookState::Note(
            "Codex: whether it trusts the hooks is unknown: there is no program codex".to_owned(),
        )];
    };
    let mut command = Command::new(codex);
    command.arg("app-server");
    let client = json!({"name": "agenthub", "title": "agenthub", "version": env!("CARGO_PKG_VERSION")});
    let request = StdioRequest {
        initialize: json!({"clientInfo": client}),
        initialized: "initialized",
        method: "hooks/list",
        params: json!({"cwds": [directory]}),
    };
    match program::ask_server(command, request, TIMEOUT) {
        Some(result) => problems(&result["data"][0]),
        None => vec![HookState::Note(
            "Codex: whether it trusts the hooks is unknown: codex app-server did not answer".to_owned(),
        )],
    }
}

/// Returns what is wrong with the hooks in an answer.
fn problems(answer: &Value) -> Vec<HookState> {
    let hooks = answer["hooks"].as_array().into_iter().flatten();
    let own: Vec<&Value> = hooks
        .filter(|hook| {
            hook["command"]
                .as_str()
                .is_some_and(|command| is_hook_command(command, config::HOOK_WORD))
        })
        .collect();
    let mut found = Vec::new();
    let mut add = |message, advice| found.push(HookState::Problem { message, advice });
    let untrusted = own
        .iter()
        .filter(|hook| matches!(hook["trustStatus"].as_str(), Some("untrusted" | "modified")))
        .count();
    let disabled = own.iter().filter(|hook| hook["enabled"] == Value::Bool(false)).count();
    if own.is_empty() {
        add(
            "Codex: it does not list agenthub's hooks".to_owned(),
            "start codex and look at /hooks",
        );
    }
    if untrusted > 0 {
        add(
            format!(
                "Codex: it does not run {} of agenthub, which you have not trusted yet",
                count(untrusted, "hook")
            ),
            "start codex and trust them (/hooks)",
        );
    }
    if disabled > 0 {
        add(
            format!("Codex: turned off: {} of agenthub", count(disabled, "hook")),
            "start codex and turn them on (/hooks)",
        );
    }
    for error in answer["errors"].as_array().into_iter().flatten() {
        let text = error["message"]
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned);
        add(
            format!("Codex: its hooks have an error: {text}"),
            "correct the file that it names",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hooks_that_are_not_trusted_or_turned_off() {
        let hook = |trust: &str, enabled: bool| json!({"command": "/opt/bin/agenthub hook codex", "trustStatus": trust, "enabled": enabled});
        let other = json!({"command": "mine", "trustStatus": "untrusted", "enabled": false});
        let messages = |hooks: &[Value]| {
            let found = problems(&json!({"hooks": hooks, "warnings": [], "errors": []}));
            let texts = found.into_iter().map(|state| match state {
                HookState::Problem { message, .. } | HookState::Note(message) => message,
            });
            texts.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            messages(&[hook("trusted", true), hook("managed", true), other.clone()]),
            ""
        );
        assert_eq!(
            messages(&[hook("untrusted", true), hook("modified", true), hook("trusted", false)]),
            "Codex: it does not run 2 hooks of agenthub, which you have not trusted yet\n\
             Codex: turned off: 1 hook of agenthub"
        );
        assert!(messages(&[other]).contains("does not list"));
    }
}

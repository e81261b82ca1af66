//! Codex.

mod config;
mod hooks;
mod mcp;
mod stream;
mod transcript;
mod trust;

use super::spec::{Integration, ProcessSpec, ShellAccess, WAKE_PROMPT, WakeMethod, WakeSpec};

pub(super) static INTEGRATION: Integration = Integration {
    id: "codex",
    name: "Codex",
    binaries: &["codex"],
    home_folder: config::HOME_FOLDER,
    // In a subagent, the first is the parent, as in hooks and MCP calls.
    session_variables: &["CODEX_SESSION_ID", "CODEX_THREAD_ID"],
    marker_variables: &[
        "CODEX_SANDBOX",
        "CODEX_SANDBOX_NETWORK_DISABLED",
        "CODEX_CI",
        "CODEX_MANAGED_BY_NPM",
        "CODEX_MANAGED_BY_BUN",
    ],
    context_tags: &[
        "user_instructions",
        "developer_instructions",
        "environment_context",
        "user_shell_command",
        "turn_aborted",
        "turn_context",
        "subagent_notification",
        "permissions instructions",
        "collaboration_mode",
        "personality_spec",
        "apps_instructions",
        "skills_instructions",
        "plugins_instructions",
        "hook_prompt",
        "user_action",
        "INSTRUCTIONS",
        "skill",
    ],
    edit_calls: &["apply_patch"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    // Its sandbox `workspace-write`: "attempt to write a readonly database".
    shell_access: ShellAccess::MayBeReadOnly,
    config_files: config::files,
    session_of_mcp_call: Some(mcp::session_of_call),
    foreign_hooks: None,
    processes: ProcessSpec {
        // The daemon of all terminals, and the server of an editor.
        is_shared: |process| process.program == "codex" && process.arguments.iter().any(|word| word == "app-server"),
        ..ProcessSpec::DEFAULT
    },
    transcript: Some(transcript::SPEC),
    wake: Ok(WakeSpec {
        method: WakeMethod::Command {
            program: "codex",
            arguments: queue,
        },
        unattended_modes: &["bypassPermissions"],
    }),
};

/// Returns the arguments with which Codex gives a session a prompt.
fn queue(session: &str) -> Vec<String> {
    let words = ["queue", "--thread", session, "--message", WAKE_PROMPT];
    words.map(str::to_owned).to_vec()
}
